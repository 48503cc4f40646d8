"""Why the broker itself dead-lettered a message, by its header `x-death`: which reason, and what to do.

What a worker dead-letters says why in `x-reason`. Without that header it was the broker, or nobody who is known.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from consumer.messages.inbound import MAX_BODY_BYTES

UNKNOWN = "unknown"
"""The reason of a dead letter that neither a worker nor the broker gives one."""
MAX_TEXT_CHARACTERS = 200
"""Of a reason or the name of a queue, which anybody may have written."""
MAX_EARLIER = 5
"""Earlier deaths that are named."""
SENTENCES = {
    "delivery_limit": "delivered too many times without being settled: look for crashes of workers at its time; once "
    "their cause is fixed, redrive it",
    "expired": "it waited in its queue for longer than its time to live: did workers run? This service sets none, so "
    "look for a policy with message-ttl (`rabbitmqctl list_policies`) or a publisher that sets `expiration`; then "
    "redrive it",
    "rejected": "a consumer refused it without putting it back. Workers do so where its body has more than "
    f"{MAX_BODY_BYTES} bytes: then discard it, no message of this service is so long. Else find who consumes from its "
    "queue beside the workers, stop that, then redrive it",
    "maxlen": "its queue was full: this service sets no limit, so look for a policy with max-length "
    "(`rabbitmqctl list_policies`); once workers have caught up or the limit is raised, redrive it",
}
"""By the reason of RabbitMQ, what it means and what to do."""
OTHERWISE = "RabbitMQ gives a reason that this version does not know: look it up in its documentation of dead letters"
NO_REASON = (
    "it has neither `x-reason` nor `x-death`: somebody published it straight into this queue; redrive it if it belongs "
    "to this service, else discard it"
)


@dataclass(frozen=True, slots=True)
class BrokerDeath:
    """Why, where and when the broker dead-lettered a message; `error` says what it means and what to do."""

    reason: str
    error: str
    queue: str | None = None
    time: datetime | None = None


def broker_death(headers: Mapping[str, Any]) -> BrokerDeath:
    """Return the latest death of a message, by its headers; what they hold may be forged, and is never trusted."""
    value = headers.get("x-death")
    deaths = [_death(each) for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []
    if not deaths:
        return BrokerDeath(UNKNOWN, NO_REASON)
    last = _latest(deaths, headers)
    earlier = [death for death in deaths if death is not last]
    error = NO_REASON if last.reason == UNKNOWN else SENTENCES.get(last.reason, OTHERWISE)
    if earlier:
        named = ", ".join(
            f"{death.reason} in {death.queue or 'a queue'}{death.error}" for death in earlier[:MAX_EARLIER]
        )
        more = f" and {len(earlier) - MAX_EARLIER} more" if len(earlier) > MAX_EARLIER else ""
        error = f"{error} (before that: {named}{more})"
    return BrokerDeath(last.reason, error, last.queue, last.time)


def _death(entry: Mapping[str, Any]) -> BrokerDeath:
    """Return an entry of x-death; `error` is how often it happened, where that was more than once."""
    count, time = entry.get("count"), entry.get("time")
    often = f" ({count} times)" if isinstance(count, int) and count > 1 else ""
    return BrokerDeath(
        _text(entry.get("reason")) or UNKNOWN,
        often,
        _text(entry.get("queue")),
        time if isinstance(time, datetime) else None,
    )


def _latest(deaths: list[BrokerDeath], headers: Mapping[str, Any]) -> BrokerDeath:
    """Return the death that led here: RabbitMQ 3.13 and newer names it, and older ones put it first."""
    reason, queue = _text(headers.get("x-last-death-reason")), _text(headers.get("x-last-death-queue"))
    return next((death for death in deaths if (death.reason, death.queue) == (reason, queue)), deaths[0])


def _text(value: Any) -> str | None:
    if isinstance(value, bytes | bytearray):
        value = bytes(value).decode(errors="replace")
    return value[:MAX_TEXT_CHARACTERS] if isinstance(value, str) and value else None
