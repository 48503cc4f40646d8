"""One queue in memory: its messages and its consumers, which are served in turn. Knows no exchange."""

import asyncio
import itertools
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from consumer.broker.protocol import Message, QueueCounts
from consumer.broker.topology import Queue

DELIVERY_LIMIT_REASON = "delivery_limit"
REJECTED_REASON = "rejected"


@dataclass(slots=True, eq=False)
class StoredMessage:
    """A message in one queue."""

    message: Message
    position: int
    """Where in the queue it stands, and where it returns to."""
    delivery_count: int = 0
    """How many of its deliveries ended without an ack, as in RabbitMQ's x-delivery-count."""


@dataclass(slots=True, eq=False)
class Subscription:
    """One consumer of one queue."""

    queue: "MemoryQueue"
    prefetch: int
    deliver: Callable[[StoredMessage], None]
    cancel: Callable[[], None]
    """Called when the queue is deleted."""
    unsettled: int = 0
    paused: bool = False
    """Whether its session reads nothing for now."""

    @property
    def has_room(self) -> bool:
        """Whether the prefetch allows one more; 0 is no limit, as in AMQP."""
        return not self.paused and (not self.prefetch or self.unsettled < self.prefetch)

    def set_paused(self, *, paused: bool) -> None:
        """Have nothing delivered for now, or again."""
        self.paused = paused
        self.queue.schedule_delivery()


class MemoryQueue:
    """One queue."""

    def __init__(self, definition: Queue, dead_letter: Callable[[Message, str], None]) -> None:
        """Make an empty queue. `dead_letter` publishes a message to an exchange of dead letters."""
        self.definition = definition
        self.ready: list[StoredMessage] = []
        self.unsettled: list[StoredMessage] = []
        self._dead_letter = dead_letter
        self._subscriptions: deque[Subscription] = deque()
        self._positions = itertools.count()
        self._delivery_scheduled = False

    @property
    def counts(self) -> QueueCounts:
        """How many messages are ready, and how many consumers there are."""
        return QueueCounts(len(self.ready), len(self._subscriptions))

    def store(self, message: Message) -> None:
        """Add a message at the end."""
        self.ready.append(StoredMessage(message, next(self._positions)))
        self.schedule_delivery()

    def subscribe(self, subscription: Subscription) -> None:
        """Add a consumer."""
        self._subscriptions.append(subscription)
        self.schedule_delivery()

    def unsubscribe(self, subscription: Subscription) -> None:
        """Deliver nothing more to a consumer."""
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)

    def schedule_delivery(self) -> None:
        """Deliver, one message an iteration of the loop, for as long as a consumer has room."""
        if not self._delivery_scheduled and self.ready and any(each.has_room for each in self._subscriptions):
            self._delivery_scheduled = True
            asyncio.get_running_loop().call_soon(self._deliver_one)

    def _deliver_one(self) -> None:
        self._delivery_scheduled = False
        for _ in range(len(self._subscriptions)):
            subscription = self._subscriptions[0]
            self._subscriptions.rotate(-1)
            if subscription.has_room and self.ready:
                stored = self.ready.pop(0)
                self.unsettled.append(stored)
                subscription.unsettled += 1
                self.schedule_delivery()
                subscription.deliver(stored)
                return

    def ack(self, subscription: Subscription, stored: StoredMessage) -> None:
        """Delete a delivered message."""
        if self._settle(subscription, stored):
            self.schedule_delivery()

    def nack(self, subscription: Subscription, stored: StoredMessage) -> None:
        """Return a delivered message to its position; past the delivery limit it is dead-lettered, or lost."""
        if not self._settle(subscription, stored):
            return
        stored.delivery_count += 1
        if stored.delivery_count <= self.definition.delivery_limit:
            self.ready.append(stored)
            self.ready.sort(key=lambda item: item.position)
        else:
            self._die(stored, DELIVERY_LIMIT_REASON)
        self.schedule_delivery()

    def reject(self, subscription: Subscription, stored: StoredMessage) -> None:
        """Dead-letter a delivered message; without an exchange of dead letters it is lost."""
        if self._settle(subscription, stored):
            self._die(stored, REJECTED_REASON)
            self.schedule_delivery()

    def _die(self, stored: StoredMessage, reason: str) -> None:
        if self.definition.dead_letter_exchange:
            dead_letter = _with_death_headers(stored.message, self.definition.name, reason)
            self._dead_letter(dead_letter, self.definition.dead_letter_exchange)

    def _settle(self, subscription: Subscription, stored: StoredMessage) -> bool:
        subscription.unsettled -= 1
        if stored not in self.unsettled:  # the queue was deleted meanwhile
            return False
        self.unsettled.remove(stored)
        return True

    def delete(self) -> None:
        """Lose every message, and end the session of every consumer."""
        self.ready.clear()
        self.unsettled.clear()
        for subscription in list(self._subscriptions):
            subscription.cancel()


def _with_death_headers(message: Message, queue: str, reason: str) -> Message:
    """Return a message with the headers by which RabbitMQ says why it dead-lettered it."""
    death = {
        "reason": reason,
        "queue": queue,
        "exchange": message.exchange,
        "routing-keys": [message.routing_key],
        "count": 1,
    }
    first = {
        "x-first-death-reason": reason,
        "x-first-death-queue": queue,
        "x-first-death-exchange": message.exchange,
    }
    return replace(message, headers={**message.headers, "x-death": [death], **first})
