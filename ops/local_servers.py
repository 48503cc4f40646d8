"""Private servers on free ports of 127.0.0.1, for the demo, the tests and the benchmarks: the one place to get them.

They depend on nothing that runs on the machine, disturb nothing there, and are gone when their `with` block is left,
however it is left. Synchronous on purpose: they are started before there is an event loop. `start`, `stop` and `ctl`
block for up to seconds, so a coroutine calls them through `asyncio.to_thread`.
"""

from ops.local_child import LocalServerError, free_port
from ops.local_postgres import PostgresServer, private_postgres
from ops.local_rabbitmq import RabbitServer, answers_amqp, ensure_rabbitmq_installed, private_rabbitmq

__all__ = [
    "LocalServerError",
    "PostgresServer",
    "RabbitServer",
    "answers_amqp",
    "ensure_rabbitmq_installed",
    "free_port",
    "private_postgres",
    "private_rabbitmq",
]
