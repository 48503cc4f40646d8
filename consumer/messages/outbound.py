"""Outbound messages: a transition's event and next command, as pure functions of its row in the log, ids included.

There is no outbox table. Whoever finds a row, a worker after COMMIT, a worker that sees a redelivery, or the
dispatcher, publishes the same messages with the same ids.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

import orjson

from consumer.broker.protocol import Message
from consumer.broker.topology import Topology
from consumer.domain.records import LogRow
from consumer.messages.inbound_contracts import COMMAND_PREFIX
from statemachine import State, Trigger

if TYPE_CHECKING:
    from consumer.messages.outbound_contracts import EventBody, LiveEventBody

FIRST_COMMAND_NAMESPACE = UUID("5f8c9d8e-3f0b-5b8e-9a55-0d3a2c6f7b10")
"""In place of a row's message id, for the first command of a website that has no row in the log yet."""


def event_message(row: LogRow, topology: Topology, base_domain: str = "") -> Message:
    """Return the event of a transition: `website.<state>`, for all who subscribe.

    `base_domain`: where websites are found, for a row that the database wrote itself and that lacks the URL.
    """
    detail = row.detail
    body: EventBody = {
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
        subdomain = detail.get("subdomain")
        url = detail.get("url") or (live_url(subdomain, base_domain) if base_domain and subdomain else None)
        live: LiveEventBody = {**body, "url": url}
        body = live
    name = f"website.{row.to_state}"
    return Message(
        message_id=str(uuid5(row.message_id, f"{row.website_id}:{row.seq}:{name}")),
        type=name,
        body=encode_body(body),
        exchange=topology.events_exchange,
        routing_key=name,
        mandatory=False,
        headers=trace_headers(detail.get("traceparent")),
    )


def live_url(subdomain: str | None, base_domain: str) -> str:
    """Return where a live website is found."""
    return f"https://{subdomain}.{base_domain}"


def next_command(row: LogRow, topology: Topology) -> Message | None:
    """Return the command that follows a transition, or None where its website rests."""
    if row.next_trigger is None:
        return None
    return command_message(
        topology,
        website_id=row.website_id,
        trigger=row.next_trigger,
        seq=row.seq,
        attempt=0,
        last_message_id=row.message_id,
        traceparent=row.detail.get("traceparent"),
    )


def command_message(
    topology: Topology,
    *,
    website_id: int,
    trigger: Trigger,
    seq: int,
    attempt: int,
    last_message_id: UUID | None,
    traceparent: str | None,
) -> Message:
    """Return a command of the engine's own. Its id follows from its cause: sent twice, it is the same message.

    Args:
        topology: names the queue.
        website_id: for which website.
        trigger: which transition to take.
        seq: how many transitions the website has had.
        attempt: how many attempts at this step came before; above 0 only from the dispatcher.
        last_message_id: that in the website's last row, None where it has no row.
        traceparent: W3C trace context to pass on.
    """
    name = COMMAND_PREFIX + trigger
    return Message(
        message_id=str(
            command_id(
                website_id=website_id, trigger=trigger, seq=seq, attempt=attempt, last_message_id=last_message_id
            )
        ),
        type=name,
        body=encode_body(
            {"website_id": website_id, "expected_seq": seq, "attempt": attempt, "actor": None, "reason": None}
        ),
        exchange="",
        routing_key=topology.commands,
        mandatory=True,
        headers=trace_headers(traceparent),
    )


def command_id(*, website_id: int, trigger: Trigger, seq: int, attempt: int, last_message_id: UUID | None) -> UUID:
    """Return the message id of a command of the engine's own; nobody else's command has it."""
    return uuid5(last_message_id or FIRST_COMMAND_NAMESPACE, f"{website_id}:{seq}:{COMMAND_PREFIX}{trigger}:{attempt}")


def first_traceparent(message_id: UUID) -> str:
    """Return the W3C trace context that a message starts: it follows from the id, so that a redelivery continues it."""
    return f"00-{message_id.hex}-{message_id.hex[16:]}-01"


def encode_body(body: Mapping[str, Any]) -> bytes:
    """Return a body as compact UTF-8 JSON."""
    return orjson.dumps(body)


def trace_headers(traceparent: str | None) -> dict[str, Any]:
    """Return the header that passes a W3C trace context on."""
    return {"traceparent": traceparent} if traceparent else {}
