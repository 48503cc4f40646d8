"""What goes wrong, drawn from a seed: which kinds of fault a run has, how often and when. Every fault is a function of
the world; it says in `world.notes` that it fired."""

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress

import asyncpg

from consumer.broker.protocol import BrokerError
from ops.dead_letters.actions import redrive
from ops.dead_letters.queue_lease import LeaseHeldError
from tests.simulation.database import Transaction
from tests.simulation.world import BAD_PACKS, TOPOLOGY, World

FAULT_SECONDS = 15.0
"""For how long things go wrong, on the run's own clock."""
FAULT_STEPS = 5000
OPS = ("retry_provisioning", "suspend", "terminate", "go_live", "reactivate", "fail_provisioning")
OF_OPS = "ops"
OF_ERRORS = "errors"
OF_PACKS = "packs"

Fault = Callable[[World], None]


def kill(world: World) -> None:
    """A worker process dies between two steps of the loop, and comes back a little later."""
    if world.processes:
        world.kill(world.dice.choice(world.processes))
        world.later(world.dice.random() * 2, world.start)


def stop(world: World) -> None:
    """A worker process is told to stop, and another one started."""
    if world.processes:
        process = world.processes.pop(int(world.dice.random() * len(world.processes)))
        world.dead.append(process)
        process.stop()
        world.later(world.dice.random() * 2, world.start)


def drop_sessions(world: World) -> None:
    """Connections to the broker are closed: one, or all."""
    sessions = [session for process in world.processes for session in process.broker.sessions if not _ended(session)]
    chance = world.dice.choice((0.3, 1.0))
    for session in sessions:
        if world.dice.random() < chance:
            session.end()


def _ended(session: object) -> bool:
    return bool(session.closed.is_set())  # type: ignore[attr-defined]


def broker_away(world: World) -> None:
    """The broker is away for a time."""
    world.broker.refuse_connections = True
    world.broker.drop_connections()
    world.later(world.dice.random() * 5, lambda: setattr(world.broker, "refuse_connections", False))


def swallow_confirms(world: World) -> None:
    """Messages are stored, and their confirms lost with the connection."""
    world.broker.swallow_confirms(world.dice.randrange(1, 3))


def nack(world: World) -> None:
    """The broker refuses messages."""
    world.broker.nack_next(world.dice.randrange(1, 4))


def duplicate(world: World) -> None:
    """Messages stand in their queue twice."""
    for queue in (TOPOLOGY.commands, TOPOLOGY.signups):
        if world.has(queue):
            world.broker.duplicate(queue, lambda _: world.dice.random() < 0.7)


def deliver_again(world: World) -> None:
    """A message that was sent before comes once more, much later."""
    if world.sent:
        sent = world.dice.choice(list(world.sent.values()))
        if not sent.poison:
            world.spawn(world.send(sent.type, sent.body, message_id=sent.message_id))


def shuffle(world: World) -> None:
    """What waits is delivered in another order."""
    for queue in (TOPOLOGY.commands, TOPOLOGY.signups):
        if world.has(queue):
            world.broker.shuffle(queue, world.dice)


def purge(world: World) -> None:
    """A queue is purged, or deleted; whoever consumes it makes it anew."""
    queue = world.dice.choice((TOPOLOGY.commands, TOPOLOGY.commands, TOPOLOGY.signups))
    if world.has(queue):
        world.purge(queue, delete=world.dice.random() < 0.5)


def database_away(world: World) -> None:
    """The database is away for a time; what was in a transaction is rolled back."""
    world.server.away = True
    world.server.lose_connections()
    world.later(world.dice.random() * 6, lambda: setattr(world.server, "away", False))


def lose_backends(world: World) -> None:
    """Connections to the database are terminated."""
    world.server.lose_connections(world.dice.choice((0.3, 1.0)))


def lose_commit_replies(world: World) -> None:
    """COMMIT is applied, its answer never comes."""
    world.server.lose_commit_replies(world.dice.randrange(1, 3))


def _errors(*kinds: type[Exception]) -> Fault:
    def strike(world: World) -> None:
        world.server.fail_next(
            [
                lambda kind=kind: kind("injected")  # type: ignore[misc]
                for kind in (world.dice.choice(kinds) for _ in range(world.dice.randrange(1, 3)))
            ]
        )

    return strike


transient = _errors(asyncpg.SerializationError, asyncpg.DeadlockDetectedError, asyncpg.QueryCanceledError)
infrastructure = _errors(
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.DiskFullError,
    asyncpg.AdminShutdownError,
    asyncpg.TooManyConnectionsError,
)
lock_timeout = _errors(asyncpg.LockNotAvailableError)


def stranger(world: World) -> None:
    """Somebody else holds a website's row for a time."""
    ids = list(world.database.tables["websites"])
    if not ids:
        return
    unit = Transaction(world.database, 0.1)
    website_id = world.dice.choice(ids)

    async def hold() -> None:
        if await unit.lock(("row", website_id), skip=True):
            await asyncio.sleep(world.dice.random() * 6)
        unit.rollback()

    world.spawn(hold())


def clock_jumps(world: World) -> None:
    """The database's clock is set, forwards or back."""
    world.database.offset += world.dice.choice((-60, -5, 5, 60, 3600))


def poison(world: World) -> None:
    """Something comes that nobody can read."""
    body = world.dice.choice((b"", b"{", b"[]", b'{"website_id": "1"}', b'{"website_id": 1, "website_id": 2}'))
    kind = world.dice.choice(("website.created", "provisioning.suspend", "provisioning.unheard_of"))
    world.spawn(_send_poison(world, kind, body))


async def _send_poison(world: World, kind: str, body: bytes) -> None:
    await world.send(kind, body, poison=True)


def ops(world: World) -> None:
    """A person moves a website, with or without the seq that they saw."""
    ids = list(world.database.tables["websites"])
    if not ids:
        return
    website_id = world.dice.choice(ids)
    body = {"website_id": website_id, "actor": "ops", "reason": "because"}
    if world.dice.random() < 0.7:
        body["expected_seq"] = world.database.tables["websites"][website_id]["provisioning_seq"]
    world.spawn(_send_ops(world, f"provisioning.{world.dice.choice(OPS)}", body))


def ops_repeat(world: World) -> None:
    """A person moves a website there and back, and the first command comes once more."""
    ids = list(world.database.tables["websites"])
    if ids:
        there, back = world.dice.choice((("suspend", "reactivate"), ("fail_provisioning", "retry_provisioning")))
        world.spawn(_send_there_and_back(world, world.dice.choice(ids), there, back))


async def _send_there_and_back(world: World, website_id: int, there: str, back: str) -> None:
    body = {"website_id": website_id}
    first = await world.send(f"provisioning.{there}", body)
    await asyncio.sleep(world.dice.random())
    await world.send(f"provisioning.{back}", body)
    await asyncio.sleep(world.dice.random())
    await world.send(first.type, body, message_id=first.message_id)


async def _send_ops(world: World, kind: str, body: dict[str, object]) -> None:
    await world.send(kind, body)


def hang(world: World) -> None:
    """A statement is never answered, and its locks outlive its client for a while."""
    world.server.hang_next(1)


def robber(world: World) -> None:
    """A person deletes links of a website that nobody has locked and that is not live yet."""
    tables = world.database.tables
    ids = [
        website_id
        for website_id, row in tables["websites"].items()
        if row["provisioning_state"] not in ("live", "suspended", "terminated")
        and ("row", website_id) not in world.database.locks
    ]
    if ids:
        website_id = world.dice.choice(ids)
        tables["links"][website_id] = tables["links"].get(website_id, ())[:2]


def redrive_all(world: World) -> None:
    """A person sends all dead letters back."""
    world.spawn(_redrive(world))


async def _redrive(world: World) -> None:
    with suppress(BrokerError, LeaseHeldError):
        await redrive(world.broker, TOPOLOGY.namespace)


def pause(world: World) -> None:
    """A person pauses all workers, or one, and resumes them later."""
    everybody = world.dice.random() < 0.5 or not world.processes
    worker = "all" if everybody else str(world.dice.choice(world.processes).app.heartbeat.id)
    pauses = world.database.tables["pauses"]
    pauses[worker] = {"worker": worker, "actor": "ops", "reason": "because", "since": world.database.now()}
    world.later(world.dice.random() * 8, lambda: pauses.pop(worker, None))


FAULTS: dict[str, Fault] = {
    "hang": hang,
    "robber": robber,
    "redrive": redrive_all,
    "kill": kill,
    "stop": stop,
    "drop_sessions": drop_sessions,
    "broker_away": broker_away,
    "swallow_confirms": swallow_confirms,
    "nack": nack,
    "duplicate": duplicate,
    "deliver_again": deliver_again,
    "shuffle": shuffle,
    "purge": purge,
    "database_away": database_away,
    "lose_backends": lose_backends,
    "lose_commit_replies": lose_commit_replies,
    "transient": transient,
    "infrastructure": infrastructure,
    "lock_timeout": lock_timeout,
    "stranger": stranger,
    "clock_jumps": clock_jumps,
    "poison": poison,
    "ops": ops,
    "ops_repeat": ops_repeat,
    "pause": pause,
}
TAINTS = {"robber": OF_OPS, "transient": OF_ERRORS, "ops": OF_OPS, "ops_repeat": OF_OPS}
"""What may end a website elsewhere than live: a budget of attempts that is spent, and people."""


class Nemesis:
    """The faults of one run, as its seed draws them: some kinds, each a few times."""

    def __init__(self, world: World, dice: random.Random) -> None:
        self._world = world
        chance = dice.choice((0.0, 0.15, 0.15, 0.35, 0.6))
        self.kinds = [name for name in FAULTS if dice.random() < chance]
        self.packs = dice.random() < 0.2
        self.plan = [
            (name, dice.random() < 0.6, dice.random()) for name in self.kinds for _ in range(dice.choice((1, 1, 2, 3)))
        ]
        world.taints |= {TAINTS[name] for name in self.kinds if name in TAINTS}
        if self.packs:
            world.taints.add(OF_PACKS)

    def begin(self) -> None:
        """Set every fault to its time: by steps, where things happen, or by the clock."""
        loop = self._world.loop
        for name, by_steps, when in self.plan:
            strike = self._strike(name)
            if by_steps:
                loop.at_step(int(when * FAULT_STEPS), strike)
            else:
                self._world.later(when * FAULT_SECONDS, strike)

    def _strike(self, name: str) -> Callable[[], None]:
        def strike() -> None:
            if not self._world.healed:
                self._world.notes.append(f"{self._world.loop.time():.3f} {name}")
                FAULTS[name](self._world)

        return strike

    def pack(self) -> str | None:
        """Return the pack that a signup asks for."""
        return self._world.dice.choice((None, *BAD_PACKS)) if self.packs else None
