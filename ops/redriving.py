"""Sends dead letters back to where they came from: same message id, same body, without what was added on the way.

Each is published and confirmed before it is taken away. A tool that dies in between leaves a second copy with the same
id, which the workers know how to ignore; it never loses one.
"""

import asyncio
from collections.abc import Callable, Collection
from typing import Any

from consumer.broker import Broker, BrokerDown, Delivery, Message
from consumer.dead_letters import OURS
from consumer.messages import WEBSITE_CREATED
from consumer.topology import Topology
from ops.looking import told
from ops.sending import publishing

MOST_AT_ONCE = 10_000
ARRIVAL_SECONDS = 10.0
ADDED_BY_BROKERS = ("x-death", "x-first-death-", "x-last-death-", "x-delivery-count", "x-acquired-count")


async def redrive(
    broker: Broker, namespace: str, message_ids: Collection[str], reason: str | None
) -> list[dict[str, Any]]:
    """Send the chosen dead letters back; return what each of them was.

    Args:
        broker: where they are.
        namespace: whose they are.
        message_ids: which; none means all, as far as `reason` lets them.
        reason: only those dead-lettered for this reason.

    Raises:
        BrokerError: those that were not confirmed stay where they are.
    """
    topology = Topology(namespace)

    def chosen(delivery: Delivery) -> bool:
        letter = told(delivery)
        wanted = not message_ids or str(letter["message_id"]) in message_ids
        return wanted and (reason is None or letter["reason"] == reason)

    return await _take(broker, topology, chosen)


async def _take(broker: Broker, topology: Topology, chosen: Callable[[Delivery], bool]) -> list[dict[str, Any]]:
    session = await broker.open_consumer()
    try:
        ready = min((await session.counts(topology.dead_letters)).ready, MOST_AT_ONCE)
        letters: list[Delivery] = []
        arrived = asyncio.Event()

        def arrive(delivery: Delivery) -> None:
            letters.append(delivery)
            if len(letters) >= ready:
                arrived.set()

        if ready == 0:
            return []
        await session.consume(topology.dead_letters, ready, arrive)
        try:
            async with asyncio.timeout(ARRIVAL_SECONDS):
                await arrived.wait()
        except TimeoutError:
            if not letters:
                raise BrokerDown(f"{topology.dead_letters} counts {ready} messages and delivers none") from None
        moved = []
        async with publishing(broker) as publisher:
            # Only what was there: a letter that comes straight back arrives here again, and would be sent for ever.
            for delivery in filter(chosen, tuple(letters)):
                await publisher.publish(_original(delivery, topology))
                await session.ack(delivery)
                moved.append(told(delivery))
        return moved
    finally:
        await session.close()  # what was not chosen goes back


def _original(delivery: Delivery, topology: Topology) -> Message:
    """Return the message as its sender meant it, addressed straight to its queue."""
    headers = {
        name: value
        for name, value in delivery.headers.items()
        if name not in OURS and not name.startswith(ADDED_BY_BROKERS)
    }
    return Message(
        message_id=delivery.message_id or "",
        type=delivery.type or "",
        body=delivery.body,
        exchange="",
        routing_key=topology.signups if delivery.type == WEBSITE_CREATED else topology.commands,
        mandatory=True,
        headers=headers,
        properties=delivery.properties,
    )
