"""Finds the user whom a signup means where an older row spells the address in other bytes for the same letters.

The existing product, and browsers for it, store domains as A-labels and letters as they came. An address in ASCII alone
has one spelling, and nothing is read for it.
"""

from collections.abc import Sequence
from dataclasses import replace

from consumer.messages.inbound import Command
from consumer.messages.inbound_contracts import OwnerByEmail
from consumer.store.database import Store
from seeders.canonical_email import canonical_email, other_spellings
from seeders.sql_loader import read_statements

SQL = read_statements("consumer.store.sql.unprepared")


async def as_users_spell(store: Store, commands: Sequence[Command]) -> Sequence[Command]:
    """Return commands, each naming its owner as the user does who has that address; a new one stays canonical."""
    spellings = {
        each: owner.email
        for command in commands
        if command.created and isinstance(owner := command.created.owner, OwnerByEmail) and not owner.email.isascii()
        for each in (owner.email, *other_spellings(owner.email))
    }
    if not spellings:
        return commands
    async with store.connection() as connection:
        records = await connection.fetch(SQL["spelled_users"], list(spellings))
    stored: dict[str, str] = {}
    for record in records:
        address = canonical_email(record["email"])
        # Of two users with one address, the one that is spelled as addresses are now.
        if stored.get(address) != address:
            stored[address] = record["email"]
    return [_spelled(command, stored) for command in commands]


def _spelled(command: Command, stored: dict[str, str]) -> Command:
    created = command.created
    if created is None or not isinstance(owner := created.owner, OwnerByEmail):
        return command
    email = stored.get(owner.email, owner.email)
    if email == owner.email:
        return command
    # Not validated: that would make it canonical again.
    named = OwnerByEmail.model_construct(email=email, name=owner.name)
    return replace(command, created=created.model_copy(update={"owner": named}))
