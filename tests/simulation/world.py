"""What is simulated: worker processes as they are composed in production, a broker, a database, a subscriber, signups
and ops. Nothing here goes wrong by itself: see `nemesis`."""

import asyncio
import json
import random
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from consumer.app import App
from consumer.broker.protocol import (
    Broker,
    BrokerDownError,
    BrokerError,
    ConsumerSession,
    Delivery,
    Message,
    NackedError,
    PublisherSession,
)
from consumer.broker.topology import NO_DELIVERY_LIMIT, Binding, Queue, Topology
from consumer.config import Settings
from seeders.pack import AgencyEntry, FieldKeyEntry, LinkEntry, ListingEntry, Pack, PropertyEntry
from seeders.pack_problems import PackError
from tests.contract.faulty_broker import FaultyMemoryBroker
from tests.simulation.database import Database
from tests.simulation.loop import SeededLoop
from tests.simulation.store import Server, SimulatedStore

STALL_SECONDS = 6.0
SETTINGS: Any = Settings.model_construct(
    namespace="sim",
    concurrency=3,
    batch_size=4,
    admission_limit=4,
    retry_budget=4,
    retry_base_seconds=0.5,
    retry_cap_seconds=4.0,
    stall_seconds=STALL_SECONDS,
    dispatch_interval_seconds=1.0,
    presence_seconds=3.0,
    watchdog_seconds=2.0,
    reconnect_base_seconds=0.2,
    reconnect_cap_seconds=2.0,
    drain_seconds=5.0,
)


class SimulatedTopology(Topology):
    """The service's, with a subscriber to its events."""

    __slots__ = ()

    @property
    def subscriber(self) -> str:
        return f"{self.namespace}.subscriber"

    @property
    def queues(self) -> tuple[Queue, ...]:
        return (*super().queues, Queue(self.subscriber, NO_DELIVERY_LIMIT))

    @property
    def bindings(self) -> tuple[Binding, ...]:
        return (*super().bindings, Binding(self.events_exchange, self.subscriber, "website.*"))


TOPOLOGY = SimulatedTopology("sim")

_LINKS = tuple(LinkEntry(slug) for slug in ("home", "about", "contact", "buy"))
_KEYS = tuple(FieldKeyEntry(f"types.{number}", "property-types") for number in range(6))
_PROPERTIES = (
    PropertyEntry("S1", {}, sale=ListingEntry(100, "EUR"), stem="s1"),
    PropertyEntry("R1", {}, rental=ListingEntry(10, "EUR"), stem="r1"),
)
PACKS = {
    "base": Pack(name="base", agency=AgencyEntry("Base"), links=_LINKS, field_keys=_KEYS, properties=_PROPERTIES),
    "residential": Pack(name="residential", links=_LINKS, field_keys=_KEYS, properties=_PROPERTIES),
    "short": Pack(name="short", agency=AgencyEntry("Short"), links=_LINKS[:2], field_keys=_KEYS[:2]),
    "strict": Pack(name="strict", agency=AgencyEntry("Strict"), links=_LINKS[:2], field_keys=_KEYS, strict=True),
}
BAD_PACKS = ("missing", "short", "strict", "raises", "slow")


class SimulatedPacks:
    """Packs in memory. The real library reads files in threads, which have no place here."""

    async def get(self, name: str) -> Pack:
        if name == "raises":
            raise RuntimeError("a pack that nobody could read")
        if name == "slow":
            await asyncio.sleep(3)
        if name not in PACKS:
            raise PackError(f"there is no seed pack {name!r}")
        return PACKS[name]


class WatchedBroker(FaultyMemoryBroker):
    """Remembers what it refused: a nacked event has been answered for, and is the subscriber's to ask for again."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        self._database = database
        self.contradictions: list[Message] = []
        """Dead letters that came after their very message had been carried out. Not those that were held: one of two
        copies that wait for a lock may give up while the other gets it."""
        self.nacked: list[Message] = []
        self.vanished: set[str] = set()
        """What came while no queue was there to take it: no sender would have heard of it."""

    def accept(self, message: Message) -> BrokerError | None:
        problem = super().accept(message)
        if isinstance(problem, NackedError):
            self.nacked.append(message)
        if message.routing_key == TOPOLOGY.dead_letters and message.headers.get("x-reason") == "error":
            done = {str(row["message_id"]) for row in self._database.tables["log"].values()}
            self.contradictions += [message] if message.message_id in done else []
        if message.exchange == TOPOLOGY.commands_exchange and not self._route(message):
            self.vanished.add(message.message_id)
        return problem


class ProcessBroker(Broker):
    """The broker as one process sees it; ends with it."""

    def __init__(self, broker: FaultyMemoryBroker) -> None:
        self._broker = broker
        self._dead = False
        self.sessions: list[Any] = []

    async def open_consumer(self) -> ConsumerSession:
        return self._kept(await self._broker.open_consumer())

    async def open_publisher(self) -> PublisherSession:
        return self._kept(await self._broker.open_publisher())

    def _kept(self, session: Any) -> Any:
        if self._dead:
            session.end()
            raise BrokerDownError("this process is dead")
        self.sessions.append(session)
        return session

    async def declare(self, topology: Topology) -> None:
        if self._dead:
            raise BrokerDownError("this process is dead")
        await self._broker.declare(topology)

    async def delete(self, topology: Topology) -> None:
        await self._broker.delete(topology)

    async def peek(self, queue: str, limit: int) -> Sequence[Delivery]:
        return await self._broker.peek(queue, limit)

    def kill(self) -> None:
        """Lose every connection at once, and for good."""
        self._dead = True
        for session in self.sessions:
            session.end()


class Process:
    """One worker process."""

    def __init__(self, world: "World") -> None:
        self.broker = ProcessBroker(world.broker)
        self.store = SimulatedStore(world.server, size=SETTINGS.concurrency + 3)
        self.app = App(SETTINGS, broker=self.broker, store=self.store, packs=SimulatedPacks())  # type: ignore[arg-type]
        self.task = asyncio.get_running_loop().create_task(self.app.run(), name="process")

    def kill(self) -> None:
        """End as `kill -9` does: first nothing of it reaches anybody any more, and then its tasks go."""
        self.broker.kill()
        self.store.kill()
        self.task.cancel()

    def stop(self) -> None:
        """SIGTERM."""
        self.app.stopping.set()


@dataclass(slots=True)
class Sent:
    """A message that somebody sent to the engine and that the broker confirmed."""

    message_id: str
    type: str
    body: dict[str, Any]
    poison: bool = False
    at: float = 0.0
    """When the broker confirmed it, on the run's own clock."""


@dataclass(slots=True)
class World:
    """Everything of one run."""

    loop: SeededLoop
    dice: random.Random
    database: Database
    server: Server
    broker: WatchedBroker
    processes: list[Process] = field(default_factory=list)
    dead: list[Process] = field(default_factory=list)
    sent: dict[str, Sent] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)
    """Ids of messages that were thrown away at the broker."""
    notes: list[str] = field(default_factory=list)
    """What the nemesis did, in order."""
    taints: set[str] = field(default_factory=set)
    """Which kinds of excuse a website has for not being live: `ops`, `errors`, `packs`."""

    product: dict[int, Any] = field(default_factory=dict)
    """What the existing product does with websites of its own, by their ids."""
    strangers: set[str] = field(default_factory=set)
    """Ids of messages that name somebody else as the owner of a website that has one."""
    nobody_sleeps: bool = False
    """Whether an operator has started all that slept."""
    healed: bool = False
    """Whether faults are over."""
    tasks: list["asyncio.Task[None]"] = field(default_factory=list)
    """Of clients and strangers."""

    def later(self, seconds: float, action: Callable[[], object]) -> None:
        """Do something later, unless faults are over by then."""
        self.loop.call_later(seconds, lambda: None if self.healed else action())

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Have a client do something."""
        self.tasks.append(self.loop.create_task(work, name="client"))

    def has(self, queue: str) -> bool:
        """Say whether a queue is there."""
        return self.broker.has_queue(queue)

    def heal(self) -> None:
        """Let nothing more go wrong, and have two processes at work."""
        self.healed = True
        self.server.heal()
        self.database.tables["pauses"].clear()
        self.broker.stop_faults()
        while len(self.processes) < 2:
            self.start()

    def start(self) -> Process:
        process = Process(self)
        self.processes.append(process)
        return process

    def kill(self, process: Process) -> None:
        self.processes.remove(process)
        self.dead.append(process)
        process.kill()

    def new_id(self) -> UUID:
        return UUID(int=self.dice.getrandbits(128), version=4)

    async def send(self, kind: str, body: Any, *, message_id: str | None = None, poison: bool = False) -> Sent:
        """Publish to the engine as others do, until the broker confirms."""
        said = body if isinstance(body, bytes) else json.dumps(body).encode()
        message_id = message_id or str(self.new_id())
        message = Message(message_id, kind, said, TOPOLOGY.commands_exchange, kind, mandatory=False)
        sent = Sent(message_id, kind, body if isinstance(body, dict) else {}, poison)
        while True:
            try:
                session = await self.broker.open_publisher()
                try:
                    await session.publish(message)
                finally:
                    await session.close()
            except BrokerError:
                await asyncio.sleep(0.3)
            else:
                sent.at = self.loop.time()
                self.sent[message_id] = sent
                return sent

    def purge(self, queue: str, *, delete: bool) -> None:
        """Lose what is in a queue."""
        waiting = [*self.broker.ready(queue)]
        if delete:
            waiting += self.broker.unsettled(queue)
        self.lost |= {message.message_id for message in waiting}
        if delete:
            self.broker.delete_queue(queue)
        else:
            self.broker.purge(queue)
