"""Tests: they mirror the packages, file for file, and use the sentences of the rules as names."""
