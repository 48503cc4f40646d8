"""Sessions of the broker in memory: one that consumes, one that publishes, and the connection under each.

A connection delivers what is sent on it in order, one thing an iteration of the event loop.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from consumer.broker.memory.queue import MemoryQueue, StoredMessage, Subscription
from consumer.broker.protocol import (
    BrokerDownError,
    BrokerError,
    ConsumerSession,
    Delivery,
    Message,
    PublisherSession,
    QueueCounts,
    QueueMissingError,
    UnroutableError,
)


class MemoryConnection:
    """What was sent on one connection and has not arrived."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()
        self.loop = asyncio.get_running_loop()
        self._sent: deque[Callable[[], None]] = deque()
        self._flushes: dict[asyncio.Future[None], None] = {}  # in order: a seed must replay exactly

    def send(self, arrive: Callable[[], None]) -> None:
        """Call `arrive` in a later iteration of the loop, unless the connection is aborted before."""
        self._sent.append(arrive)
        self.loop.call_soon(self._arrive)

    def _arrive(self) -> None:
        # Whichever iteration comes first takes what was sent first, so that no order of them can reorder a connection.
        if self._sent:
            self._sent.popleft()()

    async def flush(self) -> None:
        """Return when what was sent before has arrived, or is lost."""
        done: asyncio.Future[None] = self.loop.create_future()
        self._flushes[done] = None
        done.add_done_callback(self._flushes.pop)
        self.send(lambda: resolve(done, None))
        await done

    def abort(self) -> None:
        """Lose what has not arrived, and set `closed`."""
        self._sent.clear()
        self.closed.set()
        for done in list(self._flushes):
            resolve(done, None)


async def next_iteration() -> None:
    """Wait for another iteration of the event loop, by `call_soon`, which a simulation's loop knows."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    loop.call_soon(resolve, done, None)
    await done


def resolve(future: "asyncio.Future[None]", error: BrokerError | None) -> None:
    """Set a future's result or exception, unless it has one."""
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)


DEFAULT_PROPERTIES = {"content_type": "application/json", "delivery_mode": 2}
NOT_COPIED = frozenset({"delivery_mode", "expiration", "user_id"})
"""Properties of a foreign message that a copy of it does not take over, as at RabbitMQ (`frame_writer`)."""
USER = "guest"
"""The one user that there is."""


class MemoryConsumer(ConsumerSession):
    """A session that consumes."""

    def __init__(self, find_queue: Callable[[str], MemoryQueue]) -> None:
        """Open a session. `find_queue` raises QueueMissingError."""
        self._connection = MemoryConnection()
        self.closed = self._connection.closed
        self._find_queue = find_queue
        self._subscriptions: list[Subscription] = []
        self._unsettled: dict[int, tuple[Subscription, StoredMessage]] = {}
        self._settling: set[int] = set()
        """Tags whose ack or nack is on its way."""
        self._last_tag = 0
        self._max_body_bytes: int | None = None

    async def consume(
        self, queue: str, prefetch: int, on_delivery: Callable[[Delivery], None], *, max_body_bytes: int | None = None
    ) -> None:
        """Start to receive from a queue."""
        self._max_body_bytes = max_body_bytes
        found = await self._queue(queue, f"cannot consume {queue}")

        def deliver(stored: StoredMessage) -> None:
            self._last_tag += 1
            self._unsettled[self._last_tag] = (subscription, stored)
            delivery = delivery_of(stored, queue, self, self._last_tag)
            if self._max_body_bytes is not None and len(delivery.body) > self._max_body_bytes:
                delivery = replace(delivery, body=b"", omitted_bytes=len(delivery.body))
            on_delivery(delivery)

        subscription = Subscription(found, prefetch, deliver, self.end)
        found.subscribe(subscription)
        self._subscriptions.append(subscription)

    async def stop_consuming(self) -> None:
        """Cancel our consumers."""
        if not self.closed.is_set():
            await self._connection.flush()
        self._unsubscribe()

    def _unsubscribe(self) -> None:
        for subscription in self._subscriptions:
            subscription.queue.unsubscribe(subscription)
        self._subscriptions.clear()

    def pause(self) -> None:
        """Have nothing delivered, until `resume`."""
        for subscription in self._subscriptions:
            subscription.set_paused(paused=True)

    def resume(self) -> None:
        """Have what is ready delivered again."""
        for subscription in self._subscriptions:
            subscription.set_paused(paused=False)

    async def ack_all(self, deliveries: Sequence[Delivery]) -> None:
        """Settle deliveries; they are on their way when this returns."""
        self._settle(tags_of(self, deliveries), MemoryQueue.ack)

    async def nack_all(self, deliveries: Sequence[Delivery]) -> None:
        """Return deliveries to their queues."""
        self._settle(tags_of(self, deliveries), MemoryQueue.nack)

    async def reject_all(self, deliveries: Sequence[Delivery]) -> None:
        """Have deliveries dead-lettered."""
        self._settle(tags_of(self, deliveries), MemoryQueue.reject)

    async def nack_unsettled(self) -> None:
        """Return all that is unsettled."""
        self._settle(list(self._unsettled), MemoryQueue.nack)

    def _settle(self, tags: Sequence[int], settle: Callable[[MemoryQueue, Subscription, StoredMessage], None]) -> None:
        def arrive(tag: int) -> None:
            self._settling.discard(tag)
            subscription, stored = self._unsettled.pop(tag)
            settle(subscription.queue, subscription, stored)

        for tag in tags:
            if not (self.closed.is_set() or tag not in self._unsettled or tag in self._settling):
                self._settling.add(tag)
                self._connection.send(partial(arrive, tag))

    async def counts(self, queue: str) -> QueueCounts:
        """Ask on this very session."""
        return (await self._queue(queue, f"cannot count {queue}")).counts

    async def _queue(self, name: str, what: str) -> MemoryQueue:
        """Return a queue; where there is none, as at RabbitMQ, the session ends."""
        if not self.closed.is_set():
            await self._connection.flush()
        if self.closed.is_set():
            raise BrokerDownError(f"{what}: the session is closed")
        try:
            return self._find_queue(name)
        except QueueMissingError:
            self.end()
            raise

    async def close(self) -> None:
        """Close for good, behind the acks that are on their way."""
        if not self.closed.is_set():
            await self._connection.flush()
        self.end()

    def end(self) -> None:
        """Close at once: what is on its way is lost, what is unsettled returns to its queue."""
        if self.closed.is_set():
            return
        self._connection.abort()
        self._unsubscribe()
        unsettled, self._unsettled = self._unsettled, {}
        for subscription, stored in unsettled.values():
            subscription.queue.nack(subscription, stored)


def tags_of(session: ConsumerSession, deliveries: Sequence[Delivery]) -> list[int]:
    """Return the tags of those deliveries that this session received."""
    return [delivery.tag for delivery in deliveries if delivery.session is session]


def delivery_of(stored: StoredMessage, queue: str, session: ConsumerSession, tag: int) -> Delivery:
    """Return a stored message as it is delivered."""
    message = stored.message
    headers: dict[str, Any] = dict(message.headers)
    if stored.delivery_count:
        headers["x-delivery-count"] = stored.delivery_count
    properties = {name: value for name, value in message.properties.items() if name not in NOT_COPIED}
    if message.carries_user_id:
        properties["user_id"] = USER
    return Delivery(
        body=message.body,
        message_id=message.message_id or None,
        type=message.type or None,
        exchange=message.exchange,
        routing_key=message.routing_key,
        queue=queue,
        redelivered=stored.delivery_count > 0,
        headers=headers,
        properties=DEFAULT_PROPERTIES | properties,
        tag=tag,
        session=session,
    )


class MemoryPublisher(PublisherSession):
    """A session that publishes."""

    def __init__(self, accept: Callable[[Message], BrokerError | None]) -> None:
        """Open a session. `accept` stores a message, or returns why not."""
        self._connection = MemoryConnection()
        self.closed = self._connection.closed
        self._accept = accept
        self._by_id: dict[str, tuple[Message, asyncio.Future[None]]] = {}
        self._unconfirmed: dict[asyncio.Future[None], None] = {}

    async def publish_all(self, messages: Sequence[Message]) -> list[BrokerError | None]:
        """Publish messages together and wait for the confirms; see the protocol."""
        results = await asyncio.gather(*map(self._publish, messages), return_exceptions=True)
        for result in results:
            if result is not None and not isinstance(result, BrokerError):
                raise result
        return [result if isinstance(result, BrokerError) else None for result in results]

    async def _publish(self, message: Message) -> None:
        while (other := self._by_id.get(message.message_id)) is not None and not other[1].done():
            if other[0] == message:
                await asyncio.shield(other[1])
                return
            await asyncio.wait((other[1],))
        if self.closed.is_set():
            raise BrokerDownError("the publishing session is closed")
        confirm: asyncio.Future[None] = self._connection.loop.create_future()
        self._unconfirmed[confirm] = None
        confirm.add_done_callback(lambda _: self._confirmed(message, confirm))
        if message.message_id:
            self._by_id[message.message_id] = (message, confirm)
        self._connection.send(lambda: self._arrived(message, confirm))
        await asyncio.shield(confirm)

    def _arrived(self, message: Message, confirm: "asyncio.Future[None]") -> None:
        error = self._accept(message)
        if isinstance(error, QueueMissingError):
            # As at RabbitMQ, a missing exchange ends the channel, for everybody in flight on it.
            confirm.set_exception(UnroutableError(str(error)))
            self.end()
        elif isinstance(error, BrokerDownError):
            confirm.set_exception(error)
            self.end()
        else:
            # The confirm takes an iteration of its own: between storing and confirming is where crashes matter most.
            self._connection.send(lambda: resolve(confirm, error))

    def _confirmed(self, message: Message, confirm: "asyncio.Future[None]") -> None:
        self._unconfirmed.pop(confirm)
        if self._by_id.get(message.message_id) == (message, confirm):
            del self._by_id[message.message_id]
        if not confirm.cancelled():
            confirm.exception()  # retrieved, or asyncio would complain: its caller may have been cancelled

    async def close(self) -> None:
        """Close for good; what is in flight is not waited for."""
        await next_iteration()
        self.end()

    def end(self) -> None:
        """Close at once: whether what is in flight was stored stays unknown."""
        if self.closed.is_set():
            return
        self._connection.abort()
        for confirm in list(self._unconfirmed):
            resolve(confirm, BrokerDownError("the session was closed before the confirm"))
