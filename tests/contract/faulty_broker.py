"""The broker in memory with switches for faults and access to its queues, for tests and simulations."""

import random
from collections.abc import Callable, Sequence
from typing import TypeVar

from consumer.broker.memory.broker import MemoryBroker
from consumer.broker.memory.queue import MemoryQueue
from consumer.broker.memory.sessions import MemoryConsumer, MemoryPublisher
from consumer.broker.protocol import BrokerDownError, BrokerError, Message, NackedError

Session = TypeVar("Session", MemoryConsumer, MemoryPublisher)


class FaultyMemoryBroker(MemoryBroker):
    """The shipped broker; each fault happens only when it is switched on."""

    def __init__(self) -> None:
        super().__init__()
        self.refuse_connections = False
        """Nobody can connect, as if the broker were away; sessions that are open stay."""
        self._sessions: list[MemoryConsumer | MemoryPublisher] = []
        self._max_lengths: dict[str, int] = {}
        self._confirms_to_swallow = 0
        self._messages_to_nack = 0

    # -------------------------------------------------------------------------------------------------------- queues

    def has_queue(self, name: str) -> bool:
        """Return whether there is a queue of this name."""
        return name in self._queues

    def ready(self, queue: str) -> tuple[Message, ...]:
        """Return what waits in a queue, in order."""
        return tuple(stored.message for stored in self.queue(queue).ready)

    def unsettled(self, queue: str) -> tuple[Message, ...]:
        """Return what was delivered from a queue and not settled, in order."""
        return tuple(stored.message for stored in sorted(self.queue(queue).unsettled, key=lambda item: item.position))

    @property
    def unrouted_dead_letters(self) -> tuple[Message, ...]:
        """Return dead letters that no queue takes."""
        return tuple(message for message, _ in self._unrouted_dead_letters)

    def purge(self, queue: str) -> None:
        """Throw away what waits in a queue; what is delivered stays."""
        self.queue(queue).ready.clear()

    def duplicate(self, queue: str, predicate: Callable[[Message], bool]) -> int:
        """Put a second copy of matching messages at the end of a queue; return how many that were."""
        copies = [message for message in self.ready(queue) if predicate(message)]
        for message in copies:
            self.queue(queue).store(message)
        return len(copies)

    def shuffle(self, queue: str, dice: random.Random) -> None:
        """Put what waits in a queue into another order."""
        ready = self.queue(queue).ready
        positions = [stored.position for stored in ready]
        dice.shuffle(ready)
        for stored, position in zip(ready, positions, strict=True):
            stored.position = position

    def delete_exchange(self, name: str) -> None:
        """Delete an exchange with its bindings."""
        self._routing.delete_exchange(name)

    # ------------------------------------------------------------------------------------------------------ sessions

    async def _connect(self) -> None:
        await super()._connect()
        if self.refuse_connections:
            raise BrokerDownError("cannot connect: connections are refused")

    async def open_consumer(self) -> MemoryConsumer:
        return self._opened(await super().open_consumer())

    async def open_publisher(self) -> MemoryPublisher:
        return self._opened(await super().open_publisher())

    def _opened(self, session: Session) -> Session:
        self._sessions = [*(each for each in self._sessions if not each.closed.is_set()), session]
        return session

    def drop_connections(self) -> None:
        """Close every session at once, as `rabbitmqctl close_all_connections`."""
        for session in self._sessions:
            session.end()

    # ---------------------------------------------------------------------------------------------------- publishing

    def limit(self, queue: str, max_length: int) -> None:
        """Have a queue refuse what is published to it beyond a length."""
        self._max_lengths[queue] = max_length

    def swallow_confirms(self, count: int) -> None:
        """Store the next `count` messages unconfirmed: publishers get BrokerDownError, and lose the session."""
        self._confirms_to_swallow += count

    def nack_next(self, count: int) -> None:
        """Refuse the next `count` messages; they are not stored."""
        self._messages_to_nack += count

    def stop_faults(self) -> None:
        """Take connections, and confirm what is published."""
        self.refuse_connections = False
        self._confirms_to_swallow = self._messages_to_nack = 0

    def accept(self, message: Message) -> BrokerError | None:
        if self._messages_to_nack and (not message.exchange or message.exchange in self._routing.exchanges):
            self._messages_to_nack -= 1
            return NackedError(f"{message.routing_key} was refused by the broker")
        return super().accept(message)

    def _store(self, message: Message, queues: Sequence[MemoryQueue]) -> BrokerError | None:
        full = [queue for queue in queues if self._is_full(queue)]
        super()._store(message, [queue for queue in queues if queue not in full])
        if self._confirms_to_swallow:
            self._confirms_to_swallow -= 1
            return BrokerDownError(f"no confirm for {message.type}: it was swallowed")
        if full:
            return NackedError(f"{message.routing_key} was refused by the broker: {full[0].definition.name} is full")
        return None

    def _is_full(self, queue: MemoryQueue) -> bool:
        max_length = self._max_lengths.get(queue.definition.name)
        return max_length is not None and len(queue.ready) + len(queue.unsettled) >= max_length
