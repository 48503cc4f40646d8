"""Private PostgreSQL and RabbitMQ servers on free ports of 127.0.0.1, for the demo, the tests and the benchmarks.

They depend on nothing that runs on the machine, disturb nothing there, and are gone when their `with` block is left,
however it is left. Synchronous on purpose: they are started before there is an event loop. `start`, `stop` and `ctl`
block for up to seconds, so a coroutine calls them through `asyncio.to_thread`.
"""
