"""Opens and closes one connection to RabbitMQ, with one channel. Knows no message: those pass its frame reader.

A connection is never repaired: `closed` is set once it is lost, and its owner connects anew.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import aiormq
from aiormq.channel import Channel
from aiormq.connection import TCPTransportFactory, TLSTransportFactory, TransportFactory
from aiormq.exceptions import ChannelAccessRefused, ChannelClosed, ChannelNotFoundEntity, ConnectionClosed
from yarl import URL

from consumer.broker.protocol import INIT_HINT, BrokerDownError, BrokerError, QueueMissingError, Right
from consumer.broker.rabbitmq.errors import URL_UNREADABLE, access_refused, error_text, host_of, is_lost, user_of
from consumer.broker.rabbitmq.frame_reader import FrameReader

CLOSE_SECONDS = 3.0
"""For a broker that answers, a close takes milliseconds; after this the socket is aborted."""


class FrameReaderTransport(TransportFactory):
    """Opens the socket as aiormq would, puts a frame reader before aiormq's reader, and keeps the socket's writer."""

    frame_reader: FrameReader

    def __init__(self, scheme: str) -> None:
        self._factory = TLSTransportFactory() if scheme == "amqps" else TCPTransportFactory()
        self._writer: asyncio.StreamWriter | None = None

    async def create(self, url: URL, **kwargs: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect."""
        reader, self._writer = await self._factory.create(url, **kwargs)
        self.frame_reader = FrameReader(reader.feed_data, asyncio.get_running_loop().time)
        setattr(reader, "feed_data", self.frame_reader.feed)  # noqa: B010 - mypy refuses an assignment to a method
        return reader, self._writer

    def write(self, frames: bytes) -> None:
        """Send whole frames, between those of aiormq, which writes whole ones, too."""
        if self._writer is not None:
            self._writer.write(frames)

    def pause(self) -> None:
        """Read nothing more from the socket. Closed already is fine."""
        if transport := self._open_transport():
            transport.pause_reading()

    def resume(self) -> None:
        """Read from the socket again; where it was not paused, this does nothing."""
        if transport := self._open_transport():
            transport.resume_reading()

    def _open_transport(self) -> asyncio.ReadTransport | None:
        if self._writer is None or self._writer.transport.is_closing():
            return None
        return cast("asyncio.ReadTransport", self._writer.transport)

    def abort(self) -> None:
        """Close the socket at once, whatever has not been sent. Closed already is fine."""
        if self._writer is not None:
            self._writer.transport.abort()


class RabbitConnection:
    """One connection with one channel."""

    channel: Channel

    def __init__(
        self,
        aiormq_connection: aiormq.Connection,
        socket: FrameReaderTransport,
        timeout_seconds: float,
        user: str | None,
    ) -> None:
        self.closed = asyncio.Event()
        self.timeout_seconds = timeout_seconds
        self.user = user
        """Whom the broker knows it as; None where a certificate says that, and not the URL."""
        self.on_closed: Callable[[BaseException | None], None] = lambda _: None
        """Called once, when it is lost or being closed, with the reason where there is one."""
        self._aiormq = aiormq_connection
        self._socket = socket
        self._has_channel = False
        self._closing: asyncio.Task[None] | None = None

    @property
    def frame_reader(self) -> FrameReader:
        """Reads its channel's messages and confirms."""
        return self._socket.frame_reader

    @property
    def blocked(self) -> bool:
        """Whether the broker has blocked the connection. aiormq notes it, and has no public name for it."""
        unblocked: asyncio.Event = getattr(self._aiormq, "_Connection__connection_unblocked")  # noqa: B009
        return not unblocked.is_set()

    async def open(self, *, confirms: bool) -> None:
        """Connect, and open the channel. From then on the end of either closes the connection, and so does a consumer
        that the broker cancels, whose queue was deleted or whose leader moved: nothing is delivered any more then, on a
        connection that looks healthy."""
        await self._aiormq.connect()
        self._aiormq.closing.add_done_callback(self._lost)
        self.channel = cast("Channel", await self._aiormq.channel(publisher_confirms=confirms))
        self._has_channel = True
        self.channel.closing.add_done_callback(self._lost)
        self.channel.on_consumer_cancel_callbacks.add(self._consumer_cancelled)
        self.frame_reader.intercept(self.channel.number, self._aiormq.connection_tune.frame_max or 0)

    def write(self, frames: bytes) -> None:
        """Send whole frames on the channel. Nothing is waited for: the callers bound what may be on its way."""
        try:
            self._socket.write(frames)
        except (RuntimeError, OSError) as error:
            self.start_closing(error)  # aiormq is closing a lost connection's socket, and `_lost` has not run yet

    def pause(self) -> None:
        """Read nothing more from the socket, deliveries and replies alike."""
        self._socket.pause()

    def resume(self) -> None:
        """Read from the socket again."""
        self._socket.resume()

    @asynccontextmanager
    async def rpc(self, what: str, right: Right | None = None) -> AsyncIterator[None]:
        """Bound a request and its reply in time. Whatever goes wrong closes the connection. `right`: what it needs.

        Raises:
            AccessRefusedError: the user lacks the right.
            QueueMissingError: the broker replied so.
            BrokerDownError: no reply, or another refusal.
        """
        try:
            async with asyncio.timeout(self.timeout_seconds):
                yield
        except BaseException as error:
            self.start_closing(error)  # a request without its reply leaves the channel's state unknown
            if isinstance(error, ChannelNotFoundEntity):
                raise QueueMissingError(f"{what}: {error_text(error)}; {INIT_HINT}") from error
            if right is not None and isinstance(error, ChannelAccessRefused):
                raise access_refused(right, self.user, error) from error
            if is_lost(error):
                raise BrokerDownError(f"{what}: {error_text(error)}") from error
            raise

    def _lost(self, closing: "asyncio.Future[Any]") -> None:
        self.start_closing(None if closing.cancelled() else closing.exception())

    def _consumer_cancelled(self, _: object) -> None:
        self.start_closing()

    async def close(self) -> None:
        """Close it, and return when it is closed: soon, whatever the broker does. Raises nothing."""
        await asyncio.wait((self.start_closing(),))

    def start_closing(self, reason: BaseException | None = None) -> "asyncio.Task[None]":
        """Set `closed` at once, and return the task that closes channel, connection and socket."""
        self.closed.set()
        if self._closing is None:
            self._closing = asyncio.create_task(self._close_or_abort(), name="close connection")
            self._closing.add_done_callback(lambda task: task.cancelled() or task.exception())
            self.on_closed(reason)
        return self._closing

    async def _close_or_abort(self) -> None:
        closing = self._aiormq.closing
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                if self._aiormq.is_opened:
                    # Its channel first: the channel's close is queued behind our last acks, the connection's would
                    # overtake them. The reasons are ours: aiormq's default is to cancel whoever waits.
                    if self._has_channel:
                        await self.channel.close(ChannelClosed(0, "closed by us"))
                    await self._aiormq.close(ConnectionClosed(0, "closed by us"))
        except BaseException as error:
            if not is_lost(error):
                raise
        finally:
            self._socket.abort()
        await asyncio.wait((closing,), timeout=CLOSE_SECONDS)
        await self._empty_write_queue()

    async def _empty_write_queue(self) -> None:
        """Wake the tasks that wait for a place in aiormq's write queue: it wakes all others when it closes."""
        frames = self._aiormq.write_queue
        while not frames.empty():
            frames.get_nowait()
            await asyncio.sleep(0)


async def connect(
    url: str, name: str, *, heartbeat_seconds: int, timeout_seconds: float, confirms: bool
) -> RabbitConnection:
    """Open a connection under a name that the broker shows.

    Raises:
        BrokerError: the URL cannot be read.
        BrokerDownError: no connection.
    """
    host = host_of(url)
    try:
        target = URL(url)
        socket = FrameReaderTransport(target.scheme)
        aiormq_connection = aiormq.Connection(
            target.update_query(heartbeat=heartbeat_seconds),
            client_properties={"connection_name": name},
            transport_factory=socket,
        )
    except (ValueError, TypeError, KeyError):
        raise BrokerError(URL_UNREADABLE) from None
    connection = RabbitConnection(aiormq_connection, socket, timeout_seconds, user_of(target))
    async with connection.rpc(f"cannot connect to {host}"):
        await connection.open(confirms=confirms)
    return connection
