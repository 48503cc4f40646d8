"""How a delivery becomes a dead letter: a copy with the reason in its headers. Never `reject`: it carries none."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from consumer.broker import Delivery, Message
from consumer.outcomes import Rejected
from consumer.topology import Topology

OURS = ("x-reason", "x-error", "x-source-queue", "x-failed-at", "x-exchange", "x-routing-key")
MAX_FOREIGN_HEADERS = 64
MAX_FOREIGN_BYTES = 16 * 1024
"""A header frame must fit into one frame of 128 KiB, ours included; a header bomb must not close our connection."""


def dead_letter(delivery: Delivery, rejected: Rejected, topology: Topology, *, bare: bool = False) -> Message:
    """Return the copy of a delivery that goes to the dead letters; body and properties stay as they were.

    `bare`: without the sender's headers and properties, for one that can not be written with them.
    """
    return Message(
        message_id=delivery.message_id or "",
        type=delivery.type or "",
        body=delivery.body,
        exchange="",
        routing_key=topology.dead_letters,
        mandatory=True,
        headers={
            **({} if bare else _foreign(delivery.headers)),
            "x-reason": rejected.reason.value,
            "x-error": rejected.error,
            "x-source-queue": delivery.queue,
            "x-failed-at": datetime.now(UTC).isoformat(),
            "x-exchange": delivery.exchange,
            "x-routing-key": delivery.routing_key,
        },
        properties={} if bare else delivery.properties,
    )


def _foreign(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sender's headers that a copy can carry: plain values, bounded in number and size."""
    kept: dict[str, Any] = {}
    size = 0
    for name, value in list(headers.items())[:MAX_FOREIGN_HEADERS]:
        plain = isinstance(value, str | bool | float | bytes) or (isinstance(value, int) and -(2**63) <= value < 2**63)
        if not plain or name in OURS:
            continue
        size += len(name) + len(str(value))
        if size > MAX_FOREIGN_BYTES:
            break
        kept[name] = value
    return kept
