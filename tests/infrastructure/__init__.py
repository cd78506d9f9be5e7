"""Tests of what stands between the use cases and Postgres."""
