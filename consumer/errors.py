"""Which exception means what. Knows SQLSTATEs and the clients' exceptions; decides nothing about deliveries."""

import re
from dataclasses import dataclass

import asyncpg

from consumer.broker import BrokerError


@dataclass(frozen=True, slots=True)
class Infrastructure:
    """Something underneath is away, or a COMMIT's outcome unknown: wait until it is back, count nothing."""

    error: str


@dataclass(frozen=True, slots=True)
class LockedElsewhere:
    """A row lock was not to be had in time: nobody's fault."""

    error: str


@dataclass(frozen=True, slots=True)
class Transient:
    """Worth another attempt: deadlock, serialization failure, timeout."""

    error: str


@dataclass(frozen=True, slots=True)
class Permanent:
    """The same input will fail the same way: broken data. `constraint` is the database's name for what it broke."""

    error: str
    constraint: str | None = None


@dataclass(frozen=True, slots=True)
class Conflict:
    """Another transaction took this very transition first (23505 on the log): judge again."""

    error: str


@dataclass(frozen=True, slots=True)
class Defect:
    """A fault in our own code: counted like a transient error, logged with its traceback."""

    error: str


Fault = Infrastructure | LockedElsewhere | Transient | Permanent | Conflict | Defect

TOO_LONG = "the step took longer than it may"
LOCK_NOT_AVAILABLE = "55P03"
TRANSIENT = frozenset({"40001", "40P01", "57014", "0A000"})
"""Serialization failure, deadlock, statement timeout, and a cached plan that a migration has made invalid."""
UNIQUE_VIOLATION = "23505"
LOG_TABLE = "provisioning_transitions"
# 08 connection, 53 resources, 57P operator intervention, 58 system, 25006 read-only, 28/3D access, 42501 privilege,
# 42P01/42703 a schema that is not (or not yet) ours, F0/XX broken server: none of it is the message's fault.
INFRASTRUCTURE_CLASSES = (
    "08",
    "40003",
    "25P03",
    "53",
    "57P",
    "58",
    "25006",
    "28",
    "3D",
    "42501",
    "42P01",
    "42703",
    "F0",
    "XX",
)


class Interrupted(Exception):  # noqa: N818
    """The database answered COMMIT with something else: whether it happened must be looked up."""


class StepTimeout(Exception):  # noqa: N818
    """A step took longer than it may; not the same as a server that does not answer, which is TimeoutError."""


def classify(error: BaseException) -> Fault:
    """Say what an exception means.

    The sentence is for people and logs: it names the kind of error and never its parameters, which may be personal.
    """
    if isinstance(error, asyncpg.PostgresError):
        return _by_sqlstate(error)
    if isinstance(error, StepTimeout):
        return Transient(TOO_LONG)
    if isinstance(
        error, asyncpg.InterfaceError | asyncpg.InternalClientError | OSError | EOFError | Interrupted | BrokerError
    ):
        # asyncpg reports a terminated backend as InterfaceError (measured: shared reference, parts, finding 8), and a
        # server that does not answer as TimeoutError, which is an OSError.
        return Infrastructure(f"{type(error).__name__}: {_first_line(error)}")
    return Defect(f"{type(error).__name__}")


def _by_sqlstate(error: asyncpg.PostgresError) -> Fault:
    state = error.sqlstate or ""
    told = f"PostgreSQL {state} {type(error).__name__}: {_first_line(error)}"
    if state == LOCK_NOT_AVAILABLE:
        return LockedElsewhere(told)
    if state in TRANSIENT:
        return Transient(told)
    if state == UNIQUE_VIOLATION and getattr(error, "table_name", None) == LOG_TABLE:
        return Conflict(told)
    if state.startswith(("22", "23")):
        return Permanent(told, getattr(error, "constraint_name", None))
    if state.startswith(INFRASTRUCTURE_CLASSES):
        return Infrastructure(told)
    return Defect(told)


def _first_line(error: BaseException) -> str:
    """Return the first line of an error without the values that it quotes."""
    line = str(error).partition("\n")[0][:300]
    state = str(getattr(error, "sqlstate", None) or "")
    if "query argument" in line:
        return "a value does not fit its parameter"  # asyncpg's own complaint quotes the argument
    if state.startswith("22"):
        # Class 23 names columns and constraints in quotes, which is wanted; class 22 quotes the value itself.
        return re.sub(r'"[^"]*"?', "a value", line)
    if state.startswith("P0"):
        return "raised by a trigger or function of the database"
    return line
