"""Keeps one publishing connection alive, and publishes on it. It shares none with the consumer: a memory alarm stops
everything on a connection that publishes."""

import asyncio
import time
from collections.abc import Callable, Sequence

from consumer.broker.protocol import (
    Broker,
    BrokerDownError,
    BrokerError,
    Message,
    NackedError,
    PublisherSession,
    UnroutableError,
)
from consumer.telemetry import metrics
from consumer.telemetry.logs import log
from consumer.worker.gate import ClosedBy, Gate
from consumer.worker.reconnect_backoff import Backoff


class Publisher:
    """Publishes on whatever session is alive; closes the gate while there is none."""

    def __init__(self, broker: Broker, gate: Gate, backoff: Backoff, *, refusal_seconds: float = 10) -> None:
        """`refusal_seconds`: how long everything for one routing key may be refused before the session is replaced."""
        self._broker = broker
        self._gate = gate
        self._backoff = backoff
        self._refusal_seconds = refusal_seconds
        self._session: PublisherSession | None = None
        self._was_blocked = False
        self._refused: dict[tuple[str, str], float] = {}
        """Since when everything for an exchange and routing key has been refused."""
        self.on_unroutable: Callable[[], None] = lambda: None
        """Called when a queue of ours is missing."""
        gate.begin_closed(ClosedBy.PUBLISHING, "not connected yet")

    @property
    def blocked(self) -> bool:
        """Whether the broker takes nothing because it is short of memory or disk. A connection that it blocks does not
        live long, and the next is blocked as soon as it publishes: so this holds until something is confirmed."""
        return self._was_blocked or (self._session is not None and self._session.blocked)

    async def publish_all(self, messages: Sequence[Message]) -> list[BrokerError | None]:
        """Publish messages together and wait for the broker's confirms: for each None, or what became of it.

        BrokerDownError means that there is no connection, or no confirm, and whether the message is stored is unknown.
        """
        session = self._session
        if session is None or session.closed.is_set():
            metrics.count_not_sent(len(messages))
            return [BrokerDownError("not connected")] * len(messages)
        began = time.monotonic()
        answers = await session.publish_all(messages)
        metrics.count_published(answers, time.monotonic() - began)
        self._was_blocked = None not in answers and (self._was_blocked or session.blocked)
        if any(isinstance(answer, UnroutableError) for answer in answers):
            self.on_unroutable()
        await self._watch_refusals(session, messages, answers)
        return answers

    async def _watch_refusals(
        self, session: PublisherSession, messages: Sequence[Message], answers: Sequence[BrokerError | None]
    ) -> None:
        """End a session on which everything for one queue has been refused for too long: `run` opens another.

        A channel to which RabbitMQ 3.10 has once refused a message for a full quorum queue goes on being refused after
        the limit was lifted; a new one is not (measured: docs/decisions/0013).
        """
        now = asyncio.get_running_loop().time()
        for message, answer in zip(messages, answers, strict=True):
            target = (message.exchange, message.routing_key)
            if answer is None:
                self._refused.pop(target, None)
            elif (
                isinstance(answer, NackedError) and now - self._refused.setdefault(target, now) > self._refusal_seconds
            ):
                log.warning("publisher replaced", routing_key=message.routing_key, error=str(answer))
                self._refused.clear()
                await session.close()
                return

    async def publish(self, message: Message) -> None:
        """Publish one message, and raise what became of it if the broker does not have it."""
        (answer,) = await self.publish_all([message])
        if answer is not None:
            raise answer

    async def run(self) -> None:
        """Connect, stay connected, connect again."""
        while True:
            try:
                await self.run_once()
            except Exception as error:
                # A client library may raise anything where a peer speaks nonsense. It costs this connection only.
                log.error("publisher failed", error=type(error).__name__)
            await self._backoff.wait()

    async def run_once(self) -> None:
        """Connect, and return once the connection is lost."""
        try:
            self._session = await self._broker.open_publisher()
        except BrokerError as error:
            self._gate.close(ClosedBy.PUBLISHING, str(error))
            return
        metrics.CONNECTED.labels("publisher").inc()
        self._gate.lift(ClosedBy.PUBLISHING)
        log.info("connected", connection="publisher")
        try:
            await self._session.closed.wait()
            refusal = self._session.refusal
            self._gate.close(ClosedBy.PUBLISHING, refusal or "connection lost")
            if refusal is None:
                # Where the user may not publish, connecting succeeds each time: the backoff must go on growing.
                self._backoff.reset()
        finally:
            session, self._session = self._session, None
            await asyncio.shield(session.close())
