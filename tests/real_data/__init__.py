"""Imports of real files, compared with an independent calculation over the same files."""
