"""Read models: what has been made of the log to answer questions with."""
