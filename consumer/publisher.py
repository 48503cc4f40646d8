"""Keeps one publishing connection alive. A memory alarm stops everything on a connection that publishes, so that it
shares none with the consumer."""

import asyncio
from collections.abc import Callable, Sequence

from consumer.backoff import Backoff
from consumer.broker import Broker, BrokerDown, BrokerError, Message, PublisherSession, Unroutable
from consumer.gate import Gate
from consumer.logs import log

AWAY = "publishing"


class Publisher:
    """Publishes on whatever session is alive; closes the gate while there is none."""

    def __init__(self, broker: Broker, gate: Gate, backoff: Backoff) -> None:
        self._broker = broker
        self._gate = gate
        self._backoff = backoff
        self._session: PublisherSession | None = None
        self.on_unroutable: Callable[[], None] = lambda: None
        """Called when a queue of ours turned out to be missing."""
        gate.close(AWAY, "not connected yet")

    async def publish_all(self, messages: Sequence[Message]) -> list[BrokerError | None]:
        """Publish messages together and wait for the broker's answers: for each None, or what became of it.

        BrokerDown stands for: there is no connection, or no answer, and whether the message is stored is unknown.
        """
        if self._session is None or self._session.closed.is_set():
            return [BrokerDown("not connected")] * len(messages)
        answers = await self._session.publish_all(messages)
        if any(isinstance(answer, Unroutable) for answer in answers):
            self.on_unroutable()
        return answers

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
        """Live through one connection."""
        try:
            self._session = await self._broker.open_publisher()
        except BrokerError as error:
            self._gate.close(AWAY, str(error))
            return
        self._backoff.reset()
        self._gate.lift(AWAY)
        log.info("connected", connection="publisher")
        try:
            await self._session.closed.wait()
            self._gate.close(AWAY, "connection lost")
        finally:
            session, self._session = self._session, None
            await asyncio.shield(session.close())
