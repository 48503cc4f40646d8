"""Values that tests are about, with everything that a test does not care for filled in."""

import asyncio
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from consumer.broker import ConsumerSession, Delivery, QueueCounts
from consumer.outbox import Row
from consumer.topology import Topology
from statemachine import State, Trigger

TOPOLOGY = Topology("provisioning")
MESSAGE_ID = UUID("0f8fad5b-d9cb-469f-a165-70867728950e")


class FakeSession(ConsumerSession):
    """A session that remembers what was settled on it."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()
        self.acked: list[Delivery] = []
        self.handed_back: list[Delivery] = []

    async def consume(self, queue: str, prefetch: int, on_delivery: Callable[[Delivery], None]) -> None:
        """Nothing ever arrives."""

    async def stop_consuming(self) -> None:
        """Nothing to stop."""

    async def ack_all(self, deliveries: Sequence[Delivery]) -> None:
        """Remember them."""
        self.acked.extend(deliveries)

    async def hand_back(self, deliveries: Sequence[Delivery]) -> None:
        """Remember them."""
        self.handed_back.extend(deliveries)

    async def counts(self, queue: str) -> QueueCounts:
        """An empty queue that is consumed."""
        return QueueCounts(ready=0, consumers=1)

    async def close(self) -> None:
        """Be of no more use."""
        self.closed.set()


def make_delivery(body: Any = None, **overrides: Any) -> Delivery:
    """Return a delivery as RabbitMQ would hand it over.

    A body that is no bytes is sent as JSON; routing key and queue follow from the type, unless they are given.
    """
    kind = overrides.get("type", "provisioning.complete_agency")
    said = {"website_id": 42} if body is None else body
    fields: dict[str, Any] = {
        "body": said if isinstance(said, bytes) else json.dumps(said).encode(),
        "message_id": str(MESSAGE_ID),
        "type": kind,
        "exchange": TOPOLOGY.commands_exchange,
        "routing_key": kind or "",
        "queue": TOPOLOGY.signups if kind == "website.created" else TOPOLOGY.commands,
        "redelivered": False,
        "headers": {},
        "properties": {"content_type": "application/json", "delivery_mode": 2},
        "tag": 1,
        "session": None,
    }
    fields |= overrides
    fields["session"] = fields["session"] or FakeSession()
    return Delivery(**fields)


def make_row(**overrides: Any) -> Row:
    """Return a row of the transition log: a website that has just got its owner, and is owed its agency."""
    fields: dict[str, Any] = {
        "website_id": 42,
        "seq": 1,
        "trigger": Trigger.ASSIGN_OWNER,
        "from_state": State.PENDING,
        "to_state": State.OWNER_ASSIGNED,
        "message_id": MESSAGE_ID,
        "actor": None,
        "reason": None,
        "detail": {
            "subdomain": "sunny-meadow-42",
            "progress": 15,
            "message": "Owner account created",
            "error": None,
            "missing": ["agency"],
            "next": "complete_agency",
            "traceparent": None,
        },
        "occurred_at": datetime(2026, 7, 1, 12, 30, tzinfo=UTC),
    }
    return Row(**(fields | overrides))
