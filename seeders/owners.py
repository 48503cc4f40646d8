"""Inserts the owners that signups named: their users, and their memberships."""

from collections.abc import Sequence
from typing import Any

from seeders.insert_statements import SQL
from seeders.website_to_seed import NamedOwner


async def insert_users(connection: Any, owners: Sequence[NamedOwner]) -> set[int]:
    """Insert the users that pending websites named and that are not there; to be called before the row locks.

    Returns the websites for which one was inserted: of several that named the same user, the one with the lowest id.

    `owners` has an entry for each website that may take its owner now, with or without an address: what the website
    kept of its signup is looked up, and wins.
    """
    records = await connection.fetch(
        SQL["insert_users"],
        [owner.website_id for owner in owners],
        [owner.email for owner in owners],
        [owner.name for owner in owners],
    )
    return {record["website_id"] for record in records}


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
