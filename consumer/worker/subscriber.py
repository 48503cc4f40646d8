"""Keeps one consuming connection alive, whose deliveries go straight into the buffer.

A watchdog checks that the broker still knows our consumers, by asking on the very channel that consumes. A connection
may look healthy while its consumer is gone: cancelled, its queue deleted and made again, the channel dead.
"""

import asyncio
from contextlib import suppress

from consumer.broker.protocol import AccessRefusedError, Broker, BrokerError, ConsumerSession
from consumer.broker.topology import Topology
from consumer.messages.inbound import MAX_BODY_BYTES
from consumer.telemetry import metrics
from consumer.telemetry.logs import log
from consumer.worker.buffer import Buffer
from consumer.worker.reconnect_backoff import Backoff

FINISHING_SECONDS = 0.2
"""How often a paused process checks whether its workers have finished."""
SILENT_INTERVALS = 2
"""Messages are ready, our window is not full, and nothing has come for so many intervals: the consumer is dead."""


class Subscriber:
    """Consumes both queues, on one session after another."""

    def __init__(
        self,
        broker: Broker,
        topology: Topology,
        buffer: Buffer,
        backoff: Backoff,
        *,
        prefetch: int,
        watchdog_seconds: float,
    ) -> None:
        self._broker = broker
        self._topology = topology
        self._buffer = buffer
        self._backoff = backoff
        self._prefetch = prefetch
        self._watchdog_seconds = watchdog_seconds
        self._session: ConsumerSession | None = None
        self._registered = False
        self.refusal: str | None = None
        """Which right at the broker was lacking, while that keeps it from being registered."""
        self._running = False
        self._stopping = False
        self._reconnect = asyncio.Event()
        self._paused = asyncio.Event()
        self._resumed = asyncio.Event()
        self._resumed.set()

    @property
    def at_rest(self) -> bool:
        """Whether it is paused, and everything that was here has been finished or given back."""
        return self._paused.is_set() and not self._running

    @property
    def connected(self) -> bool:
        """Whether deliveries can arrive now."""
        return self._session is not None and not self._session.closed.is_set()

    @property
    def registered(self) -> bool:
        """Whether the broker knows us as a consumer of both queues, as far as the watchdog has noticed."""
        return self._registered and self.connected

    def reconnect(self) -> None:
        """Connect anew, which declares whatever queue of ours is missing."""
        self._reconnect.set()

    def pause(self) -> None:
        """Take nothing until `resume`: what no worker has started is given back, and the connection ends."""
        self._resumed.clear()
        self._paused.set()

    def resume(self) -> None:
        """Connect and take again."""
        self._paused.clear()
        self._resumed.set()

    async def run(self) -> None:
        """Connect, consume, watch, connect again."""
        while not self._stopping:
            await self._resumed.wait()
            self._running = True
            try:
                await self.run_once()
            except Exception as error:
                # A client library may raise anything where a peer speaks nonsense. It costs this connection only.
                log.error("consumer failed", error=type(error).__name__)
            finally:
                self._running = False
            await self._backoff.wait()

    async def run_once(self) -> None:
        """Connect, and return once the connection is lost."""
        session: ConsumerSession | None = None
        try:
            await self._broker.declare(self._topology)
            session = self._session = await self._broker.open_consumer()
            self._reconnect.clear()
            for queue in (self._topology.commands, self._topology.signups):
                self._buffer.last_arrivals[queue] = asyncio.get_running_loop().time()
                await session.consume(queue, self._prefetch, self._buffer.put, max_body_bytes=MAX_BODY_BYTES)
            self._registered, self.refusal = True, None
            metrics.CONNECTED.labels("consumer").inc()
            log.info("connected", connection="consumer", prefetch=self._prefetch)
            self._backoff.reset()
            await self._watch(session)
        except BrokerError as error:
            self.refusal = str(error) if isinstance(error, AccessRefusedError) else None
            log.warning("consumer lost", error=str(error))
        finally:
            if session is not None:
                self._session, self._registered = None, False
                await asyncio.shield(session.close())
                self._buffer.forget(session)

    async def _watch(self, session: ConsumerSession) -> None:
        """Return once the session is of no more use.

        Raises:
            BrokerError: saying what was noticed.
        """
        while True:
            await _first_of(session.closed, self._reconnect, self._paused, seconds=self._watchdog_seconds)
            if session.closed.is_set():
                raise BrokerError("the consuming connection, channel or consumer was closed")
            if self._stopping:
                # We are no consumer any more, on purpose; the session is still needed for what is being finished.
                await session.closed.wait()
            if self._paused.is_set():
                await self._finish(session)
                return
            if self._reconnect.is_set():
                raise BrokerError("a message could not be routed: a queue is missing")
            await check_consumers(
                session, self._buffer, prefetch=self._prefetch, interval_seconds=self._watchdog_seconds
            )

    async def _finish(self, session: ConsumerSession) -> None:
        """Take nothing more, give back what waits, and return once the workers are done with the rest.

        Whoever calls ends the session, so that whatever the broker still counts as ours goes to others.
        """
        self._registered = False
        await session.stop_consuming()
        while not session.closed.is_set():
            await self.hand_back()
            if not self._buffer.in_flight and not len(self._buffer):
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(FINISHING_SECONDS):
                    await session.closed.wait()

    async def stop(self) -> None:
        """Take nothing more, now or after a reconnect; what was delivered can still be settled."""
        self._stopping = True
        if self._session is not None:
            await self._session.stop_consuming()

    async def hand_back(self) -> int:
        """Return what no worker has started; say how many that were."""
        deliveries = self._buffer.take_all()
        if self._session is not None:
            await self._session.nack_all(deliveries)
        return len(deliveries)

    async def close(self) -> None:
        """Close the connection for good."""
        if self._session is not None:
            await self._session.close()


async def _first_of(*events: asyncio.Event, seconds: float) -> None:
    """Wait until one of the events is set, so long at most."""
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for future in waiting:
            future.cancel()


async def check_consumers(session: ConsumerSession, buffer: Buffer, *, prefetch: int, interval_seconds: float) -> None:
    """Ask the broker about every queue that is consumed, and compare with when the last delivery of it came.

    Raises:
        BrokerError: saying what is wrong; the session is of no more use.
    """
    for queue in list(buffer.last_arrivals):
        counts = await session.counts(queue)
        if counts.consumers == 0:
            raise BrokerError(f"{queue} has no consumer, although we are one: it was made anew")
        silence = asyncio.get_running_loop().time() - buffer.last_arrivals[queue]
        silent = silence > SILENT_INTERVALS * interval_seconds
        if counts.ready and silent and buffer.unacked(queue) < prefetch:
            raise BrokerError(f"{queue} has {counts.ready} messages ready and none has come for {silence:.0f} s")
