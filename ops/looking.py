"""Dead letters as people read them. Looks, and takes nothing."""

import json
from typing import Any

from consumer.broker import Broker, Delivery
from consumer.topology import Topology

MOST_AT_ONCE = 10_000
"""Dead letters that one look takes in; whoever has more has to redrive or discard some first."""


async def dead_letters(broker: Broker, namespace: str, limit: int = MOST_AT_ONCE) -> list[dict[str, Any]]:
    """Return dead letters, the latest first, out of the first `limit` of their queue.

    Order in the queue is no promise (a quorum queue comes back shuffled after a reader dies), so they are sorted by the
    time at which they failed.
    """
    found = [told(delivery) for delivery in await broker.peek(Topology(namespace).dead_letters, limit)]
    return sorted(found, key=lambda letter: str(letter["failed_at"]), reverse=True)


def told(delivery: Delivery) -> dict[str, Any]:
    """Return a dead letter as people read it, without its body."""
    headers = delivery.headers
    reason = headers.get("x-reason")
    error = headers.get("x-error")
    if reason is None:
        # Only what the broker itself threw out, at its delivery limit, has no reason of ours.
        reason = "delivery_limit"
        error = "delivered too many times without being settled: look for crashes of workers at its time"
    return {
        "message_id": delivery.message_id,
        "type": delivery.type,
        "website_id": _website_id(delivery.body),
        "reason": str(reason),
        "error": None if error is None else str(error),
        "source_queue": headers.get("x-source-queue"),
        "failed_at": headers.get("x-failed-at"),
        "bytes": len(delivery.body),
    }


def _website_id(body: bytes) -> int | None:
    try:
        value = json.loads(body[:65536])
    except (ValueError, RecursionError):
        return None
    website_id = value.get("website_id") if isinstance(value, dict) else None
    return website_id if isinstance(website_id, int) and not isinstance(website_id, bool) else None
