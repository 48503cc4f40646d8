"""Writes what is generated of the schema: the rules in schema.sql, and expected_schema.json. Run by `make docs`."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import asyncpg

from consumer.store.index_builder import index_statements
from consumer.store.migration_runner import MIGRATIONS, runs_in
from consumer.store.rules_template import Mode, render, unrender
from consumer.store.schema_diff import BORN, RECORD, Part, read_catalogue
from ops.sandbox.postgres import private_postgres
from statemachine.definition_digest import DEFINITION

ROOT = Path(__file__).parent.parent
SCHEMA = ROOT / "schema.sql"
CATALOGUE = ROOT / "consumer" / "store" / "expected_schema.json"
BLOCK = re.compile(r"^-- Generated from statemachine .*?^-- End of what is generated\.\n", re.MULTILINE | re.DOTALL)


def schema_text() -> str:
    """Return schema.sql with the rules for the machine as it is now, in a database of the service's own."""
    head = f"-- Generated from statemachine and three of the migrations by `make docs`: digest {DEFINITION.digest}."
    rules = (render(MIGRATIONS[name], DEFINITION, Mode.OWN) for name in ("rules", "rules_own", "validation"))
    block = "\n".join((head, "", *rules, "-- End of what is generated.", ""))
    text, count = BLOCK.subn(lambda _: block, SCHEMA.read_text())
    assert count == 1, "the two marks of the generated block stand once in schema.sql"
    return text


async def catalogue_text(connection: Any) -> str:
    """Return what the migrations make, as expected_schema.json has it; the connection is to an empty database."""
    own, guest = [await _made(connection, mode) for mode in Mode]
    # As it was, in the existing product's database.
    guest = {part: None if part == BORN else trait for part, trait in guest.items()}
    both = own.items() & guest.items()
    sections = {"both": both, Mode.OWN: own.items() - both, Mode.GUEST: guest.items() - both}
    texts = [
        f'"{name}": [\n' + ",\n".join(json.dumps([*part, trait]) for part, trait in sorted(rows)) + "\n]"
        for name, rows in sections.items()
    ]
    return "{\n" + ",\n".join(texts) + "\n}\n"


async def _made(connection: Any, mode: Mode) -> dict[Part, str | None]:
    """Return what the migrations make of an empty database in one mode, and empty it again."""
    for name, text in MIGRATIONS.items():
        if runs_in(name, mode):
            statements = [index.text for index in index_statements(text)] or [render(text, DEFINITION, mode)]
            for statement in statements:
                await connection.execute(statement)
    tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    functions = await connection.fetch("SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace")
    found = await read_catalogue(connection, (table for (table,) in tables), (name for (name,) in functions))
    await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    return {
        part: record["trait"] and unrender(record["trait"], DEFINITION)
        for part, record in found.items()
        if part != RECORD
    }


async def _write_catalogue(url: str) -> None:
    connection = await asyncpg.connect(url)
    CATALOGUE.write_text(await catalogue_text(connection))
    await connection.close()


if __name__ == "__main__":
    SCHEMA.write_text(schema_text())
    with private_postgres() as server:
        asyncio.run(_write_catalogue(server.url))
