"""A connection to a pooler that lends it one of its own for a transaction at a time: nothing of a session lasts.

Knows asyncpg's inside where it says so; tests hold it to that. docs/decisions/0035 has the reasons.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import asyncpg

from consumer.error_classification import SESSION_LOST, CommitUnconfirmedError
from consumer.store.sessions.prepared_session import Session, raise_for_statement_mode

PASSED_ON = "SELECT EXISTS (SELECT FROM pg_prepared_statements WHERE name = $1)"
OUTDATED = ("unexpected trailing", "insufficient data", "binary data")
"""In what asyncpg or PostgreSQL says of values whose types are not those that a statement was described with."""


class PooledSession(Session):
    """A connection to a pooler that lends it one of its own for a transaction at a time.

    Every statement runs in an explicit transaction, which begins with the settings (SET LOCAL). A statement has no name
    on the server, unless the pooler keeps prepared statements for its clients: it is described once, before the first
    transaction, and from then on goes out as one piece, Parse to Sync, which needs nothing from before and freezes
    nowhere in between. asyncpg does this for a statement that is marked as not prepared; that it may be found in the
    cache all the same is done here.
    """

    keeps_statements = False
    """Whether the pooler keeps prepared statements for each client: PgBouncer 1.21 and later can."""
    _settings = ""

    async def begin_pooling(self, settings: Mapping[str, str]) -> None:
        """Take the settings of every transaction, and find out whether the pooler keeps prepared statements.

        Raises:
            PoolerError: the pooler has no transactions.
        """
        self._settings = setting_statement(settings, local=True)
        # Where asyncpg looks up a type, it would turn jit off for whoever gets the pooler's connection next, too.
        self._server_caps = self._server_caps._replace(jit=False)  # type: ignore[has-type]  # asyncpg has no types
        name = self._get_unique_id("probe")
        try:
            async with self.transaction():
                # A pooler that keeps a client's statement gives it another name on the server.
                passed_on = await (await self.prepare(PASSED_ON, name=name)).fetchval(name)
                if passed_on:
                    await self.execute(f"DEALLOCATE {name}")
        except SESSION_LOST as error:
            raise_for_statement_mode(error)
            raise
        self.keeps_statements = not passed_on

    async def fetch(self, query: str, *arguments: Any, **options: Any) -> Any:
        """Run a statement in a transaction, and return its rows."""
        return await self._in_transaction(partial(super().fetch, query, *arguments, **options))

    async def fetchrow(self, query: str, *arguments: Any, **options: Any) -> Any:
        """Run a statement in a transaction, and return its first row."""
        return await self._in_transaction(partial(super().fetchrow, query, *arguments, **options))

    async def fetchval(self, query: str, *arguments: Any, **options: Any) -> Any:
        """Run a statement in a transaction, and return the first value of its first row."""
        return await self._in_transaction(partial(super().fetchval, query, *arguments, **options))

    async def executemany(self, command: str, args: Any, **options: Any) -> Any:
        """Run a statement for each sequence of arguments in a transaction; with none it is prepared, and no more."""
        if not args:
            return await super().executemany(command, args, **options)
        return await self._in_transaction(partial(super().executemany, command, args, **options))

    async def execute(self, query: str, *arguments: Any, **options: Any) -> Any:
        """Run a statement in a transaction; one that begins a transaction sets its settings, too."""
        if query.startswith("BEGIN"):
            return await super().execute(f"{query.removesuffix(';')}; {self._settings}", **options)
        return await self._in_transaction(partial(super().execute, query, *arguments, **options))

    async def _in_transaction(self, run: Callable[[], Awaitable[Any]]) -> Any:
        """Run a statement in a transaction of its own, unless one is open."""
        if self.is_in_transaction():
            return await self._run(run)
        try:
            return await self._run_alone(run)
        except asyncpg.InvalidCachedStatementError:
            return await self._run_alone(run)  # as asyncpg does outside transactions

    async def _run_alone(self, run: Callable[[], Awaitable[Any]]) -> Any:
        await super().execute(f"BEGIN; {self._settings}")
        try:
            result = await self._run(run)
        except BaseException:
            with suppress(*SESSION_LOST):
                await super().execute("ROLLBACK")
            raise
        answer = await super().execute("COMMIT")
        if answer != "COMMIT":
            raise CommitUnconfirmedError(f"COMMIT was answered with {answer}")
        return result

    async def _run(self, run: Callable[[], Awaitable[Any]]) -> Any:
        """Run a statement; if the schema has changed since it was described, forget all, and raise as PostgreSQL does.

        PgBouncer goes on with what it has prepared before the change, so that only statements without a name are right.
        """
        try:
            return await run()
        except asyncpg.InvalidCachedStatementError:
            self._forget_statements()
            raise
        except (BufferError, asyncpg.PostgresError) as error:
            if not any(text in str(error) for text in OUTDATED):
                raise
            self._forget_statements()
            raise asyncpg.InvalidCachedStatementError("a statement's types are not those of the schema now") from error

    def _forget_statements(self) -> None:
        self.keeps_statements = False
        self._drop_global_statement_cache()  # type: ignore[attr-defined]  # asyncpg has no types

    async def _prepare_texts(self, texts: Iterable[str]) -> None:
        """Prepare statements; where the pooler keeps none, ask once what they take and return."""
        if self.keeps_statements:
            try:
                async with self.transaction():
                    await super()._prepare_texts(texts)
            except asyncpg.InvalidCachedStatementError:
                self._forget_statements()
            else:
                return
        async with self.transaction():
            for text in texts:
                await self._get_statement(text, None)

    async def _get_statement(self, query: str, *arguments: Any, named: Any = False, **options: Any) -> Any:
        """Return what is known of a statement: without a name on the server, to be parsed at each use."""
        get_statement = super()._get_statement  # type: ignore[misc]  # asyncpg has no types
        if self.keeps_statements or isinstance(named, str):
            return await get_statement(query, *arguments, named=named, **options)
        statement = await get_statement(query, *arguments, named="", **options)
        statement.mark_unprepared()
        return statement


def setting_statement(settings: Mapping[str, str], *, local: bool) -> str:
    """Return the SQL that sets settings, for the open transaction or for the session."""
    statements = []
    for name, value in settings.items():
        quoted = value.replace("'", "''")
        if name == "search_path":  # a list, which SET would take for one name
            statements.append(f"SELECT set_config('{name}', '{quoted}', {str(local).lower()})")
        else:
            statements.append(f"SET {'LOCAL ' if local else ''}{name} = '{quoted}'")
    return "; ".join(statements)
