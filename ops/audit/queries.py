"""Reads the audit trail: pages of actions by filters, one action with its items, the actions about one website."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from consumer.store.database import Store
from ops.audit.trail import SQL
from ops.errors import NotFoundError

MAX_PAGE_SIZE = 10_000
FOUND, COUNT = (SQL[name].replace("{matching}", SQL["matching"]) for name in ("found_actions", "count_actions"))
"""A page of actions and their number share one condition."""


@dataclass(frozen=True, slots=True)
class ActionFilter:
    """Filters of actions; one that is None selects all.

    Args:
        person: the actor as recorded, the name in it, or the name that was proved.
        action: the verb.
        target: a part of the target, a message's id, a worker's id or name.
        website_id: one of the websites that it acted on.
        outcome: one of `RESULTS`.
        since_seconds: its greatest age.
        addresses: whether what holds e-mail addresses is searched, too; not for those who see them masked.
    """

    person: str | None = None
    action: str | None = None
    target: str | None = None
    website_id: int | None = None
    outcome: str | None = None
    since_seconds: float | None = None
    addresses: bool = True

    @property
    def parameters(self) -> tuple[object, ...]:
        """The filters as parameters of the statements, in their order."""
        asked = (self.person, self.action, self.target, self.website_id, self.outcome, self.since_seconds)
        return (*asked, self.addresses)


ALL_ACTIONS = ActionFilter()


async def find_actions(
    store: Store, wanted: ActionFilter = ALL_ACTIONS, *, before: int | None = None, limit: int = 50
) -> dict[str, Any]:
    """Return a page of actions, the latest first: `items`, the number of all that match (`total`), and `next`, which is
    the `before` of the next page, None on the last."""
    async with store.connection() as connection:
        rows = await connection.fetch(FOUND, *wanted.parameters, before, limit + 1)
        total = await connection.fetchval(COUNT, *wanted.parameters)
    items = [_action(row) for row in rows[:limit]]
    return {"items": items, "next": items[-1]["id"] if len(rows) > limit else None, "total": total}


async def action_details(store: Store, action_id: int, *, after: int = 0, limit: int = 200) -> dict[str, Any]:
    """Return one action with a page of its items: `results`, and `next`, the `after` of the next page or None.

    Raises:
        NotFoundError: there is none.
    """
    async with store.connection() as connection:
        row = await connection.fetchrow(SQL["action_by_id"], action_id)
        rows = await connection.fetch(SQL["action_items"], action_id, after, limit + 1)
    if row is None:
        raise NotFoundError(f"there is no action {action_id}")
    results = [{**item, "detail": json.loads(item["detail"])} for item in rows[:limit]]
    return _action(row) | {"results": results, "next": results[-1]["item"] if len(rows) > limit else None}


async def recent_actions(store: Store, *, website_id: int | None = None, limit: int = 100) -> list[dict[str, Any]]:
    """Return the latest actions, the latest first: of all, or about one website, with what each did to that one."""
    if website_id is None:
        return list((await find_actions(store, limit=limit))["items"])
    async with store.connection() as connection:
        return [_action(row) for row in await connection.fetch(SQL["website_actions"], website_id, limit)]


def _action(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "detail": json.loads(row["detail"])}
