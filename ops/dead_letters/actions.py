"""Redrives dead letters: sends them back to their queue as they were, or edited; or discards them.

Each is recorded first, then published and confirmed, then acked out of the dead-letter queue. A tool that dies in
between leaves a second copy with the same id, which the workers know how to ignore; it never loses one.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from typing import Any

from consumer.broker.protocol import Broker, BrokerDownError, BrokerError, ConsumerSession, Delivery, Message
from consumer.broker.topology import Topology
from ops.audit.trail import Action, ActionItem, AuditTrail
from ops.dead_letters.edited_messages import edited_message, edited_message_id
from ops.dead_letters.lease import leased
from ops.dead_letters.queries import ALL, DeadLetterFilter, selection_digest, summarize
from ops.dead_letters.redriven_messages import original_message
from ops.publishing import BATCH_SIZE, publishing


class SelectionChangedError(Exception):
    """The selected dead letters are not those that somebody looked at; the text says what to do."""


async def redrive(
    broker: Broker,
    namespace: str,
    selection: DeadLetterFilter = ALL,
    audit: AuditTrail | None = None,
    *,
    digest: str | None = None,
) -> list[dict[str, Any]]:
    """Send the selected dead letters back, same id and same body; return a summary of each.

    `digest`: the `selection_digest` of those that somebody saw; where others are selected by now, nothing is done.

    Raises:
        LeaseHeldError: another tool has them.
        SelectionChangedError: they are not those of the digest.
        BrokerError: those that were not confirmed stay where they are.
    """
    topology = Topology(namespace)
    message_of = partial(original_message, topology=topology, redriven_by=audit.actor if audit else None)
    return await _carry_out(broker, topology, selection, message_of, verb="redrive", audit=audit, digest=digest)


async def discard(
    broker: Broker, namespace: str, selection: DeadLetterFilter, audit: AuditTrail, *, digest: str | None = None
) -> list[dict[str, Any]]:
    """Remove the selected dead letters for good; return a summary of each. The audit trail keeps what they were.

    Raises:
        LeaseHeldError, SelectionChangedError: as for `redrive`.
        BrokerError: the broker is away; those whose ack did not reach it stay where they are.
    """
    topology = Topology(namespace)
    return await _carry_out(broker, topology, selection, None, verb="discard", audit=audit, digest=digest)


async def edit(broker: Broker, namespace: str, message_id: str, body: bytes, audit: AuditTrail) -> dict[str, Any]:
    """Send a dead letter back with another body, as a message of its own that names its original.

    Raises:
        KeyError: there is no such dead letter.
        EditRefusedError: the body breaks the contract of its type, is about another website, or is no other body.
        LeaseHeldError, BrokerError: as for `redrive`.
    """
    topology = Topology(namespace)
    selection = DeadLetterFilter(message_ids=frozenset({message_id}))
    message_of = partial(edited_message, body=body, topology=topology, redriven_by=audit.actor)
    done = await _carry_out(broker, topology, selection, message_of, verb="edit", audit=audit)
    if not done:
        raise KeyError(message_id)
    return done[0] | {"copy": edited_message_id(done[0]["message_id"], body)}


async def record_export(audit: AuditTrail, deliveries: Sequence[Delivery]) -> None:
    """Record that somebody takes dead letters out, and what personal data they hold, before they are handed over."""
    async with audit.action("export") as action:
        action.about("dead letter", [delivery.message_id for delivery in deliveries])
        await action.begin()
        action.outcome = "done"


async def _carry_out(
    broker: Broker,
    topology: Topology,
    selection: DeadLetterFilter,
    message_of: Callable[[Delivery], Message] | None,
    *,
    verb: str,
    audit: AuditTrail | None,
    digest: str | None = None,
) -> list[dict[str, Any]]:
    """Lease the dead letters and work through the selected ones in batches: record, publish, ack what is confirmed.

    `message_of` makes the message that is published for a dead letter; without it, they are discarded.
    """
    done: list[dict[str, Any]] = []
    filters = {name: value for name, value in asdict(selection).items() if value and name != "message_ids"}
    action_or_none = audit.action(verb, _named(selection), **filters) if audit else nullcontext(None)
    async with action_or_none as action, leased(broker, topology.dead_letters) as lease:
        session = lease.session
        selected = [
            (delivery, summary)
            for delivery in lease.deliveries
            if selection.matches(summary := summarize(delivery), delivery.body)
        ]
        if digest is not None and digest != selection_digest(delivery for delivery, _ in selected):
            raise SelectionChangedError(
                f"these {len(selected)} dead letters are not those that you saw: nothing was done; look again"
            )
        if not selected:
            return []
        if action:
            action.about("dead letter", [summary["message_id"] for _, summary in selected])
        async with publishing(broker) as publisher:
            for start in range(0, len(selected), BATCH_SIZE):
                batch = selected[start : start + BATCH_SIZE]
                messages = [message_of(delivery) for delivery, _ in batch] if message_of else []
                numbers = await _record(action, [summary for _, summary in batch], messages)
                errors = await publisher.publish_all(messages) if messages else [None] * len(batch)
                for (delivery, _), error in zip(batch, errors, strict=True):
                    if error is None:
                        await session.ack(delivery)
                lost = await _confirm_acks(session, topology.dead_letters)
                if action:
                    outcomes = [_outcome(error, lost, published=bool(messages)) for error in errors]
                    undone = [number for number, error in zip(numbers, errors, strict=True) if error or lost]
                    await action.settle(dict(zip(numbers, outcomes, strict=True)), undone)
                if failed := next((error for error in errors if error), lost):
                    raise failed
                done += [summary for _, summary in batch]
    return done


async def _record(action: Action | None, summaries: Sequence[dict[str, Any]], messages: Sequence[Message]) -> list[int]:
    """Record what is about to be done to dead letters; return the numbers of the items."""
    if action is None:
        return []
    items = []
    for place, summary in enumerate(summaries):
        message_id = summary["message_id"] or ""
        detail = {name: summary[name] for name in ("type", "reason", "error", "failed_at")}
        if messages and messages[place].message_id != message_id:
            detail["copy"] = messages[place].message_id
        items.append(ActionItem(message_id=message_id, website_id=summary["website_id"], detail=detail))
    return await action.record(items)


def _named(selection: DeadLetterFilter) -> str:
    """Return what an action is about before anybody knows how many there are."""
    return ", ".join(sorted(selection.message_ids))[:200] or "dead letters"


async def _confirm_acks(session: ConsumerSession, queue: str) -> BrokerError | None:
    """Make sure that the broker has our acks, which have no answers of their own; return the error if it may not."""
    try:
        await session.counts(queue)
    except BrokerError as error:
        return error
    return None


def _outcome(error: BrokerError | None, lost: BrokerError | None, *, published: bool) -> str:
    if isinstance(error, BrokerDownError):
        return f"still a dead letter, and perhaps sent: {error}"
    if error is not None:
        return f"not done: {error}"
    if lost is not None:
        return f"{'sent; it may still be a dead letter too' if published else 'not known to be done'}: {lost}"
    return "done"
