"""What a transition publishes: a pure function of its row in the log, message ids included.

There is no outbox table. Whoever finds a row, a worker after COMMIT, a worker that sees a redelivery, or the
dispatcher, publishes the same messages with the same ids.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from consumer.broker import Message
from consumer.messages import COMMAND_PREFIX
from consumer.topology import Topology
from statemachine import State, Trigger

UNBORN = UUID("5f8c9d8e-3f0b-5b8e-9a55-0d3a2c6f7b10")
"""Names the first command of a website that has no row in the log yet."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of `provisioning_transitions`. `detail` holds all that its event says."""

    website_id: int
    seq: int
    trigger: Trigger
    from_state: State
    to_state: State
    message_id: UUID
    actor: str | None
    reason: str | None
    detail: Mapping[str, Any]
    occurred_at: datetime

    @property
    def next_trigger(self) -> Trigger | None:
        """The command that this transition owes its website; None where it rests."""
        owed = self.detail.get("next")
        return Trigger(owed) if owed else None


def event(row: Row, topology: Topology) -> Message:
    """Return the event of a transition: `website.<state>`, for whoever listens."""
    detail = row.detail
    body = {
        "website_id": row.website_id,
        "subdomain": detail.get("subdomain"),
        "seq": row.seq,
        "trigger": row.trigger,
        "from_state": row.from_state,
        "to_state": row.to_state,
        "progress": detail.get("progress"),
        "message": detail.get("message"),
        "error": detail.get("error"),
        "missing": detail.get("missing", []),
        "actor": row.actor,
        "occurred_at": row.occurred_at.isoformat(),
    }
    if row.to_state == State.LIVE:
        body["url"] = detail.get("url")
    name = f"website.{row.to_state}"
    return Message(
        message_id=str(uuid5(row.message_id, f"{row.website_id}:{row.seq}:{name}")),
        type=name,
        body=encode(body),
        exchange=topology.events_exchange,
        routing_key=name,
        mandatory=False,
        headers=_headers(detail.get("traceparent")),
    )


def next_command(row: Row, topology: Topology) -> Message | None:
    """Return the command that a transition owes its website, or None where it rests."""
    if row.next_trigger is None:
        return None
    return command(
        topology,
        website_id=row.website_id,
        trigger=row.next_trigger,
        seq=row.seq,
        attempt=0,
        cause=row.message_id,
        traceparent=row.detail.get("traceparent"),
    )


def command(
    topology: Topology,
    *,
    website_id: int,
    trigger: Trigger,
    seq: int,
    attempt: int,
    cause: UUID | None,
    traceparent: str | None,
) -> Message:
    """Return a command of the engine's own. Its id follows from what caused it: sent twice, it is the same message.

    Args:
        topology: names the queue.
        website_id: for which website.
        trigger: what to do.
        seq: how many transitions the website has had.
        attempt: how many attempts at this step came before; above 0 only from the dispatcher.
        cause: the message id in the website's last row, None where it has no row.
        traceparent: W3C trace context to pass on.
    """
    name = COMMAND_PREFIX + trigger
    return Message(
        message_id=str(command_id(website_id=website_id, trigger=trigger, seq=seq, attempt=attempt, cause=cause)),
        type=name,
        body=encode({"website_id": website_id, "expected_seq": seq, "attempt": attempt, "actor": None, "reason": None}),
        exchange="",
        routing_key=topology.commands,
        mandatory=True,
        headers=_headers(traceparent),
    )


def command_id(*, website_id: int, trigger: Trigger, seq: int, attempt: int, cause: UUID | None) -> UUID:
    """Return the message id of a command of the engine's own; nobody else's command has it."""
    return uuid5(cause or UNBORN, f"{website_id}:{seq}:{COMMAND_PREFIX}{trigger}:{attempt}")


def encode(body: Mapping[str, Any]) -> bytes:
    """Return a body as compact UTF-8 JSON."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def _headers(traceparent: str | None) -> dict[str, Any]:
    return {"traceparent": traceparent} if traceparent else {}
