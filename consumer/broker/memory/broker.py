"""Implements the broker protocol in memory: opens sessions, declares topologies, and stores what is published."""

from collections.abc import Sequence
from dataclasses import replace

from consumer.broker.memory.queue import MemoryQueue
from consumer.broker.memory.routing import RoutingTable
from consumer.broker.memory.sessions import USER, MemoryConsumer, MemoryPublisher, delivery_of, next_iteration
from consumer.broker.protocol import (
    INIT_HINT,
    OTHER_ARGUMENTS,
    Broker,
    BrokerError,
    Delivery,
    Entity,
    Inspection,
    Message,
    QueueMissingError,
    Right,
    UnroutableError,
)
from consumer.broker.topology import Topology


class MemoryBroker(Broker):
    """Exchanges, queues and sessions, all in one event loop."""

    user = USER
    """The one that there is, who may do everything."""

    def __init__(self) -> None:
        self._routing = RoutingTable()
        self._queues: dict[str, MemoryQueue] = {}
        self._unrouted_dead_letters: list[tuple[Message, str]] = []
        """Dead letters that no queue takes, with their exchange: they are routed again at the next `declare`."""

    async def open_consumer(self) -> MemoryConsumer:
        """Connect to consume."""
        await self._connect()
        return MemoryConsumer(self.queue)

    async def open_publisher(self) -> MemoryPublisher:
        """Connect to publish."""
        await self._connect()
        return MemoryPublisher(self.accept)

    async def _connect(self) -> None:
        await next_iteration()

    async def declare(self, topology: Topology) -> None:
        """Declare what is missing; see the protocol."""
        await self._connect()
        exchanges, queues = self._routing.exchanges, self._queues
        for exchange in topology.exchanges:
            if exchanges.setdefault(exchange.name, exchange) != exchange:
                raise BrokerError(f"exchange {exchange.name} {OTHER_ARGUMENTS}")
        for queue in topology.queues:
            if queues.setdefault(queue.name, MemoryQueue(queue, self._dead_letter)).definition != queue:
                raise BrokerError(f"queue {queue.name} {OTHER_ARGUMENTS}")
        for binding in topology.bindings:
            if binding.exchange not in exchanges or binding.queue not in queues:
                raise BrokerError(f"binding of {binding.queue} to {binding.exchange} cannot be made: one is missing")
            self._routing.bindings[binding] = None
        unrouted, self._unrouted_dead_letters = self._unrouted_dead_letters, []
        for message, exchange_name in unrouted:
            self._dead_letter(message, exchange_name)

    async def delete(self, topology: Topology) -> None:
        """Delete all of a topology; what is not there stays away."""
        await self._connect()
        for queue in topology.queues:
            self.delete_queue(queue.name)
        for exchange in topology.exchanges:
            self._routing.delete_exchange(exchange.name)

    def delete_queue(self, name: str) -> None:
        """Delete a queue with what is in it, and end the sessions that consume it. Missing is fine."""
        self._routing.delete_queue(name)
        if queue := self._queues.pop(name, None):
            queue.delete()

    async def inspect(self, topology: Topology) -> Inspection:
        """Compare what is there with the topology; see the protocol."""
        await self._connect()
        entities = [
            Entity(f"exchange {each.name}", each.name in self._routing.exchanges) for each in topology.exchanges
        ]
        for definition in topology.queues:
            queue = self._queues.get(definition.name)
            differs = queue is not None and queue.definition != definition
            difference = "it was made with other arguments" if differs else None
            counts = queue.counts if queue else None
            entities.append(Entity(f"queue {definition.name}", queue is not None, difference, counts=counts))
        return Inspection("in-process", "", entities)

    async def has_rights(self, rights: Sequence[Right]) -> Sequence[bool | None]:
        """Return that the user has them all."""
        await self._connect()
        return [True] * len(rights)

    async def peek(self, queue: str, limit: int) -> Sequence[Delivery]:
        """Return what is ready. The deliveries belong to a session that is closed."""
        await self._connect()
        session = MemoryConsumer(self.queue)
        session.end()
        stored = self.queue(queue).ready[: max(0, limit)]
        return [delivery_of(item, queue, session, tag) for tag, item in enumerate(stored, 1)]

    def queue(self, name: str) -> MemoryQueue:
        """Return a queue.

        Raises:
            QueueMissingError: there is no such queue.
        """
        queue = self._queues.get(name)
        if queue is None:
            raise QueueMissingError(f"there is no queue {name}; {INIT_HINT}")
        return queue

    def accept(self, message: Message) -> BrokerError | None:
        """Store a message in every queue to which it is routed; return why that cannot be, or None for a confirm."""
        if message.exchange and message.exchange not in self._routing.exchanges:
            return QueueMissingError(f"there is no exchange {message.exchange}; {INIT_HINT}")
        queues = self._route(message)
        if not queues:
            return UnroutableError(f"no queue takes {message.routing_key}") if message.mandatory else None
        return self._store(message, queues)

    def _route(self, message: Message) -> list[MemoryQueue]:
        if not message.exchange:
            queue = self._queues.get(message.routing_key)
            return [queue] if queue else []
        return [self._queues[name] for name in self._routing.queues_of(message.exchange, message.routing_key)]

    def _store(self, message: Message, queues: Sequence[MemoryQueue]) -> BrokerError | None:
        """Store a message in queues; a subclass may return why it was not stored or confirmed."""
        for queue in queues:
            queue.store(message)
        return None

    def _dead_letter(self, message: Message, exchange: str) -> None:
        dead_letter = replace(message, exchange=exchange, mandatory=False)
        queues = self._route(dead_letter)
        if not queues:
            self._unrouted_dead_letters.append((message, exchange))
        for queue in queues:
            queue.store(dead_letter)
