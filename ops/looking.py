"""Dead letters as people read them: chosen, listed, grouped, shown. Looks, and takes nothing.

Nothing in them can be trusted: whoever may publish may publish straight into their queue.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from consumer.broker import Broker, Delivery
from consumer.messages import MAX_BODY_BYTES, MAX_ID, WEBSITE_CREATED
from consumer.topology import Topology
from ops.fingerprint import fingerprint, group_id
from ops.holding import MOST_AT_ONCE, in_hand


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which dead letters are meant; what is empty asks for nothing.

    `reason`: their x-reason. `text`: part of their error, or of their body. `group`: as `grouped` names it. Ages are
    counted in seconds from when they failed; a letter of which nobody knows that has no age.
    """

    message_ids: frozenset[str] = frozenset()
    reason: str | None = None
    type: str | None = None
    website_id: int | None = None
    text: str | None = None
    older_seconds: float | None = None
    newer_seconds: float | None = None
    group: str | None = None

    def has(self, letter: Mapping[str, Any], body: bytes = b"") -> bool:
        """Say whether a letter, as `told` returns it, is meant; without its body, `text` is sought in its error."""
        age = _age(letter["failed_at"])
        return (
            (not self.message_ids or str(letter["message_id"]) in self.message_ids)
            and self.reason in (None, letter["reason"])
            and self.type in (None, letter["type"])
            and self.website_id in (None, letter["website_id"])
            and (self.older_seconds is None or (age is not None and age >= self.older_seconds))
            and (self.newer_seconds is None or (age is not None and age <= self.newer_seconds))
            and (self.text is None or self._reads(letter["error"], body))
            and self.group in (None, self.group and group_of(letter))
        )

    def _reads(self, error: str | None, body: bytes) -> bool:
        text = str(self.text).lower()
        return text in (error or "").lower() or text in body.decode(errors="replace").lower()


ALL = Wanted()


@dataclass(frozen=True, slots=True)
class Sight:
    """Dead letters that were looked at, the latest first, and how many lie beyond what one look takes in."""

    letters: list[Delivery]
    beyond: int


async def look(broker: Broker, namespace: str, wanted: Wanted = ALL, *, into_bodies: bool = True) -> Sight:
    """Return the dead letters that are meant, each still where it is.

    `into_bodies`: whether the text that is wanted may be in the body.

    Order in the queue is no promise (a quorum queue comes back shuffled after a reader dies), so they are sorted by the
    time at which they failed.

    Raises:
        InOtherHands: another tool has them; what is left would look like all there is.
    """
    async with in_hand(broker, Topology(namespace).dead_letters) as hand:
        letters, beyond = hand.letters, hand.beyond
    found = []
    for letter in letters:
        known = told(letter)
        if wanted.has(known, letter.body if into_bodies else b""):
            found.append((known["failed_at"] or "", letter))
    return Sight([letter for _, letter in sorted(found, key=lambda pair: pair[0], reverse=True)], beyond)


def mark(letters: Iterable[Delivery]) -> str:
    """Return what tells whether these letters are those that were seen before."""
    names = sorted(f"{letter.message_id}:{told(letter)['failed_at']}" for letter in letters)
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()[:16]


def group_of(letter: Mapping[str, Any]) -> str:
    """Return the short name of the group of a letter, as `told` returns it."""
    return group_id(f"{letter['reason']}: {letter['error']}")


def grouped(letters: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return letters in groups of one reason and one fingerprint of the error, the largest first."""
    groups: dict[tuple[str, str], dict[str, Any]] = {}
    for letter in letters:
        cause = fingerprint(str(letter["error"]))
        group = groups.setdefault(
            (letter["reason"], cause),
            {"group": group_of(letter), "reason": letter["reason"], "cause": cause, "letters": 0, "types": [],
             "first_at": None, "last_at": None, "example": letter["message_id"]},
        )  # fmt: skip
        group["letters"] += 1
        if letter["type"] not in group["types"]:
            group["types"].append(letter["type"])
        moments = [moment for moment in (group["first_at"], group["last_at"], letter["failed_at"]) if moment]
        group["first_at"], group["last_at"] = min(moments, default=None), max(moments, default=None)
    return sorted(groups.values(), key=lambda group: -group["letters"])


def whole(delivery: Delivery, namespace: str) -> dict[str, Any]:
    """Return a dead letter with all that is needed to send it again: its queue, headers, properties and body.

    The body is `body` where it is text, `body_base64` where it is not; so are the values of headers,
    `{"base64": "…"}` where they are bytes.
    """
    try:
        body = {"body": delivery.body.decode()}
    except UnicodeDecodeError:
        body = {"body_base64": base64.b64encode(delivery.body).decode()}
    return told(delivery) | {
        "queue": queue_of(delivery, Topology(namespace)),
        "headers": {name: _plain(value) for name, value in delivery.headers.items()},
        "properties": {name: _plain(value) for name, value in delivery.properties.items()},
        **body,
    }


def queue_of(delivery: Delivery, topology: Topology) -> str:
    """Return the queue to which a dead letter goes back."""
    return topology.signups if delivery.type == WEBSITE_CREATED else topology.commands


def _plain(value: Any) -> Any:
    """Return a header's value as JSON has it."""
    match value:
        case bytes() | bytearray():
            return {"base64": base64.b64encode(bytes(value)).decode()}
        case datetime():
            return value.isoformat()
        case list():
            return [_plain(item) for item in value]
        case dict():
            return {str(name): _plain(item) for name, item in value.items()}
        case str() | int() | float() | bool() | None:
            return value
        case _:
            return str(value)


async def dead_letters(broker: Broker, namespace: str, limit: int = MOST_AT_ONCE) -> list[dict[str, Any]]:
    """Return dead letters as `told`, the latest first, as far as they are in nobody's hands: for a passing glance."""
    found = [told(delivery) for delivery in await broker.peek(Topology(namespace).dead_letters, limit)]
    return sorted(found, key=lambda letter: letter["failed_at"] or "", reverse=True)


def told(delivery: Delivery) -> dict[str, Any]:
    """Return a dead letter as people read it, without its body: every value a text, a number or None."""
    headers = delivery.headers
    reason, error = _text(headers.get("x-reason")), _text(headers.get("x-error"))
    failed_at, source = headers.get("x-failed-at"), headers.get("x-source-queue")
    if reason is None:
        # Only what the broker itself threw out, at its delivery limit, has no reason of ours.
        reason = "delivery_limit"
        error = "delivered too many times without being settled: look for crashes of workers at its time"
        death = _death(headers.get("x-death"))
        failed_at, source = death.get("time"), death.get("queue")
    return {
        "message_id": delivery.message_id,
        "type": delivery.type,
        "website_id": _website_id(delivery.body),
        "reason": reason,
        "error": error,
        "source_queue": _text(source),
        "failed_at": _moment(failed_at),
        "bytes": len(delivery.body),
    }


def _death(value: Any) -> Mapping[str, Any]:
    """Return why the broker threw a letter out the last time."""
    first = value[0] if isinstance(value, list) and value else None
    return first if isinstance(first, dict) else {}


def _text(value: Any) -> str | None:
    if isinstance(value, bytes | bytearray):
        return bytes(value).decode(errors="replace")
    return None if value is None else str(value)


def _moment(value: Any) -> str | None:
    """Return a moment in UTC, so that moments can be sorted as texts; None for what is none."""
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(_text(value) or "")
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
    except (ValueError, OverflowError):
        return None


def _age(failed_at: str | None) -> float | None:
    return None if failed_at is None else (datetime.now(UTC) - datetime.fromisoformat(failed_at)).total_seconds()


def _website_id(body: bytes) -> int | None:
    """Return the website that a body is about; None where it names none that could be there."""
    try:
        value = json.loads(body) if len(body) <= MAX_BODY_BYTES else None
    except (ValueError, RecursionError):
        return None
    website_id = value.get("website_id") if isinstance(value, dict) else None
    known = isinstance(website_id, int) and not isinstance(website_id, bool) and 1 <= website_id <= MAX_ID
    return website_id if known else None
