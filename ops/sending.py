"""How people move websites: by publishing commands, confirmed by the broker. The workers do the rest."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

from consumer.broker import Broker, Message, PublisherSession
from consumer.messages import COMMAND_PREFIX, WEBSITE_CREATED
from consumer.outbox import encode
from consumer.topology import Topology
from statemachine import Trigger

IN_FLIGHT = 64
"""Publishes that wait for their confirm at once."""


@asynccontextmanager
async def publishing(broker: Broker) -> AsyncIterator[PublisherSession]:
    """Lend a publishing connection. Raises BrokerDown where there is none to be had."""
    session = await broker.open_publisher()
    try:
        yield session
    finally:
        await session.close()


async def publish_all(session: PublisherSession, messages: Sequence[Message]) -> None:
    """Publish messages, several at a time, and return when all are confirmed. Raises BrokerError."""
    turns = asyncio.Semaphore(IN_FLIGHT)

    async def publish(message: Message) -> None:
        async with turns:
            await session.publish(message)

    await asyncio.gather(*map(publish, messages))


def website_created(topology: Topology, body: dict[str, Any]) -> Message:
    """Return a signup as its message; what is None is left out."""
    return _message(topology, WEBSITE_CREATED, {key: value for key, value in body.items() if value is not None})


def command(
    topology: Topology, trigger: Trigger, website_id: int, expected_seq: int, *, actor: str, reason: str | None
) -> Message:
    """Return a command of ops. It carries the seq that its sender saw: it hits that state of affairs or none."""
    return _message(
        topology,
        COMMAND_PREFIX + trigger,
        {
            "website_id": website_id,
            "expected_seq": expected_seq,
            "attempt": 0,
            "actor": actor,
            "reason": reason,
        },
    )


def _message(topology: Topology, name: str, body: dict[str, Any]) -> Message:
    message_id: UUID = uuid4()
    return Message(
        message_id=str(message_id),
        type=name,
        body=encode(body),
        exchange=topology.commands_exchange,
        routing_key=name,
        mandatory=False,
        headers={"traceparent": f"00-{message_id.hex}-{message_id.hex[16:]}-01"},
    )
