"""Writes down what people do that is no transition: pause, redrive, edit, discard. Before it takes effect, and after.

Transitions need none of this: their actor and reason stand in provisioning_transitions.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from consumer.store import Store
from ops.reading import SQL


@dataclass(frozen=True, slots=True)
class Action:
    """What one action is about: a message, a website, both or neither, and what else there is to say of it."""

    message_id: str | None = None
    website_id: int | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


async def record(store: Store, actor: str, verb: str, reason: str | None, actions: Sequence[Action]) -> list[int]:
    """Write down what is about to be done, before it is done; return the ids, in order, for `settle`."""
    async with store.connection() as connection:
        records = await connection.fetch(
            SQL["record_actions"],
            storable(actor),
            verb,
            storable(reason),
            [storable(action.message_id) for action in actions],
            [action.website_id for action in actions],
            [json.dumps(storable(action.detail), ensure_ascii=False) for action in actions],
        )
    return [row["id"] for row in records]


def storable(value: Any) -> Any:
    """Return a value with what PostgreSQL cannot hold replaced: NUL and lone surrogates, out of strangers' messages.

    A message that cannot be written down could be neither sent back nor discarded, nor could any beside it.
    """
    match value:
        case str():
            return value.replace("\0", "\ufffd").encode(errors="replace").decode()
        case Mapping():
            return {storable(name): storable(item) for name, item in value.items()}
        case list() | tuple():
            return [storable(item) for item in value]
    return value


async def settle(store: Store, outcomes: Mapping[int, str]) -> None:
    """Write down what came of actions, by id."""
    async with store.connection() as connection:
        await connection.execute(SQL["settle_actions"], list(outcomes), storable(list(outcomes.values())))


async def recent(store: Store, *, website_id: int | None = None, limit: int = 100) -> list[dict[str, Any]]:
    """Return the latest actions, of one website or of all, the latest first."""
    async with store.connection() as connection:
        records = await connection.fetch(SQL["recent_actions"], website_id, limit)
    return [{**row, "detail": json.loads(row["detail"])} for row in records]
