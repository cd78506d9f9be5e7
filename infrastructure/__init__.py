"""What the use cases run on: Postgres, the `eventsourcing` library, encryption, the embedded server."""
