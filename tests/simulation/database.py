"""A PostgreSQL in memory, as far as the service can tell: READ COMMITTED, row locks, unique keys that are waited for,
savepoints, deadlocks, lock timeouts, constraints, and a clock of its own.

What it leaves out: everything no statement of ours looks at (columns of links, plans, types). Rows of seeded tables are
kept as sets of natural keys, so that a natural key cannot be there twice, as the unique indexes forbid it. A row of
such a table is never waited for: every writer holds its website's lock.
"""

import asyncio
from collections.abc import Callable, Hashable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from tests.invariants import EDGES

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
TABLES = ("websites", "users", "memberships", "agencies", "links", "field_keys", "assets", "sales", "rentals", "log",
          "pruned", "log by message", "workers", "pauses", "rejections")  # fmt: skip
"""`websites` and `users` hold rows by id and by e-mail; `log` rows by (website, seq); the others, by website, the
natural keys of its rows (`memberships` with their role); `workers` and `pauses` rows by a worker's id, or `all`;
`rejections` times by the id of a message."""
LogRow = dict[str, Any]

LEGAL = frozenset((source, target) for _, source, target in EDGES)
"""As the trigger in schema.sql has it."""


class Transaction:
    """What one transaction has written and locked. Others see nothing of it before it commits."""

    def __init__(self, database: "Database", lock_timeout_seconds: float) -> None:
        self._database = database
        self._lock_timeout_seconds = lock_timeout_seconds
        self.began = database.now()
        self.overlay: dict[str, dict[Any, Any]] = {name: {} for name in TABLES}
        self.locks: list[Hashable] = []
        self.savepoints: list[dict[str, dict[Any, Any]]] = []
        self.aborted = False
        self.ended = False
        self.waits_for: Hashable | None = None

    # --------------------------------------------------------------------------------------------------- reading

    def get(self, table: str, key: Any) -> Any:
        """Return a row as this transaction sees it, or None."""
        found = self.overlay[table].get(key)
        return found if found is not None else self._database.tables[table].get(key)

    def rows(self, table: str) -> Iterator[tuple[Any, Any]]:
        """Go through a table as this transaction sees it."""
        overlay = self.overlay[table]
        for key, row in list(self._database.tables[table].items()):
            yield key, overlay.get(key, row)
        for key in [key for key in overlay if key not in self._database.tables[table]]:
            yield key, overlay[key]

    def statement_time(self) -> datetime:
        """`statement_timestamp()`."""
        return self._database.now()

    def surprise(self, what: str) -> None:
        """Remember what the locks of the design forbid."""
        self._database.surprises.append(what)

    def next_user_id(self) -> int:
        """Draw from the sequence."""
        return self._database.next_user_id()

    # --------------------------------------------------------------------------------------------------- writing

    def put(self, table: str, key: Any, row: Any) -> None:
        """Write a row."""
        self.overlay[table][key] = row

    def add(self, table: str, website_id: int, keys: list[Any]) -> bool:
        """Add natural keys to a website's rows; say whether one was new."""
        there = self.get(table, website_id) or ()
        new = [key for key in dict.fromkeys(keys) if key not in there]
        if new:
            self.put(table, website_id, (*there, *new))
        return bool(new)

    def update(self, website_id: int, **columns: Any) -> None:
        """Change a website that is locked; the table's triggers and checks have their say."""
        old = self.get("websites", website_id)
        new = {**old, **columns}
        move = (old["provisioning_state"], new["provisioning_state"])
        if move[0] != move[1] and move not in LEGAL:
            raise asyncpg.CheckViolationError(f"website {website_id} cannot go from {move[0]} to {move[1]}")
        check(new)
        self.put("websites", website_id, new)

    # --------------------------------------------------------------------------------------------------- locking

    async def moment(self) -> None:
        """Let others commit, between what a statement sees and what it locks."""
        await asyncio.sleep(0)
        self._go_on()

    async def lock(self, key: Hashable, *, skip: bool = False) -> bool:
        """Take a lock until the end of the transaction; with `skip`, say no where another has it.

        Raises:
            asyncpg.LockNotAvailableError: it was not to be had in time.
            asyncpg.DeadlockDetectedError: its holder waits for us.
        """
        locks = self._database.locks
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._lock_timeout_seconds
        while (holder := locks.get(key)) not in (None, self):
            if skip:
                return False
            self.waits_for = key
            try:
                if self._database.is_deadlock(self):
                    raise asyncpg.DeadlockDetectedError("deadlock detected")
                freed = self._database.freed(key)
                async with asyncio.timeout_at(deadline):
                    await freed
            except TimeoutError:
                raise asyncpg.LockNotAvailableError("canceling statement due to lock timeout") from None
            finally:
                self.waits_for = None
            self._go_on()
        if holder is None:
            locks[key] = self
            self.locks.append(key)
        return True

    def _go_on(self) -> None:
        if self.ended:
            raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")

    # ---------------------------------------------------------------------------------------------------- ending

    def savepoint(self) -> None:
        self.savepoints.append({name: dict(rows) for name, rows in self.overlay.items()})

    def rollback_to_savepoint(self) -> None:
        self.overlay = {name: dict(rows) for name, rows in self.savepoints[-1].items()}
        self.aborted = False

    def release_savepoint(self) -> None:
        self.savepoints.pop()

    def commit(self) -> None:
        """Show everybody what was written."""
        if not self.ended:
            for name, rows in self.overlay.items():
                if rows:
                    self._database.tables[name].update(rows)
            self._end()

    def rollback(self) -> None:
        """Forget what was written."""
        self._end()

    def _end(self) -> None:
        if self.ended:
            return
        self.ended = True
        for key in self.locks:
            del self._database.locks[key]
            self._database.free(key)


def check(row: LogRow) -> None:
    """Apply the CHECK constraints of pwb_websites."""
    failed = row["provisioning_state"] == "failed"
    has = row["provisioning_error"] is not None, row["provisioning_failed_at"] is not None
    if has != (failed, failed):
        raise asyncpg.CheckViolationError("violates check constraint provisioning_failed_has_error")
    if not 0 <= row["provisioning_published_seq"] <= row["provisioning_seq"] or row["provisioning_attempts"] < 0:
        raise asyncpg.CheckViolationError("violates check constraint provisioning_counters_sane")


class Database:
    """Committed rows, locks, a clock, and what may go wrong."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self.offset = 0.0
        """How far the database's clock is off, in seconds."""
        self.tables: dict[str, dict[Any, Any]] = {name: {} for name in TABLES}
        self.locks: dict[Hashable, Transaction] = {}
        self.waiting: dict[Hashable, list[asyncio.Future[None]]] = {}
        self._users = 0
        self.surprises: list[str] = []
        """What the service met although its locks forbid it."""

    def now(self) -> datetime:
        """The database's clock."""
        return BEGINNING + timedelta(seconds=self._seconds() + self.offset)

    def next_user_id(self) -> int:
        """Draw from the sequence, which no rollback gives back."""
        self._users += 1
        return self._users

    def is_deadlock(self, first: Transaction) -> bool:
        """Say whether somebody whom `first` waits for waits for `first`."""
        holder, seen = first, set()
        while holder.waits_for is not None and id(holder) not in seen:
            seen.add(id(holder))
            following = self.locks.get(holder.waits_for)
            if following is None:
                return False
            if following is first:
                return True
            holder = following
        return False

    def freed(self, key: Hashable) -> "asyncio.Future[None]":
        """Return what ends when a lock is given up."""
        future = asyncio.get_running_loop().create_future()
        self.waiting.setdefault(key, []).append(future)
        return future

    def free(self, key: Hashable) -> None:
        """Wake whoever waits for a lock."""
        for future in self.waiting.pop(key, ()):
            if not future.done():
                future.set_result(None)

    def add_website(self, website_id: int, **columns: Any) -> None:
        """Insert a website as the product does, without a transaction."""
        self.tables["websites"][website_id] = new_website(self.now(), website_id, **columns)

    def add_user(self, email: str) -> int:
        """Insert a user as the product does."""
        user_id = self.next_user_id()
        self.tables["users"][email] = {"id": user_id, "email": email}
        return user_id


def new_website(now: datetime, website_id: int, **columns: Any) -> LogRow:
    """Return a row as the table's defaults make it."""
    return {
        "id": website_id,
        "subdomain": None,
        "site_type": None,
        "seed_pack_name": None,
        "owner_email": None,
        "provisioning_skip_properties": False,
        "provisioning_auto_go_live": True,
        "provisioning_state": "pending",
        "provisioning_failed_from": None,
        "provisioning_seq": 0,
        "provisioning_published_seq": 0,
        "provisioning_attempts": 0,
        "provisioning_attempt_error": None,
        "provisioning_request": None,
        "provisioning_due_at": now + timedelta(minutes=10),
        "provisioning_started_at": None,
        "provisioning_completed_at": None,
        "provisioning_failed_at": None,
        "provisioning_error": None,
        "created_at": now,
        **columns,
    }
