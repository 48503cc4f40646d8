"""Reads who holds subdomains: websites, and the pool of names of the existing product. Locks nothing."""

from collections.abc import Sequence
from typing import Any

from seeders.sql_loader import read_statements

SQL = read_statements("consumer.store.sql.unprepared")


async def subdomain_owners(connection: Any, subdomains: Sequence[str]) -> dict[str, int]:
    """Return, by subdomain in lower case, the website that has it."""
    records = await connection.fetch(SQL["subdomain_owners"], subdomains)
    return {record["subdomain"]: record["id"] for record in records}


async def refused_by_pool(
    connection: Any, signups: Sequence[tuple[int, str | None, str | None, int | None]]
) -> frozenset[int]:
    """Return the websites whose subdomain is reserved for others, where the existing product has its pool of names.

    Args:
        connection: of asyncpg.
        signups: website id, subdomain, the owner's e-mail address, and the id of their user, each of the last three
            None where it is not known.
    """
    if await connection.fetchval("SELECT to_regclass('pwb_subdomains') IS NULL"):
        return frozenset()
    columns = ([signup[column] for signup in signups] for column in range(4))
    return frozenset(record["id"] for record in await connection.fetch(SQL["refused_by_pool"], *columns))
