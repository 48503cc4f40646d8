"""A signup system of somebody else's: talks plain aio-pika to the documented exchange, and shares no code with us."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aio_pika


class ForeignClient:
    """Publishes what the README says a signup publishes, and listens to events as the README says one may."""

    def __init__(self, connection: aio_pika.abc.AbstractConnection, namespace: str) -> None:
        self._connection = connection
        self.namespace = namespace
        self.events: list[dict[str, Any]] = []
        self._changed = asyncio.Event()

    async def start(self) -> None:
        """Open channels and bind a queue of our own to the events."""
        self.channel = await self._connection.channel(publisher_confirms=True)
        listening = await self._connection.channel()
        await listening.set_qos(prefetch_count=500)
        queue = await listening.declare_queue(exclusive=True, auto_delete=True)
        await queue.bind(f"{self.namespace}.events", routing_key="website.*")
        await queue.consume(self._on_event)

    async def _on_event(self, message: aio_pika.abc.AbstractIncomingMessage) -> None:
        self.events.append({"message_id": message.message_id, "type": message.type, "body": json.loads(message.body)})
        await message.ack()
        self._changed.set()

    async def until_events(self, count: int, seconds: float) -> None:
        """Wait until that many different events have come."""
        async with asyncio.timeout(seconds):
            while len({event["message_id"] for event in self.events}) < count:
                self._changed.clear()
                await self._changed.wait()

    async def publish(
        self, name: str, body: Any, *, message_id: str | None = None, routing_key: str | None = None, **properties: Any
    ) -> str:
        """Publish one message, confirmed; return its id."""
        message_id = message_id if message_id is not None else str(uuid.uuid4())
        exchange = await self.channel.get_exchange(self.namespace, ensure=False)
        await exchange.publish(
            aio_pika.Message(
                body if isinstance(body, bytes) else json.dumps(body).encode(),
                message_id=message_id,
                type=name,
                content_type="application/json",
                delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
                **properties,
            ),
            routing_key=name if routing_key is None else routing_key,
        )
        return message_id

    async def publish_many(self, messages: Sequence[tuple[str, Any, str | None]]) -> list[str]:
        """Publish (type, body, message id) triples, confirmed, in chunks."""
        ids: list[str] = []
        for start in range(0, len(messages), 100):
            chunk = messages[start : start + 100]
            # One at a time per id: client libraries match returns by message id.
            ids += await asyncio.gather(*(self.publish(name, body, message_id=mid) for name, body, mid in chunk))
        return ids

    async def count(self, queue: str) -> int:
        """Return how many messages of a queue nobody has in hand."""
        async with self._connection.channel() as channel:
            declared = await channel.declare_queue(queue, passive=True)
            return declared.declaration_result.message_count or 0

    async def drain(self, queue: str) -> list[dict[str, Any]]:
        """Take everything out of a queue, for counting: broker counters lie just after a restart."""
        found = []
        async with self._connection.channel() as channel:
            declared = await channel.declare_queue(queue, passive=True)
            while (message := await declared.get(fail=False, timeout=60)) is not None:
                found.append(
                    {
                        "message_id": message.message_id,
                        "type": message.type,
                        "headers": dict(message.headers),
                        "body": message.body,
                    }
                )
                await message.ack()
        return found


@asynccontextmanager
async def foreign_client(amqp_url: str, namespace: str) -> AsyncIterator[ForeignClient]:
    """Connect a signup system to a namespace that `init` has made."""
    connection = await aio_pika.connect(amqp_url, timeout=60)
    client = ForeignClient(connection, namespace)
    try:
        await client.start()
        yield client
    finally:
        await connection.close()


def signup(website_id: int, **changes: Any) -> dict[str, Any]:
    """Return the body of an honest website.created."""
    body = {
        "website_id": website_id,
        "subdomain": f"sunny-meadow-{website_id}",
        "site_type": ("residential", "commercial", "vacation_rental")[website_id % 3],
        "owner": {"email": f"owner-{website_id}@example.com", "name": "Ana Maria Silva"},
    }
    return {key: value for key, value in (body | changes).items() if value is not ...}
