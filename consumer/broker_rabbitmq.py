"""RabbitMQ behind the broker protocol: sessions, over aiormq, the layer beneath aio-pika.

aio-pika makes the topology (`consumer.broker_topology`) and is left out here: it adds a layer to every message, and a
connection object that nobody holds until it is open, so that a cancelled connect could leave one behind. Connecting and
ending is `consumer.broker_line`; messages are written by `consumer.broker_frames`, and come by `consumer.broker_tap`.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any
from uuid import uuid4

from aiormq.exceptions import ChannelNotFoundEntity

from consumer import broker_examination, broker_topology
from consumer.broker import (
    Broker,
    BrokerDown,
    BrokerError,
    ConsumerSession,
    Delivery,
    Examination,
    Message,
    Nacked,
    PublisherSession,
    QueueCounts,
    Unroutable,
)
from consumer.broker_faults import INIT, told
from consumer.broker_frames import UNWRITABLE, acked, handed_back, written
from consumer.broker_line import CLOSE_SECONDS, Line, connect
from consumer.broker_tap import Content
from consumer.topology import Topology

MOST_UNSETTLED = 65_535
"""A prefetch has 16 bits."""
QUIET_SECONDS = 2.0
"""Messages that are there come within milliseconds of one another."""

OURS = frozenset({"message_id", "message_type", "headers", "cluster_id"})
"""Properties that a delivery has elsewhere, or not at all."""


class RabbitBroker(Broker):
    """Opens sessions at one RabbitMQ."""

    def __init__(
        self, url: str, *, timeout_seconds: float = 10, heartbeat_seconds: int = 10, name: str = "provisioner"
    ) -> None:
        """Remember where it is; nothing is opened yet. A dead peer is noticed after three heartbeats."""
        self._url = url
        self._timeout_seconds = timeout_seconds
        self._heartbeat_seconds = heartbeat_seconds
        self._name = name

    async def open_consumer(self) -> ConsumerSession:
        """Connect to consume."""
        return RabbitConsumer(await self._connect("consumer"))

    async def open_publisher(self) -> PublisherSession:
        """Connect to publish."""
        return RabbitPublisher(await self._connect("publisher", confirms=True))

    async def declare(self, topology: Topology) -> None:
        """Make what is missing; see the protocol."""
        await broker_topology.declare(self._url, topology, self._timeout_seconds)

    async def delete(self, topology: Topology) -> None:
        """Remove all of a topology; what is not there stays away."""
        await broker_topology.delete(self._url, topology, self._timeout_seconds)

    async def examine(self, topology: Topology) -> Examination:
        """Look at what is there; see the protocol."""
        return await broker_examination.examine(self._url, topology, self._timeout_seconds)

    async def peek(self, queue: str, limit: int) -> Sequence[Delivery]:
        """Look at messages and hand them back; from 4.3 on, that does not even count as a delivery.

        They are consumed, not asked for one by one: ten thousand come in a second instead of ten.
        """
        deliveries: list[Delivery] = []
        news = asyncio.Event()

        def arrived(delivery: Delivery) -> None:
            deliveries.append(delivery)
            news.set()

        line = await self._connect("peek")
        session = RabbitConsumer(line)
        try:
            wanted = min((await session.counts(queue)).ready, limit, MOST_UNSETTLED)
            if wanted:
                await session.consume(queue, wanted, arrived)
            with suppress(TimeoutError):  # somebody else may have taken some meanwhile: what has come is what there is
                while len(deliveries) < wanted:
                    news.clear()
                    async with asyncio.timeout(QUIET_SECONDS):
                        await news.wait()
            await session.stop_consuming()
            if deliveries:
                async with line.answered(f"cannot hand back to {queue}"):
                    await line.channel.basic_nack(deliveries[-1].tag, multiple=True, requeue=True, wait=False)
        finally:
            await line.close()
        return deliveries[:wanted]

    async def _connect(self, purpose: str, *, confirms: bool = False) -> Line:
        return await connect(
            self._url,
            f"{self._name} {purpose}",
            heartbeat_seconds=self._heartbeat_seconds,
            timeout_seconds=self._timeout_seconds,
            confirms=confirms,
        )


class RabbitConsumer(ConsumerSession):
    """A connection that only consumes."""

    def __init__(self, line: Line) -> None:
        self.closed = line.closed
        self._line = line
        self._consumers: list[str] = []
        self._receivers: dict[str, Callable[[Delivery], None]] = {}
        self._unsettled: set[int] = set()
        self._last_tag = 0
        self._in_order = True
        line.tap.on_content = self._arrived

    async def consume(self, queue: str, prefetch: int, on_delivery: Callable[[Delivery], None]) -> None:
        """Start to receive from a queue, with a prefetch of its own."""
        self._receivers[queue] = on_delivery
        async with self._line.answered(f"cannot consume {queue}"):
            await self._line.channel.basic_qos(prefetch_count=prefetch)
            # The consumer is called as its queue, so that each delivery says where it comes from.
            await self._line.channel.basic_consume(queue, _never, consumer_tag=queue)
        self._consumers.append(queue)

    def _arrived(self, content: Content) -> None:
        receiver = self._receivers.get(content.consumer or "")
        if receiver is None or self.closed.is_set():
            return
        delivery = _delivery(content, self)
        self._in_order &= delivery.tag == self._last_tag + 1
        self._last_tag = delivery.tag
        self._unsettled.add(delivery.tag)
        receiver(delivery)

    async def stop_consuming(self) -> None:
        """Cancel our consumers. On a dead session there is nothing left to stop."""
        consumers, self._consumers = self._consumers, []
        with suppress(BrokerError):
            for consumer in consumers:
                if not self.closed.is_set():
                    async with self._line.answered("cannot stop consuming"):
                        await self._line.channel.basic_cancel(consumer)

    async def ack_all(self, deliveries: Sequence[Delivery]) -> None:
        """Settle deliveries, each once; they are on their way when this returns, in order with all that follows.

        All go as one piece, and those before which nothing is unsettled in one frame: to a quorum queue each frame is a
        command of its own.
        """
        tags = {item.tag for item in deliveries if item.session is self} & self._unsettled
        if self.closed.is_set() or not tags:
            return
        self._unsettled -= tags
        first = min(self._unsettled, default=self._last_tag + 1) if self._in_order else 0
        run = {tag for tag in tags if tag < first}
        channel = self._line.channel.number
        acks = [acked(channel, max(run), multiple=True)] if run else []
        acks += [acked(channel, tag) for tag in sorted(tags - run)]
        # Each tag once: a second time, or on another session, would close the channel for all.
        self._line.write(b"".join(acks))

    async def hand_back(self, deliveries: Sequence[Delivery]) -> None:
        """Return deliveries to their queues; all that there are in one frame."""
        tags = {item.tag for item in deliveries if item.session is self} & self._unsettled
        if self.closed.is_set() or not tags:
            return
        everything = tags == self._unsettled
        self._unsettled -= tags
        channel = self._line.channel.number
        if everything:
            self._line.write(handed_back(channel, max(tags), multiple=True))
        else:
            self._line.write(b"".join(handed_back(channel, tag) for tag in sorted(tags)))

    async def counts(self, queue: str) -> QueueCounts:
        """Ask on this very channel; the answer of a dead one does not come."""
        async with self._line.answered(f"cannot count {queue}"):
            answer = await self._line.channel.queue_declare(queue, passive=True)
        return QueueCounts(answer.message_count or 0, answer.consumer_count or 0)

    async def close(self) -> None:
        """Close channel and connection, behind our acks.

        A channel of RabbitMQ's holds acks back while many are on their way to a quorum queue, and forgets those when it
        is closed (measured: 17 of 50 came again); cancelling the consumer makes it pass them on.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self.stop_consuming()
        await self._line.close()


@dataclass(slots=True, eq=False)
class Sent:
    """A message that is on its way, until the broker has answered for it."""

    id: str
    message: Message
    answered: bool = False
    answer: BrokerError | None = None
    awaited_by: list["Answers"] = field(default_factory=list)


class Answers:
    """What one caller waits for: an answer for each of its messages."""

    def __init__(self) -> None:
        self.complete: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._missing = 1  # until `seal`: no more are added then

    def await_for(self, sent: Sent) -> None:
        """Wait for one more message's answer."""
        if not sent.answered:
            self._missing += 1
            sent.awaited_by.append(self)

    def count(self) -> None:
        """Hear that one of them has its answer."""
        self._missing -= 1
        if not self._missing and not self.complete.done():
            self.complete.set_result(None)

    seal = count


class RabbitPublisher(PublisherSession):
    """A connection that only publishes, with confirms."""

    def __init__(self, line: Line) -> None:
        self.closed = line.closed
        self._line = line
        self._last_tag = 0
        self._by_tag: dict[int, Sent] = {}
        """What waits for its confirm, in the order of the tags."""
        self._by_id: dict[str, Sent] = {}
        """The same by message id: by its id alone it is told which message came back."""
        line.tap.on_answer = self._answered
        line.tap.on_content = self._returned
        line.on_end = self._ended

    @property
    def blocked(self) -> bool:
        """Whether the broker has said that it takes nothing: an alarm for memory or disk."""
        return self._line.blocked

    async def publish_all(self, messages: Sequence[Message]) -> list[BrokerError | None]:
        """Publish messages together and wait for the confirms; see the protocol.

        A caller that is cancelled takes nobody else's answer away: what has gone out stays on its way.
        """
        sent: list[Sent | BrokerError] = []
        lost = BrokerDown("the publishing connection is closed")
        try:
            async with asyncio.timeout(self._line.timeout_seconds):
                answers = Answers()
                await self._send(messages, sent, answers)
                answers.seal()
                await answers.complete
        except TimeoutError as error:
            self._line.drop(error)  # whether they arrived is unknown, and confirms may still come: of no more use
        sent += [lost] * (len(messages) - len(sent))
        return [item if isinstance(item, BrokerError) else item.answer if item.answered else lost for item in sent]

    async def _send(self, messages: Sequence[Message], sent: list[Sent | BrokerError], answers: Answers) -> None:
        """Write messages as one piece, and add to `sent` what will have each one's answer.

        Of one id there is one on its way. A copy shares the answer; another message with that id, such as a dead
        letter's original, waits for its turn.
        """
        pieces: list[bytes] = []
        try:
            for message in messages:
                while (other := self._by_id.get(message.message_id)) is not None and other.message != message:
                    self._write(pieces)
                    await _answer_for(other)
                item = other or self._add(message, pieces)
                sent.append(item)
                if isinstance(item, Sent):
                    answers.await_for(item)
        finally:
            self._write(pieces)  # whatever happens: each has its tag, and the broker counts those that it gets

    def _add(self, message: Message, pieces: list[bytes]) -> Sent | BrokerError:
        """Add a message's frames to `pieces`; return where its answer will be."""
        if self.closed.is_set():
            return BrokerDown("the publishing connection is closed")
        channel = self._line.channel
        message_id = message.message_id or uuid4().hex
        try:
            pieces.append(written(channel.number, message, message_id, channel.max_content_size))
        except UNWRITABLE as error:
            return BrokerError(f"{message.type} cannot be written as AMQP: {error}")
        self._last_tag += 1
        self._by_id[message_id] = self._by_tag[self._last_tag] = sent = Sent(message_id, message)
        return sent

    def _write(self, pieces: list[bytes]) -> None:
        if pieces:
            self._line.write(b"".join(pieces))
            pieces.clear()

    def _answered(self, tag: int, multiple: bool, taken: bool) -> None:  # noqa: FBT001 - as AMQP has it
        """Hear the broker's confirm for a tag, or for all up to it."""
        tags = list(takewhile(lambda earlier: earlier <= tag, self._by_tag)) if multiple else [tag]
        for each in tags:
            if sent := self._by_tag.pop(each, None):
                refusal = Nacked(f"{sent.message.routing_key} was refused by the broker: is a queue full?")
                self._settle(sent, None if taken else refusal)

    def _returned(self, content: Content) -> None:
        """Hear that a message came back; its confirm follows, and says nothing new."""
        sent = self._by_id.get(str(content.properties.get("message_id")))
        if sent and content.consumer is None:
            self._settle(sent, Unroutable(f"no queue takes {sent.message.routing_key}"))

    def _ended(self, reason: BaseException | None) -> None:
        """Hear that no more answers come."""
        unanswered, self._by_tag = self._by_tag, {}
        for sent in unanswered.values():
            self._settle(sent, _lost_with(sent.message, reason))

    def _settle(self, sent: Sent, answer: BrokerError | None) -> None:
        if sent.answered:
            return
        sent.answered, sent.answer = True, answer
        del self._by_id[sent.id]
        for answers in sent.awaited_by:
            answers.count()

    async def close(self) -> None:
        """Close channel and connection; what is in flight is not waited for."""
        await self._line.close()


async def _answer_for(sent: Sent) -> None:
    answers = Answers()
    answers.await_for(sent)
    answers.seal()
    await answers.complete


def _lost_with(message: Message, reason: BaseException | None) -> BrokerError:
    """Say what became of a message that nobody answered for. A missing exchange ends the channel for everybody; the
    broker names the one that it is about."""
    if isinstance(reason, ChannelNotFoundEntity) and f"'{message.exchange}'" in str(reason):
        return Unroutable(f"there is no exchange {message.exchange}; {INIT}")
    why = told(reason) if reason else "the connection is closed"
    return BrokerDown(f"no confirm for {message.type}: {why}")


async def _never(_: object) -> None:
    """Stand where aiormq wants a callback: deliveries are taken before it sees them."""


def _delivery(content: Content, session: ConsumerSession) -> Delivery:
    properties = content.properties
    headers = properties.get("headers") or {}
    return Delivery(
        body=b"".join(content.pieces),
        message_id=properties.get("message_id") or None,
        type=properties.get("message_type") or None,
        exchange=content.exchange,
        routing_key=content.routing_key,
        queue=content.consumer or "",
        redelivered=content.redelivered,
        headers={name: _readable(value) for name, value in headers.items()},
        properties={name: value for name, value in properties.items() if name not in OURS and value not in (None, "")},
        tag=content.tag,
        session=session,
    )


def _readable(value: Any) -> Any:
    return bytes(value) if isinstance(value, bytearray) else value
