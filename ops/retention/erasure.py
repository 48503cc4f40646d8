"""Erases what this service keeps of the owners of websites at rest: in rows, their log, actions, and dead letters.

States, seqs and ids of messages stay. What decides about rows is the database's function `provisioning_erase`, so that
whoever erases needs no right to change a log row. What stays, as the existing product's or as nobody's to erase here,
stands in docs/security.md; why, in docs/decisions/0041. Running it again does no harm, and finishes what was not
finished.
"""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from consumer.broker.protocol import Broker, BrokerError, ConsumerSession, Delivery
from consumer.broker.topology import Topology
from consumer.store.database import Store
from ops.audit.identity_proof import UNPROVEN, Proof
from ops.audit.trail import Action, ActionItem, AuditTrail
from ops.dead_letters.dead_letter_table import Digests, keep_rows
from ops.dead_letters.queue_lease import PagedLease, leased_pages
from ops.dead_letters.table_refresh import mark_outdated
from ops.errors import InvalidInputError
from ops.retention.erasure_target import SQL, ErasureTarget

ERASE = "erase"
UNFINISHED = "not finished: run it again"
ACTIONS_SECONDS = 600.0
"""To look through all actions for an address."""


class NotAtRestError(Exception):
    """A website is under way, so that nothing was erased; the text says which, and what to do."""

    def __init__(self, website_id: int, why: str) -> None:
        """Take why this website is not erased."""
        super().__init__(f"website {website_id}: {why}; nothing was erased")
        self.website_id = website_id
        self.why = why


class BeyondLeaseError(Exception):
    """The queue of dead letters has more than one lease takes; the text says what to do."""


async def erase(
    store: Store,
    broker: Broker,
    namespace: str,
    target: ErasureTarget,
    *,
    actor: str,
    reason: str | None,
    proof: Proof = UNPROVEN,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Erase what is kept of the owners of websites; return what was, or with `dry_run` what would be.

    It is an action of the audit trail, with an item a website. `proof`: how the actor has proved who they are.

    Dead letters go first, rows last: only these say which addresses to look for, so that an erasure that is interrupted
    is finished by another. All websites are looked at before anything is done.

    Returns:
        `websites` (each with `website_id`, `state`, `request`, `owner_email`, `owner_email_stays`, `log_rows`,
        `actions`), `actions` that had one of the addresses, and `dead_letters`, by their message ids.

    Raises:
        InvalidInputError: the reason is missing, or has an address, which would be kept.
        NotAtRestError: one is under way; nothing was erased.
        LeaseHeldError: another tool has the dead letters; the same.
        BeyondLeaseError: there are too many dead letters to read all; the same.
        BrokerError: RabbitMQ is away; the same, unless it went away meanwhile.
    """
    queue = Topology(namespace).dead_letters
    if dry_run:
        return await _count(store, broker, queue, target)
    check_reason(reason)
    async with AuditTrail(store, actor, reason, proof).action(ERASE) as action:
        _name(action, target)
        try:
            before = await _look(store, target)
        except NotAtRestError as error:
            await refuse(action, error.website_id, error.why)
            raise
        async with leased_pages(broker, queue) as lease:
            letters, others = await _selected(lease, target)
            ids = [str(letter.message_id) for letter in letters]
            recorded = await action.record(_items(before, len(letters)))
            outcome = UNFINISHED
            try:
                await mark_outdated(store, queue)
                await _discard(lease.session, queue, letters)
                async with _transaction(store) as connection:
                    await keep_rows(connection, queue, others)
                # A transaction each: the first reads all actions, the second locks websites.
                async with _transaction(store) as connection:
                    actions = await _erase_actions(connection, target, ids)
                async with _transaction(store) as connection:
                    websites = await _erase_rows(connection, target, ids)
                outcome = "done"
            finally:
                await action.settle(dict.fromkeys(recorded, outcome), recorded if outcome == UNFINISHED else ())
    return {"websites": websites, "actions": actions, "dead_letters": ids, "dry_run": False}


async def _count(store: Store, broker: Broker, queue: str, target: ErasureTarget) -> dict[str, Any]:
    """Return what would be erased, and keep all."""
    await _look(store, target)
    async with leased_pages(broker, queue) as lease:
        ids = [str(letter.message_id) for letter in (await _selected(lease, target))[0]]
    async with _transaction(store, keep=True) as connection:
        actions = await _erase_actions(connection, target, ids)
        websites = await _erase_rows(connection, target, ids)
    return {"websites": websites, "actions": actions, "dead_letters": ids, "dry_run": True}


def _items(rows: Sequence[Mapping[str, Any]], letters: int) -> list[ActionItem]:
    """Return what is recorded of an erasure: numbers and states, nothing of whose data it was."""
    found = {"dead_letters": letters}
    items = [ActionItem(website_id=row["website_id"], detail={"state": row["state"], **found}) for row in rows]
    return items or [ActionItem(detail=found)]


def _name(action: Action, target: ErasureTarget) -> None:
    """Say what the action is about: websites; an address alone is not named, since that is kept."""
    if target.website_ids:
        action.about("website", target.website_ids)
    else:
        action.target = "an address without a website"


async def _look(store: Store, target: ErasureTarget) -> list[dict[str, Any]]:
    """Return what there is to erase of the websites. Raises NotAtRestError."""
    async with _transaction(store, keep=True) as connection:
        return await _erase_rows(connection, target, [])


async def refuse(action: Action, website_id: int, why: str) -> None:
    """Record that a website's owner is not erased, and why."""
    await action.record([ActionItem(website_id=website_id, outcome=f"not erased: {why}")])


async def _erase_actions(connection: Any, target: ErasureTarget, letters: Sequence[str]) -> int:
    """Erase what actions have of the addresses, whatever they are about; return how many. It reads all actions."""
    await connection.execute(f"SET LOCAL statement_timeout = {ACTIONS_SECONDS * 1000:.0f}")
    arguments = (None, list(target.addresses), list(letters))
    answer = json.loads(await connection.fetchval(SQL["erase"], *arguments, timeout=ACTIONS_SECONDS + 5))
    count: int = answer["actions"]
    return count


async def _erase_rows(connection: Any, target: ErasureTarget, letters: Sequence[str]) -> list[dict[str, Any]]:
    """Erase what websites, their log and actions about them have. Raises NotAtRestError."""
    found = []
    for website_id in sorted(target.website_ids):
        text = await connection.fetchval(SQL["erase"], website_id, list(target.addresses), list(letters))
        answer = json.loads(text)
        if not answer.pop("at_rest"):
            raise NotAtRestError(website_id, _why_not(website_id, answer))
        found.append({"website_id": website_id, **answer})
    return found


def check_reason(reason: str | None) -> None:
    """Raise InvalidInputError where a reason is missing, or has an address, which would be kept."""
    if not (reason or "").strip():
        raise InvalidInputError("--reason: say why; it is kept, so name the case and not the owner")
    if "@" in (reason or ""):
        raise InvalidInputError("--reason: it has an e-mail address, which would be kept: name the case instead")


@asynccontextmanager
async def _transaction(store: Store, *, keep: bool = False) -> AsyncIterator[Any]:
    """Lend a connection with a transaction, which is committed at the end; one that is to `keep` all is rolled back."""
    async with store.connection() as connection:
        transaction, done = connection.transaction(isolation="read_committed"), False
        await transaction.start()
        try:
            yield connection
            done = not keep
        finally:
            await (transaction.commit() if done else transaction.rollback())


def _why_not(website_id: int, answer: Mapping[str, Any]) -> str:
    """Return why a website is not at rest, and what to do."""
    at = f"it is {answer['state']}, at seq {answer['seq']}"
    if not answer["due"]:
        start = f"`provisioner start {website_id}` starts it"
        return f"{at}, and has something before it that nothing sends: {start}, then erase it at rest"
    explain = f"`provisioner explain {website_id}` says what it waits for"
    return f"{at}, and something is still to be done or published for it: wait until it rests; {explain}"


async def _selected(lease: PagedLease, target: ErasureTarget) -> tuple[list[Delivery], list[bytes]]:
    """Return the dead letters that are about the target, and the digests of all others. Raises BeyondLeaseError."""
    letters, others, digests = list[Delivery](), list[bytes](), Digests()
    async for page in lease.pages():
        for delivery in page:
            digest = digests.digest(delivery)
            if target.is_about(delivery):
                letters.append(delivery)
            else:
                others.append(digest)
    if lease.beyond_limit:
        raise BeyondLeaseError(
            f"{lease.expected} dead letters were read, and {lease.beyond_limit} more were not: redrive or "
            "discard some, then erase; nothing was erased"
        )
    return letters, others


async def _discard(session: ConsumerSession, queue: str, letters: Sequence[Delivery]) -> None:
    """Take dead letters out of their queue. Raises BrokerError: they may still be there."""
    await session.ack_all(letters)
    # Acks have no answers of their own: what the broker answers after them says that it has them.
    await session.counts(queue)
    if session.closed.is_set():
        raise BrokerError("the connection was lost: dead letters may still be there; run it again")
