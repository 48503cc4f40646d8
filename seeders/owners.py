"""Makes the owner guard true where a signup named an owner. Users first, before any lock; then memberships."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from seeders.sql_files import read_statements

SQL = read_statements("seeders.sql")


@dataclass(frozen=True, slots=True)
class NamedOwner:
    """The owner that a signup named: by e-mail address, or as a user that exists."""

    website_id: int
    email: str | None = None
    name: str | None = None
    user_id: int | None = None


async def insert_users(connection: Any, owners: Sequence[NamedOwner]) -> None:
    """Insert the users that pending websites named and that are not there; to be called before the row locks.

    `owners` has an entry for each website that may take its owner now, with or without an address: what the website
    kept of its signup is looked up, and wins.
    """
    await connection.execute(
        SQL["insert_users"],
        [owner.website_id for owner in owners],
        [owner.email for owner in owners],
        [owner.name for owner in owners],
    )


async def insert_owner_memberships(connection: Any, owners: Sequence[NamedOwner]) -> None:
    """Make the named users active owners of their websites; a user that does not exist makes none."""
    named = [owner for owner in owners if owner.email or owner.user_id]
    if named:
        await connection.execute(
            SQL["insert_owner_memberships"],
            [owner.website_id for owner in named],
            [owner.email for owner in named],
            [owner.user_id for owner in named],
        )


async def owner_emails(connection: Any, website_ids: Sequence[int]) -> dict[int, str]:
    """Return the e-mail address of each website's first active owner, where it has one."""
    records = await connection.fetch(SQL["owner_emails"], website_ids)
    return {record["website_id"]: record["email"] for record in records}
