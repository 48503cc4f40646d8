"""Redrives dead letters: sends them back to their queue as they were, or edited; or discards or exports them.

Each is recorded first, then published and confirmed, then acked out of the dead-letter queue. A tool that dies in
between leaves a second copy with the same id, which the workers know how to ignore; it never loses one.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from typing import IO, Any

from consumer.broker.protocol import Broker, BrokerDownError, BrokerError, ConsumerSession, Delivery, Message
from consumer.broker.topology import Topology
from ops.audit.trail import Action, ActionItem, AuditTrail
from ops.dead_letters.edited_copies import edited_message, edited_message_id
from ops.dead_letters.queue_lease import leased_pages
from ops.dead_letters.queue_reader import ALL, DeadLetterFilter, full_record, selected_pages, selection_digest
from ops.dead_letters.redriven_messages import original_message
from ops.dead_letters.table_refresh import mark_outdated
from ops.publishing import BATCH_SIZE, publishing
from ops.text.printable import json_text


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


async def write_export(
    broker: Broker, namespace: str, selection: DeadLetterFilter, audit: AuditTrail, file: IO[bytes]
) -> tuple[int, int]:
    """Write the selected dead letters into a file, a JSON object a line, in the order of their queue.

    They hold personal data: that somebody takes them is recorded before this returns, and until then nobody is to have
    the file.

    Returns:
        How many there are, and how many more the queue has than one lease takes.

    Raises:
        LeaseHeldError: another tool has them.
    """
    ids: list[str | None] = []
    async with leased_pages(broker, Topology(namespace).dead_letters) as lease:
        async for page in selected_pages(lease, selection):
            for delivery, _ in page:
                file.write(f"{json_text(full_record(delivery, namespace))}\n".encode())
                ids.append(delivery.message_id)
        beyond_limit = lease.beyond_limit
    async with audit.action("export") as action:
        action.about("dead letter", ids)
        await action.begin()
        action.outcome = "done"
    return len(ids), beyond_limit


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
    async with action_or_none as action, leased_pages(broker, topology.dead_letters) as lease:
        session = lease.session
        selected = [found async for page in selected_pages(lease, selection) for found in page]
        if digest is not None and digest != selection_digest(delivery for delivery, _ in selected):
            if audit:
                await mark_outdated(audit.store, topology.dead_letters)
            raise SelectionChangedError(
                f"these {len(selected)} dead letters are not those that you saw: nothing was done; look again"
            )
        if not selected:
            return []
        if action and audit:
            action.about("dead letter", [summary["message_id"] for _, summary in selected])
            await mark_outdated(audit.store, topology.dead_letters)
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
