"""Takes dead letters out of their queue: sends them back as they were, or edited, or discards them.

Each is written down first, then published and confirmed, then taken away. A tool that dies in between leaves a second
copy with the same id, which the workers know how to ignore; it never loses one.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID, uuid5

from consumer.broker import Broker, BrokerDown, BrokerError, ConsumerSession, Delivery, Message
from consumer.dead_letters import OURS
from consumer.messages import Poison, decode
from consumer.store import Store
from consumer.topology import Topology
from ops.holding import in_hand
from ops.looking import ALL, Wanted, mark, queue_of, told
from ops.recording import Action, record, settle
from ops.sending import publishing

PIECE = 200
"""Letters that are published together, and acked once all are confirmed."""
ADDED_BY_BROKERS = ("x-death", "x-first-death-", "x-last-death-", "x-delivery-count", "x-acquired-count")
EDITED_FROM = "x-edited-from"
"""The header by which an edited copy names the message id of its original."""
EDITED = UUID("3c0b7f0e-52a8-5d0a-9f5e-7f1f6d1f9b52")
"""Names edited copies."""


class NotLikeIt(ValueError):  # noqa: N818
    """An edited body may not take its original's place; the text says why."""


class Changed(Exception):  # noqa: N818 - an answer, not a fault
    """Those that are meant are not those that were seen; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """Where it is written down who does what to dead letters, and why."""

    store: Store
    actor: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Deed:
    """What is done to letters: the verb, the message that each becomes (None: it is gone), where it is written down,
    and the `mark` of those that were seen."""

    verb: str
    become: Callable[[Delivery], Message] | None
    ledger: Ledger | None
    seen: str | None = None


async def redrive(
    broker: Broker, namespace: str, wanted: Wanted = ALL, ledger: Ledger | None = None, *, seen: str | None = None
) -> list[dict[str, Any]]:
    """Send the chosen dead letters back, same id and same body; return what each of them was.

    `seen`: the `mark` of those that somebody looked at; where they are others by now, nothing is done.

    Raises:
        InOtherHands: another tool has them.
        Changed: they are not those that were seen.
        BrokerError: those that were not confirmed stay where they are.
    """
    topology = Topology(namespace)
    deed = Deed("redrive", lambda letter: original(letter, topology), ledger, seen)
    return await _take(broker, topology, wanted, deed)


async def discard(
    broker: Broker, namespace: str, wanted: Wanted, ledger: Ledger, *, seen: str | None = None
) -> list[dict[str, Any]]:
    """Take the chosen dead letters away for good; return what each of them was. What they were stays in the ledger.

    Raises:
        InOtherHands, Changed: as for `redrive`.
        BrokerError: the broker is away; those that it had not heard of stay where they are.
    """
    return await _take(broker, Topology(namespace), wanted, Deed("discard", None, ledger, seen))


async def edit(broker: Broker, namespace: str, message_id: str, body: bytes, ledger: Ledger) -> dict[str, Any]:
    """Send a dead letter back with another body, as a message of its own that names its original.

    Raises:
        KeyError: there is no such dead letter.
        NotLikeIt: the body breaks the contract of its type, is about another website, or is no other body.
        InOtherHands, BrokerError: as for `redrive`.
    """
    topology = Topology(namespace)
    deed = Deed("edit", lambda letter: as_edited(letter, body, topology), ledger)
    moved = await _take(broker, topology, Wanted(message_ids=frozenset({message_id})), deed)
    if not moved:
        raise KeyError(message_id)
    return moved[0] | {"copy": copy_id(message_id, body)}


def as_edited(letter: Delivery, body: bytes, topology: Topology) -> Message:
    """Return the message that an edited dead letter becomes. Raises NotLikeIt."""
    if body == letter.body:
        raise NotLikeIt("the body is the one that it had; to send that again, redrive it")
    before = original(letter, topology)
    copy = replace(
        before,
        message_id=copy_id(letter.message_id or "", body),
        body=body,
        headers={**before.headers, EDITED_FROM: letter.message_id or ""},
    )
    try:
        command = decode(as_sent_back(letter, copy))
    except Poison as poison:
        raise NotLikeIt(f"the edited message would be poison again: {poison}") from None
    about = told(letter)["website_id"]
    if about is not None and about != command.website_id:
        raise NotLikeIt(f"website_id: the original is about website {about}, and so must the copy be")
    return copy


def copy_id(message_id: str, body: bytes) -> str:
    """Return the message id of an edited copy: not the original's, which may have been carried out, so that the workers
    would take the copy for a duplicate; and the same each time, so that an edit that died half-way is done again."""
    return str(uuid5(EDITED, f"{message_id}:{hashlib.sha256(body).hexdigest()}"))


def as_sent_back(letter: Delivery, message: Message) -> Delivery:
    """Return a dead letter as it will be delivered once `message` has been sent in its place."""
    return replace(
        letter,
        message_id=message.message_id or None,
        body=message.body,
        headers=message.headers,
        exchange=message.exchange,
        routing_key=message.routing_key,
        queue=message.routing_key,
    )


def original(letter: Delivery, topology: Topology) -> Message:
    """Return the message as its sender meant it, addressed straight to its queue."""
    headers = {
        name: value
        for name, value in letter.headers.items()
        if name not in OURS and not name.startswith(ADDED_BY_BROKERS)
    }
    return Message(
        message_id=letter.message_id or "",
        type=letter.type or "",
        body=letter.body,
        exchange="",
        routing_key=queue_of(letter, topology),
        mandatory=True,
        headers=headers,
        properties=letter.properties,
    )


async def _take(broker: Broker, topology: Topology, wanted: Wanted, deed: Deed) -> list[dict[str, Any]]:
    """Take the chosen letters in pieces: write down, publish what they become, ack what the broker has confirmed."""
    moved: list[dict[str, Any]] = []
    async with in_hand(broker, topology.dead_letters) as hand:
        chosen = [(letter, about) for letter in hand.letters if wanted.has(about := told(letter), letter.body)]
        if deed.seen is not None and deed.seen != mark(letter for letter, _ in chosen):
            raise Changed(f"these {len(chosen)} dead letters are not those that you saw: nothing was done; look again")
        if not chosen:
            return []
        async with publishing(broker) as publisher:
            for start in range(0, len(chosen), PIECE):
                piece = chosen[start : start + PIECE]
                session = hand.session
                messages = [deed.become(letter) for letter, _ in piece] if deed.become else []
                actions = await _write_down(deed, [about for _, about in piece], messages)
                answers = await publisher.publish_all(messages) if messages else [None] * len(piece)
                for (letter, _), answer in zip(piece, answers, strict=True):
                    if answer is None:
                        await session.ack(letter)
                lost = await _heard(session, topology.dead_letters)
                if deed.ledger and actions:
                    outcomes = [_outcome(answer, lost, sent=bool(messages)) for answer in answers]
                    await settle(deed.ledger.store, dict(zip(actions, outcomes, strict=True)))
                if failed := next((answer for answer in answers if answer), lost):
                    raise failed
                moved += [about for _, about in piece]
    return moved


async def _write_down(deed: Deed, letters: Sequence[dict[str, Any]], messages: Sequence[Message]) -> list[int]:
    """Record what is about to be done to letters; return the actions' ids."""
    if deed.ledger is None:
        return []
    actions = []
    for place, letter in enumerate(letters):
        detail = {name: letter[name] for name in ("type", "reason", "error", "failed_at")}
        if messages and messages[place].message_id != (letter["message_id"] or ""):
            detail["copy"] = messages[place].message_id
        actions.append(Action(message_id=letter["message_id"] or "", website_id=letter["website_id"], detail=detail))
    return await record(deed.ledger.store, deed.ledger.actor, deed.verb, deed.ledger.reason, actions)


async def _heard(session: ConsumerSession, queue: str) -> BrokerError | None:
    """Make sure that the broker has our acks, which have no answers of their own; return what came between."""
    try:
        await session.counts(queue)
    except BrokerError as error:
        return error
    return None


def _outcome(answer: BrokerError | None, lost: BrokerError | None, *, sent: bool) -> str:
    if isinstance(answer, BrokerDown):
        return f"still a dead letter, and perhaps sent: {answer}"
    if answer is not None:
        return f"not done: {answer}"
    if lost is not None:
        return f"{'sent; it may still be a dead letter too' if sent else 'not known to be done'}: {lost}"
    return "done"
