"""Waits for locks in short turns, so that nobody queues for long behind the wait, and says who holds them.

A session that waits for a strong lock on a table stops all that come after it, plain readers too. So it gives way after
LOCK_SECONDS, lets them pass, and tries again.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from consumer.error_classification import LOCK_REFUSED, SESSION_LOST, STATEMENT_CANCELED
from consumer.store.database import Store
from seeders.sql_loader import read_statements

SQL = read_statements("consumer.store.sql.unprepared")

LOCK_SECONDS = 2.0
PAUSE_SECONDS = 1.0
"""Between two turns: those who came after the first turn get what they wait for."""
GIVE_UP_SECONDS = 300.0
"""After that a wait is given up: whoever holds a lock for longer is to be asked by a person."""
POLL_SECONDS = 0.2
REPEAT_SECONDS = 30.0
"""How often the same holder is named again."""


class LockWaitError(Exception):
    """A lock was not to be had; the sentence says who has it."""


@dataclass(frozen=True, slots=True)
class WaitPolicy:
    """How long a wait may take, and where it is reported."""

    report: Callable[[str], None] = lambda _: None
    lock_seconds: float = LOCK_SECONDS
    pause_seconds: float = PAUSE_SECONDS
    patience_seconds: float = GIVE_UP_SECONDS


@dataclass(slots=True)
class _Watch:
    """What is known of a session's wait."""

    holders: str = ""
    gave_up: bool = False
    last_report: tuple[tuple[int, ...], float] = field(default=((), 0.0))


async def in_turns(store: Store, connection: Any, policy: WaitPolicy, attempt: Callable[[], Awaitable[Any]]) -> None:
    """Carry out an attempt on a connection, again after a refused lock or a deadlock.

    Args:
        store: lends another connection, which asks who is in the way.
        connection: where the attempt runs; an attempt sets its own lock_timeout, if others may queue behind it.
        policy: how long it may take.
        attempt: to be repeated from its start.

    Raises:
        LockWaitError: it has taken too long.
    """
    first_refusal: float | None = None
    watch = _Watch()
    pid = await connection.fetchval("SELECT pg_backend_pid()")
    while True:
        try:
            async with _watched(store, pid, policy, watch):
                await attempt()
                return
        except LOCK_REFUSED as error:
            first_refusal = first_refusal or time.monotonic()
            if time.monotonic() - first_refusal > policy.patience_seconds:
                raise LockWaitError(_given_up(watch, policy)) from error
        except STATEMENT_CANCELED as error:
            if not watch.gave_up:
                raise
            raise LockWaitError(_given_up(watch, policy)) from error
        await asyncio.sleep(policy.pause_seconds)


def _given_up(watch: _Watch, policy: WaitPolicy) -> str:
    holders = watch.holders or "deadlocks with other sessions"
    return f"given up after {policy.patience_seconds:.0f} s: {holders}"


@asynccontextmanager
async def _watched(store: Store, pid: int, policy: WaitPolicy, watch: _Watch) -> AsyncIterator[None]:
    """Report who is in the way of a session, while the block runs."""
    task = asyncio.create_task(_report_holders(store, pid, policy, watch))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _report_holders(store: Store, pid: int, policy: WaitPolicy, watch: _Watch) -> None:
    """Name the holders when they change, and now and then again; cancel a wait that no lock_timeout ends."""
    since: float | None = None
    began = last_sign = time.monotonic()
    # Who cannot ask does without: the wait itself goes on.
    with suppress(*SESSION_LOST):
        while True:
            await asyncio.sleep(POLL_SECONDS)
            async with store.connection() as connection:
                holders = await connection.fetch(SQL["blockers"], pid)
                now = time.monotonic()
                since = (since or now) if holders else None
                if since is not None and now - since > policy.patience_seconds:
                    watch.gave_up = True
                    await connection.execute("SELECT pg_cancel_backend($1)", pid)
            if not holders and now - last_sign > REPEAT_SECONDS:
                last_sign = now
                policy.report(f"at work for {now - began:.0f} s; nobody is in the way")
            if holders:
                watch.holders = "; ".join(map(_sentence, holders))
                pids = tuple(row["pid"] for row in holders)
                if pids != watch.last_report[0] or now - watch.last_report[1] > REPEAT_SECONDS:
                    watch.last_report = (pids, now)
                    policy.report(f"waiting: {watch.holders}")


def _sentence(holder: Any) -> str:
    """Say who a session is, for how long it has been there, and what it did last."""
    name = holder["application"] or "a session"
    role = f" of {holder['role']}" if holder["role"] else ""
    age = f" for {holder['seconds']:.0f} s" if holder["seconds"] is not None else ""
    last = f"; its last statement is a {holder['statement']}" if holder["statement"] else ""
    target = f"{holder['relation']} is in use by" if holder["relation"] else "there is an older transaction of"
    return f"{target} {name} (pid {holder['pid']}{role}){age}{last}"
