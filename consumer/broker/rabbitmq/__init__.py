"""RabbitMQ behind the broker protocol. The only package that knows aio-pika, aiormq and pamqp; see its README.md."""
