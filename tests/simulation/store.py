"""The service's own `Store` over the database in memory: only the connections are others. What befalls a connection
befalls it here: refused, lost, an error for an answer, a COMMIT whose answer never comes.
"""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import asyncpg

from consumer.store.database import Store
from tests.simulation.database import Database, LogRow, Transaction
from tests.simulation.statements import BY_TEXT

BLOCK = ("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT pack", "ROLLBACK TO SAVEPOINT pack", "RELEASE SAVEPOINT pack")
SLOW_SECONDS = 0.05
COMMAND_TIMEOUT_SECONDS = 15.0
IDLE_SECONDS = 1.0
"""How long the server keeps the locks of a client that it hears no more of."""


class Server:
    """The database as connections reach it. Its faults are switched by plain methods; `struck` counts them."""

    def __init__(self, database: Database, dice: random.Random) -> None:
        self.database = database
        self.dice = dice
        self.away = False
        self.lock_timeout_seconds = 2.0
        self.struck: dict[str, int] = {}
        self._connections: dict[Connection, None] = {}
        self._errors: list[Callable[[], Exception]] = []
        self._replies_to_lose = 0
        self._to_hang = 0

    def connect(self) -> "Connection":
        """Open a connection. Raises what a refused one does."""
        if self.away:
            self.strike("refused")
            raise ConnectionRefusedError("the database is away")
        connection = Connection(self)
        self._connections[connection] = None
        return connection

    def forget(self, connection: "Connection") -> None:
        """Hear that a connection is gone."""
        self._connections.pop(connection, None)

    def lose_connections(self, chance: float = 1.0) -> None:
        """Cut connections; what they were in is rolled back."""
        for connection in list(self._connections):
            if self.dice.random() < chance:
                connection.lose()

    def fail_next(self, errors: list[Callable[[], Exception]]) -> None:
        """Answer the next statements with errors."""
        self._errors += errors

    def lose_commit_replies(self, count: int) -> None:
        """Apply the next COMMITs, and lose the connection before they are answered."""
        self._replies_to_lose += count

    def hang_next(self, count: int) -> None:
        """Never answer the next statements: their clients give up, the server does later."""
        self._to_hang += count

    def hangs(self) -> bool:
        """Say whether this statement is never answered."""
        if not self._to_hang:
            return False
        self._to_hang -= 1
        self.strike("hung")
        return True

    def heal(self) -> None:
        """Let no more go wrong."""
        self.away = False
        self._errors.clear()
        self._replies_to_lose = self._to_hang = 0

    def strike(self, name: str) -> None:
        """Count a fault that has fired."""
        self.struck[name] = self.struck.get(name, 0) + 1

    def error(self) -> Exception | None:
        """Return what the next statement is answered with."""
        if not self._errors:
            return None
        error = self._errors.pop(0)()
        self.strike(type(error).__name__)
        return error

    def loses_reply(self) -> bool:
        """Say whether this COMMIT's answer is lost."""
        if not self._replies_to_lose:
            return False
        self._replies_to_lose -= 1
        self.strike("commit reply lost")
        return True


class Connection:
    """What asyncpg's connection is to the store: execute, fetch, and whether it is in a transaction."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._unit: Transaction | None = None
        self.lost = False
        self.deaf = False
        """Whether nothing reaches the server any more, which has not noticed yet."""

    def lose(self) -> None:
        """End at once, from outside."""
        if not self.lost:
            self._server.strike("in transaction" if self._unit else "idle")
            self.lost = True
            self._server.forget(self)
            self._end()

    def is_in_transaction(self) -> bool:
        return self._unit is not None

    optional: frozenset[str] = frozenset()
    """Of the existing product's tables it has none beside those that every database has."""
    asked_at: float | None = None

    async def prepare_all(self) -> None:
        """Do nothing: here every statement arrives in one piece."""

    def ask_again(self) -> None:
        """Do nothing: there is nothing to be asked."""

    async def execute(self, query: str, *args: Any) -> str:
        await self._travel()
        if query not in BLOCK:
            await self._run(query, args)
            return "OK"
        if query != "ROLLBACK" and (error := self._server.error()):
            if query == "COMMIT":
                self._end()
            elif self._unit:
                self._unit.aborted = True
            raise error
        answer = self._block(query)
        if query == "COMMIT" and self._server.loses_reply():
            self.lose()
        await self._travel()
        return answer

    async def fetch(self, query: str, *args: Any) -> list[LogRow]:
        await self._travel()
        return await self._run(query, args)

    async def _run(self, query: str, args: tuple[Any, ...]) -> list[LogRow]:
        known = BY_TEXT.get(query)
        if known is None:
            raise NotImplementedError(f"tests/simulation/statements.py has no function for: {query.splitlines()[0]}")
        alone = self._unit is None
        unit = self._unit or self._new_unit()
        if alone:
            self._unit = unit
        try:
            if unit.aborted:
                raise asyncpg.InFailedSQLTransactionError("current transaction is aborted")
            if error := self._server.error():
                raise error
            if self._server.hangs():
                await asyncio.sleep(COMMAND_TIMEOUT_SECONDS)
                self.deaf = True
                asyncio.get_running_loop().call_later(IDLE_SECONDS, self.lose)
                raise TimeoutError
            records = await known[1](unit, *args)
        except BaseException:
            unit.aborted = True
            if alone and not self.deaf:
                self._end()
            raise
        if self.lost:
            raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
        if alone:
            unit.commit()
            self._unit = None
        await self._travel()
        return [dict(record) for record in records]

    def _block(self, query: str) -> str:
        unit = self._unit
        match query:
            case "BEGIN":
                self._unit = self._new_unit()
            case "COMMIT":
                assert unit is not None
                self._unit = None
                if unit.aborted:
                    unit.rollback()
                    return "ROLLBACK"
                unit.commit()
            case "ROLLBACK":
                self._end()
            case "SAVEPOINT pack":
                assert unit is not None
                if unit.aborted:
                    raise asyncpg.InFailedSQLTransactionError("current transaction is aborted")
                unit.savepoint()
            case "ROLLBACK TO SAVEPOINT pack":
                assert unit is not None
                unit.rollback_to_savepoint()
            case _:
                assert unit is not None
                if unit.aborted:
                    raise asyncpg.InFailedSQLTransactionError("current transaction is aborted")
                unit.release_savepoint()
        return query

    def _new_unit(self) -> Transaction:
        return Transaction(self._server.database, self._server.lock_timeout_seconds)

    def _end(self) -> None:
        unit, self._unit = self._unit, None
        if unit is not None:
            unit.rollback()

    async def _travel(self) -> None:
        """Be on the way, to the server or back."""
        if self.lost or self.deaf:
            raise asyncpg.ConnectionDoesNotExistError("connection is closed")
        loop = asyncio.get_running_loop()
        arrived = loop.create_future()
        if self._server.dice.random() < 0.03:
            loop.call_later(self._server.dice.random() * SLOW_SECONDS, _arrive, arrived)
        else:
            loop.call_soon(_arrive, arrived)
        await arrived
        if self.lost:
            raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")


def _arrive(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


class Pool:
    """Connections to lend, as asyncpg's pool does."""

    def __init__(self, server: Server, size: int) -> None:
        self._server = server
        self._turns = asyncio.Semaphore(size)
        self.idle: list[Connection] = []
        self.lent: dict[Connection, None] = {}
        self.closed = False
        self.expired: dict[Connection, None] = {}

    def acquire(self, *, timeout: float) -> "Lease":
        return Lease(self, timeout)

    async def take(self, timeout_seconds: float) -> Connection:
        async with asyncio.timeout(timeout_seconds):
            await self._turns.acquire()
        try:
            if self.closed:
                raise asyncpg.InterfaceError("pool is closed")
            while self.idle:
                connection = self.idle.pop()
                if connection in self.expired:
                    self._drop(connection)
                elif not connection.lost:
                    break
            else:
                connection = self._server.connect()
        except BaseException:
            self._turns.release()
            raise
        self.lent[connection] = None
        return connection

    def give_back(self, connection: Connection) -> None:
        del self.lent[connection]
        self._turns.release()
        if self.closed:
            connection.lose()
        elif connection in self.expired:
            self._drop(connection)
        elif not (connection.lost or connection.deaf):
            connection._end()
            self.idle.append(connection)

    async def expire_connections(self) -> None:
        """Replace all that there are: the idle ones when they are asked for, the lent ones when they come back."""
        self.expired = dict.fromkeys([*self.idle, *self.lent])

    def _drop(self, connection: Connection) -> None:
        del self.expired[connection]
        connection.lose()

    async def close(self) -> None:
        self.closed = True
        while self.lent:
            await asyncio.sleep(0.01)
        self.terminate()

    def terminate(self) -> None:
        self.closed = True
        for connection in [*self.idle, *self.lent]:
            connection.lose()


class Lease:
    """One connection while it is lent."""

    def __init__(self, pool: Pool, timeout_seconds: float) -> None:
        self._pool = pool
        self._timeout_seconds = timeout_seconds
        self._connection: Connection | None = None

    async def __aenter__(self) -> Connection:
        self._connection = await self._pool.take(self._timeout_seconds)
        return self._connection

    async def __aexit__(self, *_: object) -> None:
        assert self._connection
        self._pool.give_back(self._connection)


class SimulatedStore(Store):
    """A store of one process."""

    def __init__(self, server: Server, *, size: int) -> None:
        super().__init__("postgresql://simulated", size=size)
        self._server = server
        self._dead = False
        self.pool: Pool | None = None

    async def open(self) -> None:
        if self._dead:
            raise ConnectionRefusedError("this process is dead")
        if self._pool is None:
            self._pool = self.pool = Pool(self._server, self._size)

    def kill(self) -> None:
        """Lose every connection at once, and for good."""
        self._dead = True
        if self.pool is not None:
            self.pool.terminate()
