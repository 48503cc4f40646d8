"""The message broker behind one protocol: RabbitMQ, and one in memory for the demo and for tests."""
