"""Keeps one consuming connection alive, and watches that the broker still knows it.

A connection may look healthy while its consumer is gone: cancelled, the queue deleted and made again, the channel
dead. So the watchdog asks on the very channel that consumes.
"""

import asyncio

from consumer.backoff import Backoff
from consumer.broker import Broker, BrokerError, ConsumerSession, Delivery
from consumer.intake import Intake
from consumer.logs import log
from consumer.topology import Topology

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
        self._stopping = False

    @property
    def connected(self) -> bool:
        """Whether deliveries can arrive now."""
        return self._session is not None and not self._session.closed.is_set()

    def doubt(self) -> None:
        """Hear that a queue of ours is missing: connect anew, which makes what is missing."""
        self._doubt.set()

    async def run(self) -> None:
        """Connect, consume, watch, connect again."""
        while not self._stopping:
            try:
                await self.run_once()
            except Exception as error:
                # A client library may raise anything where a peer speaks nonsense. It costs this connection only.
                log.error("consumer failed", error=type(error).__name__)
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
            log.info("connected", connection="consumer", prefetch=self._prefetch)
            self._backoff.reset()
            await self._watch(session)
        except BrokerError as error:
            log.warning("consumer lost", error=str(error))
        finally:
            if session is not None:
                self._session = None
                await asyncio.shield(session.close())
                self._intake.forget(session)

    def _arrived(self, delivery: Delivery) -> None:
        self._last_arrival[delivery.queue] = _now()
        self._intake.put(delivery)

    async def _watch(self, session: ConsumerSession) -> None:
        """Return once the session is of no more use.

        Raises:
            BrokerError: saying what was noticed.
        """
        while True:
            closed = asyncio.ensure_future(session.closed.wait())
            doubt = asyncio.ensure_future(self._doubt.wait())
            try:
                await asyncio.wait((closed, doubt), timeout=self._watchdog_seconds, return_when=asyncio.FIRST_COMPLETED)
            finally:
                closed.cancel()
                doubt.cancel()
            if session.closed.is_set():
                raise BrokerError("the consuming connection, channel or consumer was closed")
            if self._stopping:
                # We are no consumer any more, on purpose; the session is still needed for what is being finished.
                await session.closed.wait()
            if self._doubt.is_set():
                raise BrokerError("a message could not be routed: a queue is missing")
            await self._look(session)

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
