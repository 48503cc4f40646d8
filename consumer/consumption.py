"""Keeps one consuming connection alive, and watches that the broker still knows it.

A connection may look healthy while its consumer is gone: cancelled, the queue deleted and made again, the channel
dead. So the watchdog asks on the very channel that consumes.
"""

import asyncio
from contextlib import suppress

from consumer import metrics
from consumer.backoff import Backoff
from consumer.broker import Broker, BrokerError, ConsumerSession, Delivery
from consumer.intake import Intake
from consumer.logs import log
from consumer.topology import Topology

FINISHING_SECONDS = 0.2
"""How often a paused process looks whether its workers have finished."""
SILENT_LOOKS = 2
"""Messages are ready, our window is not full, and nothing has come between so many looks: the consumer is dead."""


class Consumption:
    """Receives deliveries into the intake, on one session after another."""

    def __init__(
        self,
        broker: Broker,
        topology: Topology,
        intake: Intake,
        backoff: Backoff,
        *,
        prefetch: int,
        watchdog_seconds: float,
    ) -> None:
        self._broker = broker
        self._topology = topology
        self._intake = intake
        self._backoff = backoff
        self._prefetch = prefetch
        self._watchdog_seconds = watchdog_seconds
        self._session: ConsumerSession | None = None
        self._doubt = asyncio.Event()
        self._last_arrival: dict[str, float] = {}
        self._registered = False
        self._last_delivery: float | None = None
        self._stopping = False
        self._living = False
        self._paused = asyncio.Event()
        self._allowed = asyncio.Event()
        self._allowed.set()

    @property
    def at_rest(self) -> bool:
        """Whether it is paused, and everything that was here has been finished or given back."""
        return self._paused.is_set() and not self._living

    @property
    def last_delivery(self) -> float | None:
        """When the last delivery came, by the loop's clock."""
        return self._last_delivery

    @property
    def connected(self) -> bool:
        """Whether deliveries can arrive now."""
        return self._session is not None and not self._session.closed.is_set()

    @property
    def registered(self) -> bool:
        """Whether the broker knows us as a consumer of both queues, as far as the watchdog has noticed."""
        return self._registered and self.connected

    def doubt(self) -> None:
        """Hear that a queue of ours is missing: connect anew, which makes what is missing."""
        self._doubt.set()

    def pause(self) -> None:
        """Take nothing until `resume`: what no worker has started is given back, and the connection ends."""
        self._allowed.clear()
        self._paused.set()

    def resume(self) -> None:
        """Connect and take again."""
        self._paused.clear()
        self._allowed.set()

    async def run(self) -> None:
        """Connect, consume, watch, connect again."""
        while not self._stopping:
            await self._allowed.wait()
            self._living = True
            try:
                await self.run_once()
            except Exception as error:
                # A client library may raise anything where a peer speaks nonsense. It costs this connection only.
                log.error("consumer failed", error=type(error).__name__)
            finally:
                self._living = False
            await self._backoff.wait()

    async def run_once(self) -> None:
        """Live through one connection."""
        session: ConsumerSession | None = None
        try:
            await self._broker.declare(self._topology)
            session = self._session = await self._broker.open_consumer()
            self._doubt.clear()
            for queue in (self._topology.commands, self._topology.signups):
                self._last_arrival[queue] = _now()
                await session.consume(queue, self._prefetch, self._arrived)
            self._registered = True
            metrics.CONNECTED.labels("consumer").inc()
            log.info("connected", connection="consumer", prefetch=self._prefetch)
            self._backoff.reset()
            await self._watch(session)
        except BrokerError as error:
            log.warning("consumer lost", error=str(error))
        finally:
            if session is not None:
                self._session, self._registered = None, False
                await asyncio.shield(session.close())
                self._intake.forget(session)

    def _arrived(self, delivery: Delivery) -> None:
        self._last_arrival[delivery.queue] = self._last_delivery = _now()
        self._intake.put(delivery)

    async def _watch(self, session: ConsumerSession) -> None:
        """Return once the session is of no more use.

        Raises:
            BrokerError: saying what was noticed.
        """
        while True:
            closed = asyncio.ensure_future(session.closed.wait())
            doubt = asyncio.ensure_future(self._doubt.wait())
            paused = asyncio.ensure_future(self._paused.wait())
            try:
                await asyncio.wait(
                    (closed, doubt, paused), timeout=self._watchdog_seconds, return_when=asyncio.FIRST_COMPLETED
                )
            finally:
                closed.cancel()
                doubt.cancel()
                paused.cancel()
            if session.closed.is_set():
                raise BrokerError("the consuming connection, channel or consumer was closed")
            if self._stopping:
                # We are no consumer any more, on purpose; the session is still needed for what is being finished.
                await session.closed.wait()
            if self._paused.is_set():
                await self._finish(session)
                return
            if self._doubt.is_set():
                raise BrokerError("a message could not be routed: a queue is missing")
            await self._look(session)

    async def _finish(self, session: ConsumerSession) -> None:
        """Take nothing more, give back what waits, and return once the workers have put down the rest.

        Whoever calls ends the session, so that whatever the broker still counts as ours goes to others.
        """
        self._registered = False
        await session.stop_consuming()
        while not session.closed.is_set():
            await self.hand_back()
            if not self._intake.in_flight and not len(self._intake):
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(FINISHING_SECONDS):
                    await session.closed.wait()

    async def _look(self, session: ConsumerSession) -> None:
        for queue in (self._topology.commands, self._topology.signups):
            counts = await session.counts(queue)
            if counts.consumers == 0:
                raise BrokerError(f"{queue} has no consumer, although we are one: it was made anew")
            silence = _now() - self._last_arrival[queue]
            silent = silence > SILENT_LOOKS * self._watchdog_seconds
            if counts.ready and silent and self._intake.held(queue) < self._prefetch:
                raise BrokerError(f"{queue} has {counts.ready} messages ready and none has come for {silence:.0f} s")

    async def stop(self) -> None:
        """Take nothing more, now or after a reconnect; what was delivered can still be settled."""
        self._stopping = True
        if self._session is not None:
            await self._session.stop_consuming()

    async def hand_back(self) -> int:
        """Return what no worker has started; say how many that were."""
        deliveries = self._intake.empty()
        if self._session is not None:
            await self._session.hand_back(deliveries)
        return len(deliveries)

    async def close(self) -> None:
        """Close the connection for good."""
        if self._session is not None:
            await self._session.close()


def _now() -> float:
    return asyncio.get_running_loop().time()
