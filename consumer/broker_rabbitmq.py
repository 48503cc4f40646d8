"""RabbitMQ behind the broker protocol: sessions, over aiormq, the layer beneath aio-pika.

A connection is never mended: what is lost is seen, and somebody else connects anew. aio-pika makes the topology
(`consumer.broker_topology`) and is left out here: it adds a layer to every message, and a connection object that nobody
holds until it is open, so that a cancelled connect could leave one behind.
"""

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any, cast
from uuid import uuid4

import aiormq
from aiormq.abc import ChannelFrame, DeliveredMessage
from aiormq.channel import Channel
from aiormq.connection import TCPTransportFactory, TLSTransportFactory, TransportFactory
from aiormq.exceptions import (
    ChannelClosed,
    ChannelNotFoundEntity,
    ConnectionClosed,
    DeliveryError,
    PublishError,
)
from pamqp import decode, frame
from pamqp.commands import Basic
from pamqp.header import ContentHeader
from yarl import URL

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
    QueueMissing,
    Unroutable,
)
from consumer.broker_faults import AWAY, INIT, is_lost, told, where
from consumer.failpoints import watched
from consumer.topology import Topology

CLOSE_SECONDS = 3.0
"""For a broker that answers, a close takes milliseconds; after this the socket is cut."""

MOST_UNSETTLED = 65_535
"""A prefetch has 16 bits."""
QUIET_SECONDS = 2.0
"""Messages that are there come within milliseconds of one another."""
UNWRITABLE = (ValueError, TypeError, ArithmeticError, LookupError, AttributeError, RecursionError, struct.error)
"""What pamqp raises for a value that AMQP cannot carry. Nothing has been sent then."""

PROPERTIES = (
    "content_type", "content_encoding", "delivery_mode", "priority", "correlation_id", "reply_to", "expiration",
    "timestamp", "user_id", "app_id",
)  # fmt: skip
COPIED = frozenset(PROPERTIES) - {"delivery_mode", "expiration", "user_id"}
"""What a copy takes over. Everything of ours is persistent, an expiry would lose a dead letter, and RabbitMQ closes the
channel of whoever gives a user id that is not his own."""
ROUTING_HEADERS = frozenset({"CC", "BCC"})
"""RabbitMQ sends further copies wherever these say; a copy of ours goes where we say."""


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
        _read_whatever_comes()

    async def open_consumer(self) -> ConsumerSession:
        """Connect to consume."""
        line = await self._open("consumer")
        line.end_with_channel()
        return RabbitConsumer(line)

    async def open_publisher(self) -> PublisherSession:
        """Connect to publish."""
        line = await self._open("publisher", confirms=True)
        line.end_with_channel()
        return RabbitPublisher(line)

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

        async with self._lent("peek") as line:
            session = RabbitConsumer(line)
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
        return deliveries[:wanted]

    @asynccontextmanager
    async def _lent(self, purpose: str) -> AsyncIterator["Line"]:
        """Lend a connection for one errand."""
        line = await self._open(purpose)
        try:
            yield line
        finally:
            await line.close()

    async def _open(self, purpose: str, *, confirms: bool = False) -> "Line":
        address = where(self._url)
        try:
            url = URL(self._url)
            socket = KeptSocket(url.scheme)
            connection = aiormq.Connection(
                url.update_query(heartbeat=self._heartbeat_seconds),
                client_properties={"connection_name": f"{self._name} {purpose}"},
                transport_factory=socket,
            )
        except (ValueError, TypeError, KeyError):
            # Neither its text nor its cause may be seen: they quote the URL, with its password.
            raise BrokerError("the broker's URL cannot be read; amqp://USER:PASSWORD@HOST:5672/VHOST is one") from None
        line = Line(connection, socket, self._timeout_seconds)
        async with line.answered(f"cannot connect to {address}"):
            await line.open(confirms=confirms)
        return line


class GatheringWriter:
    """A stream writer that sends what is written within one turn of the event loop as one piece.

    aiormq writes each frame by itself, and each write is a system call here and a packet there.
    """

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._pieces: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)

    def write(self, piece: bytes) -> None:
        """Send it at the end of this turn."""
        if not self._pieces:
            asyncio.get_running_loop().call_soon(self._send)
        self._pieces.append(piece)

    async def drain(self) -> None:
        """Send what has been written, and wait until there is room for more."""
        self._send()
        await self._writer.drain()

    def close(self) -> None:
        """Close behind what has been written."""
        self._send()
        self._writer.close()

    def _send(self) -> None:
        pieces, self._pieces = self._pieces, []
        if pieces:
            self._writer.write(b"".join(pieces))


class KeptSocket(TransportFactory):
    """Opens the socket as aiormq would, and keeps hold of it, so that it can be cut."""

    def __init__(self, scheme: str) -> None:
        self._factory = TLSTransportFactory() if scheme == "amqps" else TCPTransportFactory()
        self._writer: asyncio.StreamWriter | None = None

    async def create(self, url: URL, **kwargs: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect."""
        reader, self._writer = await self._factory.create(url, **kwargs)
        return reader, cast("asyncio.StreamWriter", GatheringWriter(self._writer))

    def cut(self) -> None:
        """End it at once, whatever has not been sent. Cut already is fine."""
        if self._writer is not None:
            self._writer.transport.abort()


class Line:
    """One connection with one channel, and the certainty that both end."""

    channel: Channel

    def __init__(self, connection: aiormq.Connection, socket: KeptSocket, timeout_seconds: float) -> None:
        self.closed = asyncio.Event()
        self.timeout_seconds = timeout_seconds
        self._connection = connection
        self._socket = socket
        self._confirms = False
        self._ending: asyncio.Task[None] | None = None

    @property
    def blocked(self) -> bool:
        """Whether the broker has blocked the connection. aiormq knows, and tells nobody."""
        unblocked: asyncio.Event = getattr(self._connection, "_Connection__connection_unblocked")  # noqa: B009
        return not unblocked.is_set()

    async def open(self, *, confirms: bool) -> None:
        """Connect, and open the channel."""
        self._confirms = confirms
        await self._connection.connect()
        self._connection.closing.add_done_callback(self._gone)
        await self.open_channel()

    async def open_channel(self) -> None:
        """Open a channel in place of the one that a refusal has closed."""
        channel = await self._connection.channel(publisher_confirms=self._confirms, on_return_raises=True)
        self.channel = cast("Channel", channel)

    def end_with_channel(self) -> None:
        """End when the channel does, or the broker cancels a consumer on it: the queue was deleted, its leader moved.
        Nothing comes any more then, on a connection that looks healthy."""
        self.channel.closing.add_done_callback(self._gone)
        self.channel.on_consumer_cancel_callbacks.add(self._gone)

    @asynccontextmanager
    async def answered(self, what: str) -> AsyncIterator[None]:
        """Bound a question to the broker in time. Whatever goes wrong ends the session.

        Raises:
            QueueMissing: it said so.
            BrokerDown: no answer, or no.
        """
        try:
            async with asyncio.timeout(self.timeout_seconds):
                yield
        except BaseException as error:
            self.drop()  # a question broken off leaves its channel in doubt, and aiormq closes it
            if isinstance(error, ChannelNotFoundEntity):
                raise QueueMissing(f"{what}: {told(error)}; {INIT}") from error
            if is_lost(error):
                raise BrokerDown(f"{what}: {told(error)}") from error
            raise

    def _gone(self, _: object) -> None:
        self.drop()

    def drop(self) -> None:
        """End it, and wait for nothing."""
        self._end()

    async def close(self) -> None:
        """End it, and return when it has ended: soon, whatever the broker does. Raises nothing."""
        await asyncio.wait((self._end(),))

    def _end(self) -> asyncio.Task[None]:
        self.closed.set()
        if self._ending is None:
            self._ending = asyncio.create_task(self._close_or_cut(), name="close connection")
            self._ending.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._ending

    async def _close_or_cut(self) -> None:
        closing = self._connection.closing
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                if self._connection.is_opened:
                    # Its channel first: the channel's close stands in line behind our last acks, the connection's
                    # would overtake them. The reasons are ours: aiormq's default is to cancel whoever waits.
                    await self.channel.close(ChannelClosed(0, "closed by us"))
                    await self._connection.close(ConnectionClosed(0, "closed by us"))
        except BaseException as error:
            if not is_lost(error):
                raise
        finally:
            self._socket.cut()
        await asyncio.wait((closing,), timeout=CLOSE_SECONDS)
        await self._let_go()

    async def _let_go(self) -> None:
        """Wake whoever waits for room among the frames to be sent: aiormq tells everybody but them that it is over."""
        frames = self._connection.write_queue
        while not frames.empty():
            frames.get_nowait()
            await asyncio.sleep(0)


class RabbitConsumer(ConsumerSession):
    """A connection that only consumes."""

    def __init__(self, line: Line) -> None:
        self.closed = line.closed
        self._line = line
        self._consumers: list[str] = []
        self._unsettled: set[int] = set()
        self._last_tag = 0
        self._in_order = True

    async def consume(self, queue: str, prefetch: int, on_delivery: Callable[[Delivery], None]) -> None:
        """Start to receive from a queue, with a prefetch of its own."""

        async def arrived(message: DeliveredMessage) -> None:
            # aiormq cancels running callbacks when the channel closes: nothing may happen here but this.
            if not self.closed.is_set():
                delivery = _delivery(message, queue, self)
                self._in_order &= delivery.tag == self._last_tag + 1
                self._last_tag = delivery.tag
                self._unsettled.add(delivery.tag)
                on_delivery(delivery)

        async with self._line.answered(f"cannot consume {queue}"):
            await self._line.channel.basic_qos(prefetch_count=prefetch)
            answer = await self._line.channel.basic_consume(queue, arrived)
        self._consumers.append(str(answer.consumer_tag))

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
        acks = [Basic.Ack(delivery_tag=max(run), multiple=True)] if run else []
        acks += [Basic.Ack(delivery_tag=tag) for tag in sorted(tags - run)]
        channel = self._line.channel
        try:
            async with asyncio.timeout(self._line.timeout_seconds):
                frames = ChannelFrame.marshall(channel.number, acks).payload
                await channel.write_queue.put(ChannelFrame(frames, should_close=False))
        except AWAY:
            self._line.drop()
        except asyncio.CancelledError:
            self._unsettled |= tags  # they were still waiting for their turn, and have not gone out
            raise

    async def hand_back(self, deliveries: Sequence[Delivery]) -> None:
        """Return deliveries to their queues; all that there are in one frame."""
        ours = {item.tag: item for item in deliveries if item.session is self and item.tag in self._unsettled}
        if len(ours) > 1 and len(ours) == len(self._unsettled):
            last = ours[max(ours)]
            self._unsettled = {last.tag}
            await self._settle(last, partial(self._line.channel.basic_nack, multiple=True))
            return
        for delivery in deliveries:
            await self._settle(delivery, self._line.channel.basic_nack)

    async def _settle(self, delivery: Delivery, settle: Callable[..., Awaitable[None]]) -> None:
        """Send one frame, once. A second one, or one with another session's tag, would close the channel for all."""
        if self.closed.is_set() or delivery.session is not self or delivery.tag not in self._unsettled:
            return
        self._unsettled.discard(delivery.tag)
        try:
            async with asyncio.timeout(self._line.timeout_seconds):
                await settle(delivery.tag, wait=False)
        except AWAY:
            self._line.drop()
        except asyncio.CancelledError:
            self._unsettled.add(delivery.tag)  # it was still waiting for its turn, and has not gone out
            raise

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


class RabbitPublisher(PublisherSession):
    """A connection that only publishes, with confirms."""

    def __init__(self, line: Line) -> None:
        self.closed = line.closed
        self._line = line
        self._in_flight: dict[str, tuple[Message, asyncio.Future[Any]]] = {}
        self._writing = asyncio.Lock()

    @property
    def blocked(self) -> bool:
        """Whether the broker has said that it takes nothing: an alarm for memory or disk."""
        return self._line.blocked

    async def publish_all(self, messages: Sequence[Message]) -> list[BrokerError | None]:
        """Publish messages together and wait for the confirms; see the protocol."""
        # A task of its own, shielded: a caller that is cancelled takes nobody else's answer away.
        return await asyncio.shield(asyncio.create_task(watched(self._publish_all(messages))))

    async def _publish_all(self, messages: Sequence[Message]) -> list[BrokerError | None]:
        sent: list[asyncio.Future[Any] | BrokerError] = []
        lost = BrokerDown("the publishing connection is closed")
        try:
            async with asyncio.timeout(self._line.timeout_seconds):
                await self._send(messages, sent)
                if waited := {answer for answer in sent if isinstance(answer, asyncio.Future)}:
                    await asyncio.wait(waited)
        except BaseException as error:
            self._line.drop()  # whether they arrived is unknown, and their confirms may still come: of no more use
            if not is_lost(error):
                raise
            lost = BrokerDown(f"no confirm: {told(error)}")
        sent += [lost] * (len(messages) - len(sent))
        return [_answer(message, answer, lost) for message, answer in zip(messages, sent, strict=True)]

    async def _send(self, messages: Sequence[Message], sent: list["asyncio.Future[Any] | BrokerError"]) -> None:
        """Write messages as one piece, and add to `sent` where each one's confirm will be.

        This is aiormq's `basic_publish` without a task, a lock and two timers for every message, which cost more than
        the message itself. Delivery tags follow the order of the frames, so one caller writes at a time.
        """
        channel = self._line.channel
        async with self._writing:
            pieces: list[bytes] = []
            for message in messages:
                # Of one id there is one in flight, since aiormq knows by its id which message came back. A copy shares
                # the answer; another message with that id, such as a dead letter's original, waits for its turn.
                while (other := self._in_flight.get(message.message_id)) is not None and other[0] != message:
                    await self._put(channel, pieces)
                    await asyncio.wait((other[1],))
                sent.append(other[1] if other else self._add(channel, message, pieces))
            await self._put(channel, pieces)

    def _add(self, channel: Channel, message: Message, pieces: list[bytes]) -> "asyncio.Future[Any] | BrokerError":
        """Add a message's frames to `pieces`; return where its confirm will be."""
        if self.closed.is_set() or channel.is_closed:
            return BrokerDown("the publishing connection is closed")
        message_id = message.message_id or uuid4().hex
        try:
            publish = _publish_frame(channel.number, message.exchange, message.routing_key, message.mandatory)
            header = ContentHeader(properties=_properties(message, message_id), body_size=len(message.body))
            body = channel._split_body(message.body)  # noqa: SLF001 - how large a frame may be is the channel's to know
            pieces.append(publish + ChannelFrame.marshall(channel.number, [header, *body]).payload)
        except UNWRITABLE as error:
            return BrokerError(f"{message.type} cannot be written as AMQP: {error}")
        confirm = channel.create_future()
        channel.delivery_tag += 1
        channel.confirmations[channel.delivery_tag] = confirm
        channel.message_id_delivery_tag[message_id] = channel.delivery_tag
        self._in_flight[message_id] = (message, confirm)
        confirm.add_done_callback(lambda _: self._forget(message_id, confirm))
        return confirm

    @staticmethod
    async def _put(channel: Channel, pieces: list[bytes]) -> None:
        if pieces:
            await channel.write_queue.put(ChannelFrame(b"".join(pieces), should_close=False))
            pieces.clear()

    def _forget(self, message_id: str, confirm: "asyncio.Future[Any]") -> None:
        self._in_flight.pop(message_id, None)
        self._line.channel.message_id_delivery_tag.pop(message_id, None)
        if not confirm.cancelled():
            confirm.exception()  # looked at: whoever asked may have gone

    async def close(self) -> None:
        """Close channel and connection; what is in flight is not waited for."""
        await self._line.close()


# ------------------------------------------------------------------------------------------------- from and to the wire


def _answer(message: Message, answer: "asyncio.Future[Any] | BrokerError", lost: BrokerError) -> BrokerError | None:
    """Say what became of one message; `lost` is what became of one that nobody answered for."""
    if isinstance(answer, BrokerError):
        return answer
    if not answer.done() or answer.cancelled():
        return lost
    match answer.exception():
        case None:
            return None
        case PublishError():
            return Unroutable(f"no queue takes {message.routing_key}")
        case DeliveryError():
            return Nacked(f"{message.routing_key} was refused by the broker: is a queue full?")
        # A missing exchange ends the channel for everybody; the broker names the one that it is about.
        case ChannelNotFoundEntity() as error if f"'{message.exchange}'" in str(error):
            return Unroutable(f"there is no exchange {message.exchange}; {INIT}")
        case BaseException() as error:
            return BrokerDown(f"no confirm for {message.type}: {told(error)}")


@lru_cache(maxsize=64)
def _publish_frame(channel: int, exchange: str, routing_key: str, mandatory: bool) -> bytes:  # noqa: FBT001 - AMQP's own
    """Return the frame that says where a message goes: the same for all that go there, and we send to few places."""
    return frame.marshal(Basic.Publish(exchange=exchange, routing_key=routing_key, mandatory=mandatory), channel)


def _properties(message: Message, message_id: str) -> Basic.Properties:
    properties: dict[str, Any] = {"content_type": "application/json", "timestamp": datetime.now(UTC)}
    properties |= {name: value for name, value in message.properties.items() if name in COPIED}
    return Basic.Properties(
        **properties,
        delivery_mode=2,
        message_id=message_id,
        message_type=message.type or None,
        headers={name: _writable(value) for name, value in message.headers.items() if name not in ROUTING_HEADERS},
    )


def _writable(value: Any) -> Any:
    """Return a header's value as pamqp writes it: it reads binary ones as bytes, and writes only bytearrays."""
    match value:
        case bytes():
            return bytearray(value)
        case list():
            return [_writable(item) for item in value]
        case dict():
            return {name: _writable(item) for name, item in value.items()}
        case _:
            return value


def _readable(value: Any) -> Any:
    return bytes(value) if isinstance(value, bytearray) else value


def _delivery(message: DeliveredMessage, queue: str, session: ConsumerSession) -> Delivery:
    properties = message.header.properties
    headers: Mapping[str, Any] = properties.headers or {}
    return Delivery(
        body=message.body,
        message_id=properties.message_id or None,
        type=properties.message_type or None,
        exchange=message.exchange or "",
        routing_key=message.routing_key or "",
        queue=queue,
        redelivered=bool(message.redelivered),
        headers={name: _readable(value) for name, value in headers.items()},
        properties={name: value for name in PROPERTIES if (value := getattr(properties, name)) not in (None, "")},
        tag=int(message.delivery_tag or 0),
        session=session,
    )


def _read_whatever_comes() -> None:
    """Make pamqp read what any foreign publisher may write.

    It raises on text that is no UTF-8, on a year above 9999 and on some headers; aiormq then closes the connection, the
    broker delivers the same message again, and one such message keeps every consumer away for good. Read leniently,
    it is an ordinary poison message.
    """
    decode.METHODS |= {"shortstr": _short_text, "timestamp": _time, "table": _table}


def _short_text(value: bytes) -> tuple[int, str]:
    end = value[0] + 1
    try:
        return end, value[1:end].decode()
    except UnicodeDecodeError:
        # Never longer than it was: a copy of it must fit into 255 bytes again.
        return end, value[1:end].decode(errors="replace").replace("\ufffd", "?")


def _time(value: bytes) -> tuple[int, datetime | None]:
    try:
        return decode.timestamp(value)
    except (ValueError, OverflowError, OSError):
        return 8, None


def _table(value: bytes) -> tuple[int, Any]:
    try:
        return decode.field_table(value)
    except (ValueError, OverflowError, OSError, RecursionError):
        return 4 + int.from_bytes(value[:4], "big"), {}
