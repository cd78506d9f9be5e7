"""Tests through HTTP and the command line."""
