"""Consumes from RabbitMQ on a connection of its own: deliveries in, acks and nacks out."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

from consumer.broker.protocol import BrokerError, ConsumerSession, Delivery, QueueCounts, Right
from consumer.broker.rabbitmq.connection import CLOSE_SECONDS, RabbitConnection
from consumer.broker.rabbitmq.frame_reader import ReceivedMessage
from consumer.broker.rabbitmq.frame_writer import ack_frame, nack_frame

OMITTED_PROPERTIES = frozenset({"message_id", "message_type", "headers", "cluster_id"})
"""Properties that a delivery has as fields of its own, or not at all."""


class RabbitConsumer(ConsumerSession):
    """A connection that only consumes."""

    def __init__(self, connection: RabbitConnection) -> None:
        self.closed = connection.closed
        self._connection = connection
        self._consumer_tags: list[str] = []
        self._receivers: dict[str, tuple[str, Callable[[Delivery], None]]] = {}
        """By consumer tag, the queue, and who receives what comes from it."""
        self._unsettled: set[int] = set()
        self._last_tag = 0
        self._in_order = True
        connection.frame_reader.on_message = self._delivered

    async def consume(
        self, queue: str, prefetch: int, on_delivery: Callable[[Delivery], None], *, max_body_bytes: int | None = None
    ) -> None:
        """Start to receive from a queue, with a prefetch of its own."""
        self._connection.frame_reader.max_body_bytes = max_body_bytes
        # The consumer tag is the queue's name where it can be: brokers show it.
        tag = f"{len(self._consumer_tags)} {queue}"[:255] if queue in self._consumer_tags else queue
        self._receivers[tag] = (queue, on_delivery)
        async with self._connection.rpc(f"cannot consume {queue}", Right("read", queue)):
            await self._connection.channel.basic_qos(prefetch_count=prefetch)
            await self._connection.channel.basic_consume(queue, unused_callback, consumer_tag=tag)
        self._consumer_tags.append(tag)

    def _delivered(self, message: ReceivedMessage) -> None:
        receiver = self._receivers.get(message.consumer_tag or "")
        if receiver is None or self.closed.is_set():
            return
        queue, on_delivery = receiver
        delivery = _delivery(message, queue, self)
        self._in_order &= delivery.tag == self._last_tag + 1
        self._last_tag = delivery.tag
        self._unsettled.add(delivery.tag)
        on_delivery(delivery)

    async def stop_consuming(self) -> None:
        """Cancel our consumers. On a dead session there is nothing left to stop."""
        consumer_tags, self._consumer_tags = self._consumer_tags, []
        with suppress(BrokerError):
            for consumer_tag in consumer_tags:
                if not self.closed.is_set():
                    async with self._connection.rpc("cannot stop consuming"):
                        await self._connection.channel.basic_cancel(consumer_tag)

    def pause(self) -> None:
        """Read nothing from the socket, until `resume`: what is sent meanwhile stays with the broker."""
        self._connection.pause()

    def resume(self) -> None:
        """Read from the socket again."""
        self._connection.resume()

    async def ack_all(self, deliveries: Sequence[Delivery]) -> None:
        """Settle deliveries, each once; they are on their way when this returns, in order with all that follows.

        All are written at once, and those before which nothing is unsettled in one frame: to a quorum queue each frame
        is a command of its own.
        """
        tags = self._settle(deliveries)
        if not tags:
            return
        first = min(self._unsettled, default=self._last_tag + 1) if self._in_order else 0
        before_first = {tag for tag in tags if tag < first}
        channel = self._connection.channel.number
        acks = [ack_frame(channel, max(before_first), multiple=True)] if before_first else []
        acks += [ack_frame(channel, tag) for tag in sorted(tags - before_first)]
        self._connection.write(b"".join(acks))

    async def nack_all(self, deliveries: Sequence[Delivery]) -> None:
        """Return deliveries to their queues; in one frame, if they are all that is unsettled."""
        tags = self._settle(deliveries)
        if not tags:
            return
        channel = self._connection.channel.number
        if self._unsettled:
            self._connection.write(b"".join(nack_frame(channel, tag) for tag in sorted(tags)))
        else:
            self._connection.write(nack_frame(channel, max(tags), multiple=True))

    async def reject_all(self, deliveries: Sequence[Delivery]) -> None:
        """Have the broker dead-letter deliveries."""
        tags, channel = self._settle(deliveries), self._connection.channel.number
        if tags:
            self._connection.write(b"".join(nack_frame(channel, tag, requeue=False) for tag in sorted(tags)))

    async def nack_unsettled(self) -> None:
        """Return all that is unsettled, in one frame."""
        tags, self._unsettled = self._unsettled, set()
        if tags and not self.closed.is_set():
            self._connection.write(nack_frame(self._connection.channel.number, max(tags), multiple=True))

    def _settle(self, deliveries: Sequence[Delivery]) -> set[int]:
        """Return the tags that are still to be settled, each once: settling it again, or on another session, would
        close the channel for all."""
        if self.closed.is_set():
            return set()
        tags = {item.tag for item in deliveries if item.session is self} & self._unsettled
        self._unsettled -= tags
        return tags

    async def counts(self, queue: str) -> QueueCounts:
        """Ask on this very channel; a dead one does not reply."""
        async with self._connection.rpc(f"cannot count {queue}"):
            reply = await self._connection.channel.queue_declare(queue, passive=True)
        return QueueCounts(reply.message_count or 0, reply.consumer_count or 0)

    async def close(self) -> None:
        """Close channel and connection, behind our acks.

        A channel of RabbitMQ's holds acks back while many are on their way to a quorum queue, and forgets those when it
        is closed (measured: 17 of 50 came again); cancelling the consumer makes it pass them on.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self.stop_consuming()
        await self._connection.close()


async def unused_callback(_: object) -> None:
    """Do nothing: aiormq requires a callback, but the frame reader intercepts deliveries before it."""


def _delivery(message: ReceivedMessage, queue: str, session: ConsumerSession) -> Delivery:
    properties = message.properties
    return Delivery(
        body=b"".join(message.body_parts),
        message_id=properties.get("message_id") or None,
        type=properties.get("message_type") or None,
        exchange=message.exchange,
        routing_key=message.routing_key,
        queue=queue,
        redelivered=message.redelivered,
        headers=properties.get("headers") or {},
        properties={
            name: value
            for name, value in properties.items()
            if name not in OMITTED_PROPERTIES and value not in (None, "")
        },
        tag=message.delivery_tag,
        session=session,
        refused_headers=message.refused_headers,
        omitted_bytes=message.omitted_bytes,
    )
