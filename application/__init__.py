"""Use cases: a command comes in, streams are read, one decision of the domain is taken, its events are appended."""
