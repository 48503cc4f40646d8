"""A broker inside the process, with RabbitMQ's semantics and none of its persistence: its messages end with it.

For a bare machine, fast tests and seeded simulation. Everything that happens in it is one `loop.call_soon`: no threads,
no sleeps, no clock (so no `timestamp`, and no time in `x-death`). What is sent on one connection arrives in order;
across connections the event loop decides, which a simulation's seeded loop does by its seed.

It does not do: other exchange kinds than topic and fanout, transient or exclusive anything, priorities, expiry, length
limits, flow control, permissions; a peek does not count as a delivery. It holds one event loop's sessions and is not
thread-safe.
"""
