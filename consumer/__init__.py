"""The service: takes commands off RabbitMQ, advances websites in PostgreSQL, says what happened."""
