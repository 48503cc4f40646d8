"""Who takes part, with which options, and what its fairness needs said of it."""

from dataclasses import dataclass, replace

from bench.arena import NAIVE, SERVICE, Contestant

WORKERS = 2
"""Workers of each contestant: whole process trees of their own, as two containers would be."""


@dataclass(frozen=True, slots=True)
class Peer(Contestant):
    """A contestant, with what this benchmark needs to know beyond the other one."""

    module: str = ""
    """Its module in bench/peers, which signs websites up; "" for those that take our own message."""
    queue: str | None = ".commands"
    """What follows the namespace in the name of the queue that its workers consume; None where there is no broker."""
    distributions: tuple[str, ...] = ()
    """What is installed for it."""
    broker: str = "quorum queue"
    does: str = ""
    """What it does more or less than the others: for the page."""
    quiet_seconds: float = 8.0
    """Nothing has moved for so long: nothing will move any more. Longer than any timer that it has."""

    def with_options(self, name: str, *options: str, **environment: object) -> "Peer":
        """Return it under another name, with more options on its command line and in its environment."""
        told = {**self.environment, **{key: str(value) for key, value in environment.items()}}
        return replace(self, name=name, command=(*self.command, *options), environment=told)


def _ours(contestant: Contestant, does: str, *, quiet_seconds: float = 8.0) -> Peer:
    return Peer(
        contestant.name,
        contestant.command,
        contestant.environment,
        contestant.one_queue,
        distributions=("aio-pika", "asyncpg") if contestant is NAIVE else ("aiormq", "asyncpg"),
        does=does,
        quiet_seconds=quiet_seconds,
    )


naive = _ours(NAIVE, "the yardstick: drops a redelivered message whose step is done, as the next one was sent")
service = _ours(
    SERVICE,
    "besides: one event a transition, published and confirmed; deduplication; a retry budget; rescues; a log line a "
    "message. Up to 96 messages share a transaction",
    quiet_seconds=150.0,
)

_CELERY = Peer(
    "celery",
    ("celery", "-A", "bench.peers.celery_peer", "worker", "--loglevel", "WARNING", "--without-gossip",
     "--without-mingle", "--hostname", "worker-{place}"),
    module="celery_peer",
    queue=".celery",
    distributions=("celery", "kombu", "amqp", "psycopg"),
)  # fmt: skip


def celery(children: int, prefetch: int) -> Peer:
    """Return Celery with so many processes a worker, each of which has so many messages waiting."""
    return replace(
        _CELERY.with_options("celery", "--concurrency", str(children), PEER_PREFETCH=prefetch),
        does=f"acks late; {children} pool processes a worker, prefetch {prefetch} each; no results",
    )


_DRAMATIQ = Peer(
    "dramatiq",
    ("dramatiq", "bench.peers.dramatiq_peer", "--processes", "1"),
    module="dramatiq_peer",
    queue=".dramatiq",
    distributions=("dramatiq", "pika", "psycopg"),
    broker="classic durable queue",
)


def dramatiq(threads: int) -> Peer:
    """Return Dramatiq with so many threads a worker; it prefetches twice as many messages by itself."""
    return replace(
        _DRAMATIQ.with_options("dramatiq", "--threads", str(threads), PEER_THREADS=threads),
        does=f"acks after the actor; {threads} threads a worker, prefetch twice that; retries with backoff",
    )


_TASKIQ = Peer(
    "taskiq",
    ("taskiq", "worker", "bench.peers.taskiq_peer:broker", "--workers", "1", "--log-level", "WARNING"),
    module="taskiq_peer",
    queue=".taskiq",
    distributions=("taskiq", "taskiq-aio-pika", "asyncpg"),
)


def taskiq(prefetch: int, tasks: int) -> Peer:
    """Return taskiq with such a prefetch, and so many tasks at once, a worker."""
    return replace(
        _TASKIQ.with_options("taskiq", "--max-async-tasks", str(tasks), PEER_PREFETCH=prefetch),
        does=f"acks when the task is done; prefetch {prefetch}, {tasks} tasks at once a worker; no results",
    )


_FASTSTREAM = Peer(
    "faststream",
    ("faststream", "run", "bench.peers.faststream_peer:app", "--log-level", "warning"),
    module="faststream_peer",
    queue=".faststream",
    distributions=("faststream", "aio-pika", "asyncpg"),
)


def faststream(prefetch: int) -> Peer:
    """Return FastStream with such a prefetch a worker; all of it runs at once."""
    return replace(
        _FASTSTREAM.with_options("faststream", PEER_PREFETCH=prefetch),
        does=f"acks after the function, nacks what raised; prefetch {prefetch} a worker",
    )


_DBOS = Peer(
    "dbos",
    ("bench.peers.dbos_peer",),
    module="dbos_peer",
    queue=None,
    distributions=("dbos", "sqlalchemy", "psycopg"),
    broker="PostgreSQL",
    quiet_seconds=30.0,
)


def dbos(workflows: int) -> Peer:
    """Return DBOS with so many workflows at once a worker."""
    return replace(
        _DBOS.with_options("dbos", PEER_WORKFLOWS=workflows),
        does=(
            f"one durable workflow a website, its steps datasource transactions that are checkpointed with what "
            f"they wrote; {workflows} workflows at once a worker; no broker; a restarted worker recovers what it had"
        ),
    )


CELERY, DRAMATIQ, TASKIQ, FASTSTREAM, DBOS = celery(8, 4), dramatiq(4), taskiq(10, 10), faststream(10), dbos(16)
CELERY_CHAIN = replace(
    CELERY.with_options("celery, chain", PEER_CHAINED=1),
    does="the same as one `chain` of one task a step: a redelivered task that finds nothing to do still sends the next",
)
DRAMATIQ_PIPELINE = replace(
    DRAMATIQ.with_options("dramatiq, pipeline", PEER_CHAINED=1),
    does="the same as one `pipeline` of one message a step: a redelivered one still sends the next",
)
FIELD = (naive, service, TASKIQ, FASTSTREAM, DRAMATIQ, DRAMATIQ_PIPELINE, CELERY, CELERY_CHAIN, DBOS)
"""Who runs, in the order of the page. The numbers are the best of those that `--tune` tries."""

TUNING = (
    *(replace(celery(children, prefetch), name=f"celery, {children} × {prefetch}")
      for children, prefetch in ((2, 16), (4, 16), (8, 4))),
    *(replace(dramatiq(threads), name=f"dramatiq, {threads}") for threads in (4, 8, 16)),
    *(replace(taskiq(prefetch, prefetch), name=f"taskiq, {prefetch}") for prefetch in (10, 32)),
    *(replace(faststream(prefetch), name=f"faststream, {prefetch}") for prefetch in (10, 32)),
    *(replace(dbos(workflows), name=f"dbos, {workflows}") for workflows in (8, 16, 32)),
)  # fmt: skip
"""Settings that are tried, for `--tune`."""
