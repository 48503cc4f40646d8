"""Dead letters: copies of deliveries, with the reason in their headers.

A delivery is rejected instead, so that the broker dead-letters it without a reason of ours, only where its body was too
long to be kept.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from consumer.broker.protocol import Delivery, Message
from consumer.broker.topology import Topology
from consumer.domain.outcomes import Rejected
from consumer.messages.authors import SENT_WITH_KEY_HEADER, USER_ID_HEADER, original_user

OWN_HEADERS = ("x-reason", "x-error", "x-source-queue", "x-failed-at", "x-exchange", "x-routing-key", USER_ID_HEADER)
"""What a sender has written into these is dropped."""
MAX_SENDER_HEADERS = 64
MAX_SENDER_HEADER_BYTES = 6 * 1024
"""With ours, and with what the broker adds when a dead letter is read several times, they must fit into what is read of
headers at all (16 KiB): else the reason of a dead letter could not be read either."""
MAX_ERROR_CHARACTERS = 1_000
HEADER_OVERHEAD_BYTES = 6
"""Of the lengths of name and value, and of the value's kind."""


def dead_letter(delivery: Delivery, rejected: Rejected, topology: Topology, *, bare: bool = False) -> Message:
    """Return the copy of a delivery that goes to the dead letters; body and properties stay as they were.

    `bare`: without the sender's headers and properties, for one that can not be written with them.
    """
    user = original_user(delivery)
    # Over the default exchange a redrive wrote it; it is kept whatever else the sender put into the headers.
    key = None if delivery.exchange else delivery.headers.get(SENT_WITH_KEY_HEADER)
    return Message(
        message_id=delivery.message_id or "",
        type=delivery.type or "",
        body=delivery.body,
        exchange="",
        routing_key=topology.dead_letters,
        mandatory=True,
        headers={
            **({} if bare else _sender_headers(delivery.headers)),
            "x-reason": rejected.reason.value,
            "x-error": rejected.error[:MAX_ERROR_CHARACTERS],
            "x-source-queue": delivery.queue,
            "x-failed-at": datetime.now(UTC).isoformat(),
            "x-exchange": delivery.exchange,
            "x-routing-key": delivery.routing_key,
            **({USER_ID_HEADER: user} if user else {}),
            **({SENT_WITH_KEY_HEADER: str(key)} if key is not None else {}),
        },
        properties={} if bare else delivery.properties,
    )


def _sender_headers(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sender's headers that a copy can carry: plain values, bounded in number and size."""
    kept: dict[str, Any] = {}
    size = 0
    for name, value in list(headers.items())[:MAX_SENDER_HEADERS]:
        plain = isinstance(value, str | bool | float | bytes) or (isinstance(value, int) and -(2**63) <= value < 2**63)
        if not plain or name in (*OWN_HEADERS, SENT_WITH_KEY_HEADER):
            continue
        size += len(name.encode(errors="replace")) + HEADER_OVERHEAD_BYTES + _size(value)
        if size > MAX_SENDER_HEADER_BYTES:
            break
        kept[name] = value
    return kept


def _size(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode(errors="replace"))
    return len(value) if isinstance(value, bytes) else 8
