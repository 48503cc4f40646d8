"""What schema.sql makes, by name, and which of it a database lacks: the version of a schema, without a number.

Read out of the file itself, so that no change of it can be forgotten here; what a newer version has besides does no
harm. The bodies of triggers and functions are not compared.
"""

import re
from functools import cache

from consumer.store import Store, schema_text
from seeders.sql_files import read_statements

SQL = read_statements("consumer.sql.asking")


@cache
def needed() -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Return the tables and indexes of schema.sql, and the columns that it adds to tables."""
    text = schema_text()
    relations = re.findall(r"^CREATE (?:TABLE|(?:UNIQUE )?INDEX) IF NOT EXISTS (\w+)", text, re.MULTILINE)
    columns = re.findall(r"^ALTER TABLE (\w+) ADD COLUMN IF NOT EXISTS (\w+)", text, re.MULTILINE)
    return tuple(relations), tuple(columns)


async def lacking(store: Store) -> list[str]:
    """Return what the database lacks of our schema; `provisioner init` makes it."""
    relations, columns = needed()
    async with store.connection() as connection:
        records = await connection.fetch(
            SQL["lacking"], relations, [table for table, _ in columns], [column for _, column in columns]
        )
    return [record["name"] for record in records]
