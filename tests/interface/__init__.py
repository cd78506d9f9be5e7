"""The interface as a whole: every operation is accepted, and reached with every problem that it documents."""
