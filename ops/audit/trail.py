"""The audit trail: one row for each action of a person, with its items in a table of their own.

Action and items are recorded before they take effect, and settled with their outcomes afterwards. What a command then
did to a website is in that website's history, too; the action says who asked for it, and for how many websites at once.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from consumer.error_classification import DOUBLED_ROWS, SESSION_LOST
from consumer.store.database import Store
from consumer.store.sequences import mend_sequences
from consumer.telemetry.logs import log
from ops.audit.identity_proof import UNPROVEN, Proof
from ops.audit.log_file import audit_log, is_denial
from ops.errors.reports import report_error
from seeders.sql_loader import read_statements

SQL = read_statements("ops.audit.sql")

MAX_REASON_CHARACTERS = 500
"""The limit of a reason, which histories and lists of actions show in full."""

SUCCESS, PARTLY, FAILURE, OPEN = "success", "partly", "failure", "open"
RESULTS = (SUCCESS, PARTLY, FAILURE, OPEN)
"""The result of an action: all of it took effect, a part, or nothing; `open`: it is under way, or its process died."""
OUTCOMES_NAMED = 3
"""How many different outcomes of items the outcome of an action names; the items have all of them."""


@dataclass(frozen=True, slots=True)
class ActionItem:
    """One item of an action: the message, the website, both or neither, and further detail.

    `outcome`: where it is known beforehand, as for a website that does not take the verb.
    """

    message_id: str | None = None
    website_id: int | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)
    outcome: str | None = None


class Action:
    """An action that is being carried out: `async with trail.action("pause") as action`.

    At the end it is settled, and its line written to the audit log, whether it succeeded, raised or was cancelled.
    """

    def __init__(self, trail: "AuditTrail", verb: str, target: str, detail: Mapping[str, Any]) -> None:
        """Take what will be done; nothing is recorded before `begin` or `record`."""
        self._trail = trail
        self._verb = verb
        self._detail = detail
        self._items = 0
        self._outcomes: Counter[str] = Counter()
        self._failed = 0
        self.target = target
        self.id: int | None = None
        self.outcome: str | None = None
        """The outcome in words, where the outcomes of the items do not say it; None: it is made from those."""
        self.failed = False
        """Whether it failed, where it has no items that say so."""

    def about(self, what: str, names: Collection[object]) -> None:
        """Set the target: a single website by its id, several by their number."""
        self.target = f"{what} {next(iter(names))}" if len(names) == 1 else f"{len(names)} {what}s"

    async def __aenter__(self) -> Self:
        """Do nothing yet."""
        return self

    async def begin(self) -> int:
        """Record the action before it takes effect; return its id. The target must be set."""
        if self.id is None:
            try:
                self.id = await self._insert()
            except DOUBLED_ROWS as error:
                if not await mend_sequences(self._trail.store, error):
                    raise
                self.id = await self._insert()
        return self.id

    async def record(self, items: Sequence[ActionItem]) -> list[int]:
        """Record items before they take effect; return their numbers, in order, for `settle`."""
        action_id, first = await self.begin(), self._items + 1
        async with self._trail.store.connection() as connection:
            await connection.execute(
                SQL["record_items"],
                action_id,
                first,
                [item.website_id for item in items],
                [storable(item.message_id) for item in items],
                [_json(item.detail) for item in items],
                [storable(item.outcome) for item in items],
            )
        self._items += len(items)
        known = [item.outcome for item in items if item.outcome is not None]
        self._outcomes.update(known)
        self._failed += len(known)
        return list(range(first, first + len(items)))

    async def settle(self, outcomes: Mapping[int, str], failed: Collection[int] = ()) -> None:
        """Record the outcomes of items, by number; `failed`: those that did not take effect."""
        async with self._trail.store.connection() as connection:
            await connection.execute(SQL["settle_items"], self.id, list(outcomes), storable(list(outcomes.values())))
        self._outcomes.update(outcomes.values())
        self._failed += len(failed)

    async def __aexit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        """Write its line, and settle it; an error is raised on, even where the action cannot be settled."""
        result = self._result(error)
        outcome = self._summary(error)
        audit_log.write(
            self._verb, "success" if result == SUCCESS else "failure", actor=self._trail.actor,
            proof=self._trail.proof, denied=error is not None and is_denial(error), target=self.target, why=outcome,
            event__id=str(self.id or ""), provisioner__result=result, provisioner__items=self._items or None,
            provisioner__reason=self._trail.reason,
        )  # fmt: skip
        if self.id is None:
            return
        try:
            async with self._trail.store.connection() as connection:
                await connection.execute(SQL["settle_action"], self.id, storable(outcome), result)
        except SESSION_LOST:
            if error is None:
                raise
            log.error(
                "action not settled", what=self._verb, reason="the database is away; the audit log has the outcome"
            )

    async def _insert(self) -> int:
        trail = self._trail
        async with trail.store.connection() as connection:
            (record,) = await connection.fetch(
                SQL["record_action"], storable(trail.actor), trail.proof.user, trail.proof.text, self._verb,
                storable(trail.reason), storable(self.target), _json(self._detail),
            )  # fmt: skip
        return int(record["id"])

    def _result(self, error: BaseException | None) -> str:
        done = self._outcomes.total() - self._failed
        if error is None and not self.failed and not self._failed:
            return SUCCESS
        return PARTLY if done > 0 else FAILURE

    def _summary(self, error: BaseException | None) -> str:
        """Return the outcome in words."""
        if self.outcome is not None and error is None:
            return self.outcome
        if self._items == 1:
            return next(iter(self._outcomes), end_text(error) if error else "not known")
        parts = [f"{count} {text}" for text, count in self._outcomes.most_common(OUTCOMES_NAMED)]
        if more := self._outcomes.total() - sum(count for _, count in self._outcomes.most_common(OUTCOMES_NAMED)):
            parts.append(f"{more} otherwise")
        if error is not None:
            if waiting := self._items - self._outcomes.total():
                parts.append(f"{waiting} not known")
            parts.append(end_text(error))
        return "; ".join(parts) or "nothing to do"


@dataclass(frozen=True, slots=True)
class AuditTrail:
    """Records the actions of one person: the store, who acts, why, and how they proved who they are."""

    store: Store
    actor: str
    reason: str | None = None
    proof: Proof = UNPROVEN

    def action(self, verb: str, target: str = "", **detail: Any) -> Action:
        """Return an action that will be carried out; values of `detail` that are None are left out."""
        return Action(self, verb, target, {name: value for name, value in detail.items() if value is not None})


def end_text(error: BaseException) -> str:
    """Return why an action ended before it was done."""
    if isinstance(error, asyncio.CancelledError | KeyboardInterrupt):
        return "stopped before its end"
    if isinstance(error, SystemExit):
        return "not done"
    report = report_error(error)
    # The texts of our own errors are sentences; the report shows those that it does not know as defects.
    return str(error) if report.defect and type(error).__module__.startswith("ops.") else report.text


def storable(value: Any) -> Any:
    """Return a value without NUL and lone surrogates, which messages may have and PostgreSQL cannot store.

    A message that cannot be recorded could be neither sent back nor discarded, nor could any in its batch.
    """
    match value:
        case str():
            return value.replace("\0", "\ufffd").encode(errors="replace").decode()
        case Mapping():
            return {storable(name): storable(item) for name, item in value.items()}
        case list() | tuple():
            return [storable(item) for item in value]
    return value


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(storable(value), ensure_ascii=False)
