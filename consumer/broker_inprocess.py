"""A broker inside the process, with RabbitMQ's semantics and none of its persistence: what is in it ends with it.

For a bare machine, fast tests and seeded simulation. Everything that happens in it is one `loop.call_soon`: no threads,
no sleeps, no clock (so no `timestamp`, and no time in `x-death`). What is sent on one connection arrives in order;
across connections the loop decides, which is where a seeded loop can put its dice.

It does not do: other exchange kinds than topic and fanout, transient or exclusive anything, priorities, expiry, flow
control, permissions; a peek does not count as a delivery. It holds one event loop's sessions and is not thread-safe.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from consumer.broker import (
    Broker,
    BrokerDown,
    BrokerError,
    ConsumerSession,
    Delivery,
    Examination,
    Message,
    Nacked,
    Part,
    PublisherSession,
    QueueCounts,
    QueueMissing,
    Unroutable,
)
from consumer.topology import Binding, Exchange, Queue, Topology

INIT = "`provisioner init` makes it"
FIXED = {"content_type": "application/json"}
NOT_COPIED = frozenset({"delivery_mode", "expiration", "user_id"})


@dataclass(slots=True, eq=False)
class Stored:
    """A message in one queue. `place` is where it stands, and where it returns to."""

    message: Message
    place: int
    deliveries: int = 0
    """How often it came back unsettled."""


@dataclass(slots=True, eq=False)
class Consumer:
    """Who receives from a queue."""

    session: "InProcessConsumer"
    queue: str
    prefetch: int
    on_delivery: Callable[[Delivery], None]
    unsettled: int = 0

    @property
    def has_room(self) -> bool:
        """Whether the prefetch allows one more; 0 is no limit, as in AMQP."""
        return not self.prefetch or self.unsettled < self.prefetch


@dataclass(slots=True, eq=False)
class Shelf:
    """One queue: what waits, who receives, and whose turn it is."""

    queue: Queue
    ready: list[Stored] = field(default_factory=list)
    unsettled: list[Stored] = field(default_factory=list)
    consumers: deque[Consumer] = field(default_factory=deque)
    max_length: int | None = None
    pumping: bool = False

    @property
    def is_full(self) -> bool:
        """Whether it refuses more."""
        return self.max_length is not None and len(self.ready) + len(self.unsettled) >= self.max_length

    def put_back(self, stored: Stored) -> None:
        """Return a message to its place."""
        self.ready.append(stored)
        self.ready.sort(key=lambda item: item.place)


class InProcessBroker(Broker):
    """Exchanges, queues and sessions, all in one event loop. Its faults are switched by plain methods."""

    def __init__(self) -> None:
        self.refuse_connections = False
        """Nobody can connect, as if the broker were away; sessions that are open stay."""
        self._exchanges: dict[str, Exchange] = {}
        self._shelves: dict[str, Shelf] = {}
        self._bindings: dict[Binding, None] = {}
        self._sessions: dict[InProcessConsumer | InProcessPublisher, None] = {}
        self._stranded: list[tuple[Message, str]] = []
        self._place = 0
        self._to_swallow = 0
        self._to_nack = 0

    # -------------------------------------------------------------------------------------------------- the protocol

    async def open_consumer(self) -> ConsumerSession:
        """Connect to consume."""
        await self._connect()
        consumer = InProcessConsumer(self)
        self._sessions[consumer] = None
        return consumer

    async def open_publisher(self) -> PublisherSession:
        """Connect to publish."""
        await self._connect()
        publisher = InProcessPublisher(self)
        self._sessions[publisher] = None
        return publisher

    async def declare(self, topology: Topology) -> None:
        """Make what is missing; see the protocol."""
        await self._connect()
        for exchange in topology.exchanges:
            if self._exchanges.setdefault(exchange.name, exchange) != exchange:
                raise _other_arguments(f"exchange {exchange.name}")
        for queue in topology.queues:
            if self._shelves.setdefault(queue.name, Shelf(queue)).queue != queue:
                raise _other_arguments(f"queue {queue.name}")
        for binding in topology.bindings:
            if binding.exchange not in self._exchanges or binding.queue not in self._shelves:
                raise BrokerError(f"binding of {binding.queue} to {binding.exchange} cannot be made: one is missing")
            self._bindings[binding] = None
        stranded, self._stranded = self._stranded, []
        for message, dead_letters in stranded:
            self._dead_letter(message, dead_letters)

    async def delete(self, topology: Topology) -> None:
        """Remove all of a topology; what is not there stays away."""
        await self._connect()
        for queue in topology.queues:
            self.delete_queue(queue.name)
        for exchange in topology.exchanges:
            self.delete_exchange(exchange.name)

    async def examine(self, topology: Topology) -> Examination:
        """Look at what is there; see the protocol."""
        await self._connect()
        parts = [Part(f"exchange {e.name}", e.name in self._exchanges) for e in topology.exchanges]
        for queue in topology.queues:
            shelf = self._shelves.get(queue.name)
            counts = self.counts(queue.name) if shelf else QueueCounts(0, 0)
            differs = "it was made with other arguments" if shelf and shelf.queue != queue else None
            parts.append(Part(f"queue {queue.name}", shelf is not None, differs, None, counts.ready, counts.consumers))
        return Examination("in-process", "", parts)

    async def peek(self, queue: str, limit: int) -> Sequence[Delivery]:
        """Look at what is ready. The deliveries belong to a session that is closed."""
        await self._connect()
        session = InProcessConsumer(self)
        session.end()
        stored = self._shelf(queue).ready[: max(0, limit)]
        return [_delivery(item, queue, session, tag) for tag, item in enumerate(stored, 1)]

    async def _connect(self) -> None:
        await turn()
        if self.refuse_connections:
            raise BrokerDown("cannot connect: connections are refused")

    # --------------------------------------------------------------------------------- what tests and simulations do

    def ready(self, queue: str) -> tuple[Message, ...]:
        """Return what waits in a queue, in order."""
        return tuple(stored.message for stored in self._shelf(queue).ready)

    def unsettled(self, queue: str) -> tuple[Message, ...]:
        """Return what was delivered from a queue and not settled, in order."""
        return tuple(stored.message for stored in sorted(self._shelf(queue).unsettled, key=lambda item: item.place))

    @property
    def stranded(self) -> tuple[Message, ...]:
        """Return dead letters that no queue takes. They are kept, and tried again at the next `declare`."""
        return tuple(message for message, _ in self._stranded)

    def drop_connections(self) -> None:
        """Close every session at once, as `rabbitmqctl close_all_connections`."""
        for session in list(self._sessions):
            session.end()

    def delete_queue(self, name: str) -> None:
        """Delete a queue with what is in it. Whoever consumed it is cancelled by the broker. Missing is fine."""
        shelf = self._shelves.pop(name, None)
        if shelf is None:
            return
        for binding in [binding for binding in self._bindings if binding.queue == name]:
            del self._bindings[binding]
        for consumer in list(shelf.consumers):
            consumer.session.end()

    def delete_exchange(self, name: str) -> None:
        """Delete an exchange with its bindings. Missing is fine."""
        self._exchanges.pop(name, None)
        for binding in [binding for binding in self._bindings if binding.exchange == name]:
            del self._bindings[binding]

    def purge(self, name: str) -> None:
        """Throw away what waits in a queue; what is delivered stays."""
        self._shelf(name).ready.clear()

    def duplicate(self, queue: str, predicate: Callable[[Message], bool]) -> int:
        """Put a second copy of matching messages at the end of a queue; return how many that were."""
        shelf = self._shelf(queue)
        copies = [stored.message for stored in shelf.ready if predicate(stored.message)]
        for message in copies:
            self._store(shelf, message)
        return len(copies)

    def shuffle(self, queue: str, dice: random.Random) -> None:
        """Put what waits in a queue into another order."""
        shelf = self._shelf(queue)
        places = [stored.place for stored in shelf.ready]
        dice.shuffle(shelf.ready)
        for stored, place in zip(shelf.ready, places, strict=True):
            stored.place = place

    def limit(self, queue: str, max_length: int | None) -> None:
        """Have a queue refuse messages beyond a length."""
        self._shelf(queue).max_length = max_length

    def swallow_confirms(self, count: int) -> None:
        """Store the next `count` messages and say nothing: their publishers learn BrokerDown, and lose the session."""
        self._to_swallow += count

    def nack_next(self, count: int) -> None:
        """Refuse the next `count` messages; they are not stored."""
        self._to_nack += count

    # ------------------------------------------------------------------------------------------------------- routing

    def accept(self, message: Message) -> BrokerError | None:
        """Take a message as it arrives; return why not, or None for a confirm."""
        if message.exchange and message.exchange not in self._exchanges:
            return QueueMissing(f"there is no exchange {message.exchange}; {INIT}")
        if self._to_nack:
            self._to_nack -= 1
            return Nacked(f"{message.routing_key} was refused by the broker")
        shelves = self._route(message)
        if not shelves:
            return Unroutable(f"no queue takes {message.routing_key}") if message.mandatory else None
        full = [shelf for shelf in shelves if shelf.is_full]
        for shelf in shelves:
            if shelf not in full:
                self._store(shelf, message)
        if self._to_swallow:
            self._to_swallow -= 1
            return BrokerDown(f"no confirm for {message.type}: it was swallowed")
        return (
            Nacked(f"{message.routing_key} was refused by the broker: {full[0].queue.name} is full") if full else None
        )

    def _route(self, message: Message) -> list[Shelf]:
        if not message.exchange:
            shelf = self._shelves.get(message.routing_key)
            return [shelf] if shelf else []
        found: dict[str, None] = {}
        exchange = self._exchanges.get(message.exchange)
        seen: set[str] = set()
        while exchange is not None and not found and exchange.name not in seen:
            seen.add(exchange.name)
            for binding in self._bindings:
                matches = exchange.kind == "fanout" or topic_matches(binding.routing_key, message.routing_key)
                if binding.exchange == exchange.name and matches:
                    found[binding.queue] = None
            exchange = self._exchanges.get(exchange.alternate or "")
        return [self._shelves[name] for name in found]

    def _store(self, shelf: Shelf, message: Message) -> None:
        self._place += 1
        shelf.ready.append(Stored(message, self._place))
        self.pump(shelf)

    def _dead_letter(self, message: Message, exchange: str) -> None:
        letter = replace(message, exchange=exchange, mandatory=False)
        shelves = self._route(letter)
        if not shelves:
            self._stranded.append((message, exchange))
        for shelf in shelves:
            self._store(shelf, letter)

    # ---------------------------------------------------------------------------------------------------- delivering

    def subscribe(self, consumer: Consumer) -> None:
        """Let a consumer take part.

        Raises:
            QueueMissing: there is no such queue.
        """
        shelf = self._shelf(consumer.queue)
        shelf.consumers.append(consumer)
        self.pump(shelf)

    def unsubscribe(self, consumer: Consumer) -> None:
        """Give it nothing more."""
        shelf = self._shelves.get(consumer.queue)
        if shelf is not None and consumer in shelf.consumers:
            shelf.consumers.remove(consumer)

    def counts(self, queue: str) -> QueueCounts:
        """Count.

        Raises:
            QueueMissing: there is no such queue.
        """
        shelf = self._shelf(queue)
        return QueueCounts(len(shelf.ready), len(shelf.consumers))

    def pump(self, shelf: Shelf) -> None:
        """Deliver, one message a turn of the loop, for as long as somebody has room."""
        if not shelf.pumping and shelf.ready and any(consumer.has_room for consumer in shelf.consumers):
            shelf.pumping = True
            _loop_of(shelf).call_soon(self._deliver_one, shelf)

    def _deliver_one(self, shelf: Shelf) -> None:
        shelf.pumping = False
        for _ in range(len(shelf.consumers)):
            consumer = shelf.consumers[0]
            shelf.consumers.rotate(-1)
            if consumer.has_room and shelf.ready:
                stored = shelf.ready.pop(0)
                shelf.unsettled.append(stored)
                consumer.unsettled += 1
                self.pump(shelf)
                consumer.session.receive(consumer, stored)
                return

    def settle(self, consumer: Consumer, stored: Stored) -> None:
        """Forget a message for good."""
        shelf = self._taken_back(consumer, stored)
        if shelf is not None:
            self.pump(shelf)

    def give_back(self, consumer: Consumer, stored: Stored) -> None:
        """Return a message to its place; past the delivery limit it goes to the dead letters, if its queue has any."""
        shelf = self._taken_back(consumer, stored)
        if shelf is None:
            return
        stored.deliveries += 1
        if stored.deliveries > shelf.queue.delivery_limit:
            if shelf.queue.dead_letter_exchange:
                self._dead_letter(_with_death(stored.message, shelf.queue.name), shelf.queue.dead_letter_exchange)
        else:
            shelf.put_back(stored)
        self.pump(shelf)

    def _taken_back(self, consumer: Consumer, stored: Stored) -> Shelf | None:
        consumer.unsettled -= 1
        shelf = self._shelves.get(consumer.queue)
        # A queue of that name may have been made anew; it knows nothing of this message.
        if shelf is None or stored not in shelf.unsettled:
            return None
        shelf.unsettled.remove(stored)
        return shelf

    def forget(self, session: "InProcessConsumer | InProcessPublisher") -> None:
        """Hear that a session has ended."""
        self._sessions.pop(session, None)

    def _shelf(self, queue: str) -> Shelf:
        shelf = self._shelves.get(queue)
        if shelf is None:
            raise QueueMissing(f"there is no queue {queue}; {INIT}")
        return shelf


class Wire:
    """What one connection has sent and has not arrived: in order, one thing a turn of the loop."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()
        self.loop = asyncio.get_running_loop()
        self._sent: deque[Callable[[], None]] = deque()
        self._waiting: dict[asyncio.Future[None], None] = {}  # in order: a seed must replay exactly

    def send(self, arrival: Callable[[], None]) -> None:
        """Put something on its way. What is on its way when the connection ends is lost."""
        self._sent.append(arrival)
        self.loop.call_soon(self._arrive)

    def _arrive(self) -> None:
        # Whichever turn comes first takes what was sent first, so that no order of turns can reorder a connection.
        if self._sent:
            self._sent.popleft()()

    async def flushed(self) -> None:
        """Return when what was sent before has arrived, or is lost."""
        done: asyncio.Future[None] = self.loop.create_future()
        self._waiting[done] = None
        done.add_done_callback(self._waiting.pop)
        self.send(lambda: _resolve(done, None))
        await done

    def cut(self) -> None:
        """Lose what is on its way, and say that it is over."""
        self._sent.clear()
        self.closed.set()
        for done in list(self._waiting):
            _resolve(done, None)


class InProcessConsumer(ConsumerSession):
    """A session that consumes."""

    def __init__(self, broker: InProcessBroker) -> None:
        self._broker = broker
        self._wire = Wire()
        self.closed = self._wire.closed
        self._consumers: list[Consumer] = []
        self._unsettled: dict[int, tuple[Consumer, Stored]] = {}
        self._answered: set[int] = set()
        self._tag = 0

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that it lives in."""
        return self._wire.loop

    async def consume(self, queue: str, prefetch: int, on_delivery: Callable[[Delivery], None]) -> None:
        """Start to receive from a queue."""
        await self._reach(f"cannot consume {queue}")
        consumer = Consumer(self, queue, prefetch, on_delivery)
        try:
            self._broker.subscribe(consumer)
        except QueueMissing:
            self.end()
            raise
        self._consumers.append(consumer)

    def receive(self, consumer: Consumer, stored: Stored) -> None:
        """Take a message from the broker."""
        self._tag += 1
        self._unsettled[self._tag] = (consumer, stored)
        consumer.on_delivery(_delivery(stored, consumer.queue, self, self._tag))

    async def stop_consuming(self) -> None:
        """Cancel our consumers."""
        if not self.closed.is_set():
            await self._wire.flushed()
        for consumer in self._consumers:
            self._broker.unsubscribe(consumer)
        self._consumers.clear()

    async def ack_all(self, deliveries: Sequence[Delivery]) -> None:
        """Settle deliveries; they are on their way when this returns."""
        for delivery in deliveries:
            self._answer(delivery, self._broker.settle)

    async def hand_back(self, deliveries: Sequence[Delivery]) -> None:
        """Return deliveries to their queues."""
        for delivery in deliveries:
            self._answer(delivery, self._broker.give_back)

    def _answer(self, delivery: Delivery, settle: Callable[[Consumer, Stored], None]) -> None:
        tag = delivery.tag
        usable = delivery.session is self and not self.closed.is_set()
        if not usable or tag not in self._unsettled or tag in self._answered:
            return
        self._answered.add(tag)

        def arrived() -> None:
            self._answered.discard(tag)
            settle(*self._unsettled.pop(tag))

        self._wire.send(arrived)

    async def counts(self, queue: str) -> QueueCounts:
        """Ask on this very session."""
        await self._reach(f"cannot count {queue}")
        try:
            return self._broker.counts(queue)
        except QueueMissing:
            self.end()
            raise

    async def _reach(self, what: str) -> None:
        if not self.closed.is_set():
            await self._wire.flushed()
        if self.closed.is_set():
            raise BrokerDown(f"{what}: the session is closed")

    async def close(self) -> None:
        """Close for good, behind the acks that are on their way."""
        if not self.closed.is_set():
            await self._wire.flushed()
        self.end()

    def end(self) -> None:
        """Close at once: what is on its way is lost, what is unsettled goes back."""
        if self.closed.is_set():
            return
        self._wire.cut()
        for consumer in self._consumers:
            self._broker.unsubscribe(consumer)
        unsettled, self._unsettled = self._unsettled, {}
        for consumer, stored in unsettled.values():
            self._broker.give_back(consumer, stored)
        self._broker.forget(self)


class InProcessPublisher(PublisherSession):
    """A session that publishes."""

    def __init__(self, broker: InProcessBroker) -> None:
        self._broker = broker
        self._wire = Wire()
        self.closed = self._wire.closed
        self._in_flight: dict[str, tuple[Message, asyncio.Future[None]]] = {}
        self._pending: dict[asyncio.Future[None], None] = {}

    async def publish_all(self, messages: Sequence[Message]) -> list[BrokerError | None]:
        """Publish messages together and wait for the confirms; see the protocol."""
        answers = await asyncio.gather(*map(self._publish, messages), return_exceptions=True)
        for answer in answers:
            if answer is not None and not isinstance(answer, BrokerError):
                raise answer
        return [answer if isinstance(answer, BrokerError) else None for answer in answers]

    async def _publish(self, message: Message) -> None:
        while (other := self._in_flight.get(message.message_id)) is not None and not other[1].done():
            if other[0] == message:
                await asyncio.shield(other[1])
                return
            await asyncio.wait((other[1],))
        if self.closed.is_set():
            raise BrokerDown("the publishing session is closed")
        confirm: asyncio.Future[None] = self._wire.loop.create_future()
        self._pending[confirm] = None
        confirm.add_done_callback(lambda _: self._confirmed(message, confirm))
        if message.message_id:
            self._in_flight[message.message_id] = (message, confirm)
        self._wire.send(lambda: self._arrived(message, confirm))
        await asyncio.shield(confirm)

    def _arrived(self, message: Message, confirm: "asyncio.Future[None]") -> None:
        problem = self._broker.accept(message)
        if isinstance(problem, QueueMissing):
            # As at RabbitMQ, a missing exchange ends the channel, for everybody in flight on it.
            confirm.set_exception(Unroutable(str(problem)))
            self.end()
        elif isinstance(problem, BrokerDown):
            confirm.set_exception(problem)
            self.end()
        else:
            # The answer takes a turn of its own: stored and not yet confirmed is where crashes are interesting.
            self._wire.send(lambda: _resolve(confirm, problem))

    def _confirmed(self, message: Message, confirm: "asyncio.Future[None]") -> None:
        self._pending.pop(confirm)
        if self._in_flight.get(message.message_id) == (message, confirm):
            del self._in_flight[message.message_id]
        if not confirm.cancelled():
            confirm.exception()  # looked at: its caller may have been cancelled

    async def close(self) -> None:
        """Close for good; what is in flight is not waited for."""
        await turn()
        self.end()

    def end(self) -> None:
        """Close at once: whether what is in flight was stored stays unknown."""
        if self.closed.is_set():
            return
        self._wire.cut()
        for confirm in list(self._pending):
            _resolve(confirm, BrokerDown("the session was closed before the confirm"))
        self._broker.forget(self)


def topic_matches(pattern: str, key: str) -> bool:
    """Say whether a topic binding takes a routing key: `*` is one word, `#` any number of words."""
    return _words_match(pattern.split("."), key.split("."))


def _words_match(pattern: Sequence[str], words: Sequence[str]) -> bool:
    if not pattern:
        return not words
    if pattern[0] == "#":
        return any(_words_match(pattern[1:], words[skipped:]) for skipped in range(len(words) + 1))
    return bool(words) and pattern[0] in ("*", words[0]) and _words_match(pattern[1:], words[1:])


async def turn() -> None:
    """Let the loop turn once, by the one means that a simulated loop knows."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    loop.call_soon(_resolve, done, None)
    await done


def _resolve(future: "asyncio.Future[None]", problem: BrokerError | None) -> None:
    if future.done():
        return
    if problem is None:
        future.set_result(None)
    else:
        future.set_exception(problem)


def _loop_of(shelf: Shelf) -> asyncio.AbstractEventLoop:
    return shelf.consumers[0].session.loop


def _delivery(stored: Stored, queue: str, session: ConsumerSession, tag: int) -> Delivery:
    message = stored.message
    headers: Mapping[str, Any] = dict(message.headers)
    if stored.deliveries:
        headers = {**headers, "x-delivery-count": stored.deliveries}
    properties = {name: value for name, value in message.properties.items() if name not in NOT_COPIED}
    return Delivery(
        body=message.body,
        message_id=message.message_id or None,
        type=message.type or None,
        exchange=message.exchange,
        routing_key=message.routing_key,
        queue=queue,
        redelivered=stored.deliveries > 0,
        headers=headers,
        properties={**FIXED, "delivery_mode": 2, **properties},
        tag=tag,
        session=session,
    )


def _with_death(message: Message, queue: str) -> Message:
    """Note why the broker itself threw a message out, as RabbitMQ does."""
    death = {
        "reason": "delivery_limit",
        "queue": queue,
        "exchange": message.exchange,
        "routing-keys": [message.routing_key],
        "count": 1,
    }
    first = {
        "x-first-death-reason": "delivery_limit",
        "x-first-death-queue": queue,
        "x-first-death-exchange": message.exchange,
    }
    return replace(message, headers={**message.headers, "x-death": [death], **first})


def _other_arguments(what: str) -> BrokerError:
    return BrokerError(
        f"{what} is there already with other arguments: delete it once it is drained, or choose another "
        "PROVISIONER_NAMESPACE"
    )
