"""Messages of the service: the contracts of what comes in, what goes out, and what a dead letter carries."""
