"""Publishes signups and commands of operators, confirmed by the broker. Tools move no website themselves."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

from consumer.broker.protocol import Broker, Message, PublisherSession
from consumer.broker.topology import Topology
from consumer.messages.inbound_contracts import COMMAND_PREFIX, WEBSITE_CREATED
from consumer.messages.outbound import encode_body, first_traceparent
from statemachine import Trigger

BATCH_SIZE = 200
"""Replayed events, or dead letters, that are published together, and settled once all are confirmed."""
MAX_IN_FLIGHT = 64
"""Publishes that wait for their confirm at the same time."""


@asynccontextmanager
async def publishing(broker: Broker) -> AsyncIterator[PublisherSession]:
    """Yield a publishing connection, closed at the end. Raises BrokerDownError."""
    session = await broker.open_publisher()
    try:
        yield session
    finally:
        await session.close()


async def publish_all(session: PublisherSession, messages: Sequence[Message]) -> None:
    """Publish messages, several at a time, and return when all are confirmed. Raises BrokerError."""
    in_flight = asyncio.Semaphore(MAX_IN_FLIGHT)

    async def publish(message: Message) -> None:
        async with in_flight:
            await session.publish(message)

    await asyncio.gather(*map(publish, messages))


def website_created(topology: Topology, body: dict[str, Any], message_id: UUID | None = None) -> Message:
    """Return the message of a signup; fields that are None are left out. Without `message_id` it has a random one."""
    given = {key: value for key, value in body.items() if value is not None}
    return _message(topology, WEBSITE_CREATED, given, message_id or uuid4())


def operator_command(
    topology: Topology, trigger: Trigger, website_id: int, expected_seq: int, *, actor: str, reason: str | None
) -> Message:
    """Return a command of an operator. With the seq that its sender saw, it applies to that state or to none."""
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
        uuid4(),
    )


def _message(topology: Topology, name: str, body: dict[str, Any], message_id: UUID) -> Message:
    return Message(
        message_id=str(message_id),
        type=name,
        body=encode_body(body),
        exchange=topology.commands_exchange,
        routing_key=name,
        mandatory=False,
        headers={"traceparent": first_traceparent(message_id)},
        carries_user_id=True,
    )
