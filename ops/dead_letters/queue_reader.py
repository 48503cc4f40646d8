"""Dead letters as the queue has them: filtered, summarized, complete. Takes none out of the queue.

Nothing in them can be trusted: whoever may publish may publish straight into their queue.
"""

import base64
import hashlib
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from consumer.broker.protocol import Broker, Delivery
from consumer.broker.topology import Topology
from consumer.domain.outcomes import Reason
from consumer.messages.foreign_text import printable
from consumer.messages.inbound import PoisonError, parse_body
from consumer.messages.inbound_contracts import MAX_ID, WEBSITE_CREATED
from consumer.messages.outbound_dead_letters import OWN_HEADERS
from ops.dead_letters.broker_deaths import broker_death
from ops.dead_letters.groups import group_of_dead_letter
from ops.dead_letters.queue_lease import MAX_LEASED, PagedLease, leased_pages
from ops.text.email_masking import masked
from ops.text.printable import escaped


@dataclass(frozen=True, slots=True)
class DeadLetterFilter:
    """Which dead letters are selected; an empty field selects all.

    `reason`: their x-reason, or the broker's. `text`: part of their error, or of their body. `group`: as
    `group_dead_letters` names it. Ages are counted in seconds from when they failed; a dead letter without that
    time has no age.
    """

    message_ids: frozenset[str] = frozenset()
    reason: str | None = None
    type: str | None = None
    website_id: int | None = None
    text: str | None = None
    older_seconds: float | None = None
    newer_seconds: float | None = None
    group: str | None = None

    def matches(self, summary: Mapping[str, Any], body: bytes = b"") -> bool:
        """Say whether a dead letter is selected, by its summary as the asker sees it; without its body, `text` is
        sought in its error."""
        aged = self.older_seconds is not None or self.newer_seconds is not None
        age = _age(summary["failed_at"]) if aged else None
        return (
            (not self.message_ids or not self.message_ids.isdisjoint(spellings(summary["message_id"])))
            and (self.reason is None or self.reason in spellings(summary["reason"]))
            and (self.type is None or self.type in spellings(summary["type"]))
            and self.website_id in (None, summary["website_id"])
            and (self.older_seconds is None or (age is not None and age >= self.older_seconds))
            and (self.newer_seconds is None or (age is not None and age <= self.newer_seconds))
            and (self.text is None or self._has_text(summary["error"], body))
            and self.group in (None, self.group and group_of_dead_letter(summary))
        )

    def _has_text(self, error: str | None, body: bytes) -> bool:
        text = str(self.text).lower()
        return text in (error or "").lower() or text in body.decode(errors="replace").lower()


ALL = DeadLetterFilter()


@dataclass(frozen=True, slots=True)
class DeadLetterList:
    """Selected dead letters, the latest first, and how many more the queue has than one lease takes."""

    deliveries: list[Delivery]
    beyond_limit: int


async def find_dead_letters(
    broker: Broker, namespace: str, selection: DeadLetterFilter = ALL, *, whole: bool = True
) -> DeadLetterList:
    """Return the selected dead letters whole, and hold no others in memory; each stays in the queue.

    `whole`: whether the text of the filter is sought in bodies and addresses too.

    Order in the queue is no promise (a quorum queue comes back shuffled after a reader dies), so they are sorted by the
    time at which they failed.

    Raises:
        LeaseHeldError: another tool has them; what is left would look like all there is.
    """
    found: list[tuple[str, Delivery]] = []
    async with leased_pages(broker, Topology(namespace).dead_letters) as lease:
        async for page in selected_pages(lease, selection, whole=whole):
            found += [(summary["failed_at"] or "", delivery) for delivery, summary in page]
        beyond_limit = lease.beyond_limit
    latest_first = sorted(found, key=lambda pair: pair[0], reverse=True)
    return DeadLetterList([delivery for _, delivery in latest_first], beyond_limit)


async def selected_pages(
    lease: PagedLease, selection: DeadLetterFilter, *, whole: bool = True
) -> AsyncIterator[list[tuple[Delivery, dict[str, Any]]]]:
    """Yield of each page of a lease the selected dead letters, with their summaries."""
    async for page in lease.pages():
        summaries = ((delivery, summarize(delivery)) for delivery in page)
        yield [
            (delivery, summary)
            for delivery, summary in summaries
            if selection.matches(summary if whole else masked(summary), delivery.body if whole else b"")
        ]


def selection_digest(deliveries: Iterable[Delivery]) -> str:
    """Return a digest of which dead letters these are: it differs as soon as one has come or gone."""
    return digest_of_names(dead_letter_name(summarize(delivery)) for delivery in deliveries)


def dead_letter_name(summary: Mapping[str, Any]) -> str:
    """Return by what `digest_of_names` tells a dead letter from others."""
    return f"{summary['message_id']}:{summary['failed_at']}"


def digest_of_names(names: Iterable[str]) -> str:
    """Return a digest of dead letters by their names, in any order."""
    return hashlib.sha256(json.dumps(sorted(names)).encode()).hexdigest()[:16]


def full_record(delivery: Delivery, namespace: str) -> dict[str, Any]:
    """Return a dead letter with all that is needed to send it again: its queue, headers, properties and body.

    The body is `body` where it is text, `body_base64` where it is not; so are the values of headers,
    `{"base64": "…"}` where they are bytes.
    """
    try:
        body = {"body": delivery.body.decode()}
    except UnicodeDecodeError:
        body = {"body_base64": base64.b64encode(delivery.body).decode()}
    return summarize(delivery) | {
        "queue": target_queue(delivery, Topology(namespace)),
        "headers": {name: _json_value(value) for name, value in delivery.headers.items()},
        "properties": {name: _json_value(value) for name, value in delivery.properties.items()},
        **body,
    }


def target_queue(delivery: Delivery, topology: Topology) -> str:
    """Return the queue to which a dead letter goes back."""
    return topology.signups if delivery.type == WEBSITE_CREATED else topology.commands


def _json_value(value: Any) -> Any:
    """Return a header's value as JSON has it."""
    match value:
        case bytes() | bytearray():
            return {"base64": base64.b64encode(bytes(value)).decode()}
        case datetime():
            return value.isoformat()
        case list():
            return [_json_value(item) for item in value]
        case dict():
            return {str(name): _json_value(item) for name, item in value.items()}
        case str() | int() | float() | bool() | None:
            return value
        case _:
            return str(value)


async def peek_dead_letters(broker: Broker, namespace: str, limit: int = MAX_LEASED) -> list[dict[str, Any]]:
    """Return summaries of the dead letters that no tool has leased, the latest first: without waiting for a lease."""
    found = [summarize(delivery) for delivery in await broker.peek(Topology(namespace).dead_letters, limit)]
    return sorted(found, key=lambda summary: summary["failed_at"] or "", reverse=True)


def summarize(delivery: Delivery) -> dict[str, Any]:
    """Return a dead letter as people read it, without its body: every value a text, a number or None."""
    # Only workers publish here over the default exchange. What the broker dead-lettered has a sender's own headers.
    headers = delivery.headers if not delivery.exchange else without_own(delivery.headers)
    reason, error = _text(headers.get("x-reason")), _text(headers.get("x-error"))
    failed_at, source = headers.get("x-failed-at"), headers.get("x-source-queue")
    if delivery.refused_headers:
        reason = Reason.POISON.value
        error = f"{delivery.refused_headers}, and its reason with them; a redrive sends it without headers"
    elif reason is None:
        death = broker_death(headers)
        reason, error, failed_at, source = death.reason, death.error, death.time, death.queue
    return {
        "message_id": delivery.message_id,
        "type": delivery.type,
        "website_id": _website_id(delivery.body),
        "reason": reason,
        "error": error,
        "source_queue": _text(source),
        "failed_at": _utc_time(failed_at),
        "bytes": len(delivery.body),
    }


def without_own(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Return headers without those that only workers write."""
    return {name: value for name, value in headers.items() if name not in OWN_HEADERS}


def spellings(value: Any) -> tuple[str, ...]:
    """Return a sender's text as it is, and as it is shown to people, who copy it from there."""
    text = str(value)
    return (text, printable(text), escaped(text))


def _text(value: Any) -> str | None:
    if isinstance(value, bytes | bytearray):
        return bytes(value).decode(errors="replace")
    return None if value is None else str(value)


def _utc_time(value: Any) -> str | None:
    """Return a time in UTC, so that times can be sorted as texts; None for what is none."""
    try:
        time = value if isinstance(value, datetime) else datetime.fromisoformat(_text(value) or "")
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
    except (ValueError, OverflowError):
        return None


def _age(failed_at: str | None) -> float | None:
    return None if failed_at is None else (datetime.now(UTC) - datetime.fromisoformat(failed_at)).total_seconds()


def _website_id(body: bytes) -> int | None:
    """Return the website that a body is about; None where it names none that could be there."""
    try:
        value = parse_body(body)
    except PoisonError:
        return None
    website_id = value.get("website_id") if isinstance(value, dict) else None
    valid = isinstance(website_id, int) and not isinstance(website_id, bool) and 1 <= website_id <= MAX_ID
    return website_id if valid else None
