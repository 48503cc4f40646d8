"""That nothing is prepared inside a transaction, whatever has made the client library forget what was prepared."""

from consumer.store.database import Store
from consumer.store.provisioning_statements import SQL

PREPARED = "SELECT count(*) FROM pg_prepared_statements WHERE statement = ANY ($1) AND prepare_time < now()"
"""How many of some statements were prepared before the transaction that asks."""


async def test_after_the_schema_has_changed_all_is_prepared_before_the_next_transaction(store: Store) -> None:
    """The client library then forgets the statements of all connections; the next transaction prepares them first."""
    async with store.connection() as connection:
        await connection.prepare_all()
        await connection.execute("CREATE TEMP TABLE changing (a int)")
        await connection.fetch("SELECT * FROM changing")
        await connection.execute("ALTER TABLE changing ALTER a TYPE text")
        await connection.fetch("SELECT * FROM changing")
        assert await connection.fetchval(PREPARED, [SQL["write"]]) == 0
    texts = list(SQL.values())
    async with store.transaction() as transaction:
        assert await transaction.connection.fetchval(PREPARED, texts) == len(texts)
