"""Prunes the history of websites at rest: deletes old rows of their log, in batches, each a transaction of its own.

What decides is the database's function `provisioning_prune`, so that whoever prunes needs no right to delete log rows.
A website's last row stays, its seq, and the ids of the messages whose rows are gone (docs/decisions/0041).
"""

from collections.abc import AsyncIterator, Callable
from typing import Any

from consumer.store.database import Store
from ops.audit.identity_proof import UNPROVEN, Proof
from ops.audit.trail import AuditTrail
from ops.errors import InvalidInputError
from seeders.sql_loader import read_statements

SQL = read_statements("ops.retention.sql")

PRUNE = "prune"
BATCH_SIZE = 500
"""Websites whose rows are locked for one batch, for 0.2 s on two cores."""
MIN_OLDER_SECONDS = 86_400.0
"""The doctor looks a day back for websites on defaults, and the estimate of the time left is made of the last day."""


async def prune(
    store: Store,
    *,
    older_seconds: float,
    actor: str,
    reason: str | None,
    proof: Proof = UNPROVEN,
    dry_run: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Delete the log rows of websites at rest that are older than so many seconds; return how many, of how many.

    Args:
        store: where the log is.
        older_seconds: how old a row must be, a day at least.
        actor: who prunes; is recorded in the audit trail, as the reason is.
        reason: why.
        proof: how they have proved who they are.
        dry_run: count only.
        progress: is called with how far it is, a sentence at a time.

    Raises:
        InvalidInputError: younger rows are needed.
    """
    if older_seconds < MIN_OLDER_SECONDS:
        raise InvalidInputError("--older: at least 1d: figures and checks look a day back; say 90d")
    result = {"websites": 0, "rows": 0, "dry_run": dry_run}
    if dry_run:
        async for _ in _batches(store, older_seconds, result):
            progress(f"{_text(result)} found")
        return result
    trail = AuditTrail(store, actor, reason, proof)
    async with trail.action(PRUNE, "websites at rest", older_seconds=older_seconds) as action:
        await action.begin()
        async for _ in _batches(store, older_seconds, result):
            progress(f"{_text(result)} pruned")
        action.outcome = _text(result)
    return result


async def _batches(store: Store, older_seconds: float, result: dict[str, Any]) -> AsyncIterator[None]:
    """Prune a batch of websites at a time, or count what would go; add it to the result."""
    after: int | None = 0
    while after is not None:
        async with store.connection() as connection:
            done = await connection.fetchrow(SQL["prune"], after, older_seconds, BATCH_SIZE, result["dry_run"])
        after = done["last_id"]
        result["websites"] += done["websites"] or 0
        result["rows"] += done["log_rows"] or 0
        yield


def _text(result: dict[str, Any]) -> str:
    return f"{result['rows']} rows of {result['websites']} websites"
