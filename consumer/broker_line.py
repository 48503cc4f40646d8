"""One connection to RabbitMQ with one channel, and the certainty that both end. Knows no message: those go by its tap.

A connection is never mended: what is lost is seen, and somebody else connects anew.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import aiormq
from aiormq.channel import Channel
from aiormq.connection import TCPTransportFactory, TLSTransportFactory, TransportFactory
from aiormq.exceptions import ChannelClosed, ChannelNotFoundEntity, ConnectionClosed
from yarl import URL

from consumer.broker import BrokerDown, BrokerError, QueueMissing
from consumer.broker_faults import INIT, is_lost, told, where
from consumer.broker_tap import Tap

CLOSE_SECONDS = 3.0
"""For a broker that answers, a close takes milliseconds; after this the socket is cut."""


class TappedSocket(TransportFactory):
    """Opens the socket as aiormq would, puts a tap before aiormq's reader, and keeps hold of it to write and to cut."""

    tap: Tap

    def __init__(self, scheme: str) -> None:
        self._factory = TLSTransportFactory() if scheme == "amqps" else TCPTransportFactory()
        self._writer: asyncio.StreamWriter | None = None

    async def create(self, url: URL, **kwargs: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect."""
        reader, self._writer = await self._factory.create(url, **kwargs)
        self.tap = Tap(reader.feed_data, asyncio.get_running_loop().time)
        setattr(reader, "feed_data", self.tap.feed)  # noqa: B010 - mypy has no other name for: all that comes, comes here
        return reader, self._writer

    def write(self, frames: bytes) -> None:
        """Send whole frames, between those of aiormq, which writes whole ones, too."""
        if self._writer is not None:
            self._writer.write(frames)

    def cut(self) -> None:
        """End it at once, whatever has not been sent. Cut already is fine."""
        if self._writer is not None:
            self._writer.transport.abort()


class Line:
    """One connection with one channel."""

    channel: Channel

    def __init__(self, connection: aiormq.Connection, socket: TappedSocket, timeout_seconds: float) -> None:
        self.closed = asyncio.Event()
        self.timeout_seconds = timeout_seconds
        self.on_end: Callable[[BaseException | None], None] = lambda _: None
        """Called once, when it is lost or ended, with the reason where there is one."""
        self._connection = connection
        self._socket = socket
        self._has_channel = False
        self._ending: asyncio.Task[None] | None = None

    @property
    def tap(self) -> Tap:
        """Where its channel's messages come out."""
        return self._socket.tap

    @property
    def blocked(self) -> bool:
        """Whether the broker has blocked the connection. aiormq knows, and tells nobody."""
        unblocked: asyncio.Event = getattr(self._connection, "_Connection__connection_unblocked")  # noqa: B009
        return not unblocked.is_set()

    async def open(self, *, confirms: bool) -> None:
        """Connect, and open the channel; end when either does, or when the broker cancels a consumer: its queue was
        deleted, or its leader moved. Nothing comes any more then, on a connection that looks healthy."""
        await self._connection.connect()
        self._connection.closing.add_done_callback(self._gone)
        self.channel = cast("Channel", await self._connection.channel(publisher_confirms=confirms))
        self._has_channel = True
        self.channel.closing.add_done_callback(self._gone)
        self.channel.on_consumer_cancel_callbacks.add(self._cancelled)
        self.tap.take_from(self.channel.number, self._connection.connection_tune.frame_max or 0)

    def write(self, frames: bytes) -> None:
        """Send whole frames on the channel. Nothing is waited for: the callers bound what may be on its way."""
        try:
            self._socket.write(frames)
        except (RuntimeError, OSError) as error:
            self.drop(error)  # aiormq is closing a lost connection's socket, and we have not heard of it yet

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
            self.drop(error)  # a question broken off leaves its channel in doubt, and aiormq closes it
            if isinstance(error, ChannelNotFoundEntity):
                raise QueueMissing(f"{what}: {told(error)}; {INIT}") from error
            if is_lost(error):
                raise BrokerDown(f"{what}: {told(error)}") from error
            raise

    def _gone(self, closing: "asyncio.Future[Any]") -> None:
        self._end(None if closing.cancelled() else closing.exception())

    def _cancelled(self, _: object) -> None:
        self._end()

    def drop(self, reason: BaseException | None = None) -> None:
        """End it, and wait for nothing."""
        self._end(reason)

    async def close(self) -> None:
        """End it, and return when it has ended: soon, whatever the broker does. Raises nothing."""
        await asyncio.wait((self._end(),))

    def _end(self, reason: BaseException | None = None) -> "asyncio.Task[None]":
        self.closed.set()
        if self._ending is None:
            self._ending = asyncio.create_task(self._close_or_cut(), name="close connection")
            self._ending.add_done_callback(lambda task: task.cancelled() or task.exception())
            self.on_end(reason)
        return self._ending

    async def _close_or_cut(self) -> None:
        closing = self._connection.closing
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                if self._connection.is_opened:
                    # Its channel first: the channel's close stands in line behind our last acks, the connection's
                    # would overtake them. The reasons are ours: aiormq's default is to cancel whoever waits.
                    if self._has_channel:
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


async def connect(url: str, name: str, *, heartbeat_seconds: int, timeout_seconds: float, confirms: bool) -> Line:
    """Open a connection under a name that the broker shows.

    Raises:
        BrokerError: the URL cannot be read.
        BrokerDown: no connection.
    """
    address = where(url)
    try:
        target = URL(url)
        socket = TappedSocket(target.scheme)
        connection = aiormq.Connection(
            target.update_query(heartbeat=heartbeat_seconds),
            client_properties={"connection_name": name},
            transport_factory=socket,
        )
    except (ValueError, TypeError, KeyError):
        # Neither its text nor its cause may be seen: they quote the URL, with its password.
        raise BrokerError("the broker's URL cannot be read; amqp://USER:PASSWORD@HOST:5672/VHOST is one") from None
    line = Line(connection, socket, timeout_seconds)
    async with line.answered(f"cannot connect to {address}"):
        await line.open(confirms=confirms)
    return line
