"""What was once stored, kept for ever: one file for each event and schema version."""
