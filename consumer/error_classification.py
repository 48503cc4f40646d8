"""Errors classified: which exception means what. Knows SQLSTATEs and the clients' exceptions; decides nothing about
deliveries."""

import re
from dataclasses import dataclass

import asyncpg

from consumer.broker.protocol import BrokerError
from consumer.domain.records import FailureCause


@dataclass(frozen=True, slots=True)
class Infrastructure:
    """Something underneath is away, or a COMMIT's outcome unknown: wait until it is back, count nothing."""

    error: str


@dataclass(frozen=True, slots=True)
class LockedElsewhere:
    """Another transaction holds the row lock: nobody's fault."""

    error: str


@dataclass(frozen=True, slots=True)
class Transient:
    """Worth another attempt: deadlock, serialization failure, timeout."""

    error: str
    cause: FailureCause = FailureCause.OTHER


@dataclass(frozen=True, slots=True)
class Permanent:
    """The same input will fail the same way: broken data. `constraint` is the database's name for what it broke."""

    error: str
    cause: FailureCause = FailureCause.OTHER
    constraint: str | None = None


@dataclass(frozen=True, slots=True)
class Conflict:
    """Another transaction took this very transition first (23505 on the log): judge again."""

    error: str


@dataclass(frozen=True, slots=True)
class Defect:
    """A fault in our own code: counted like a transient error, logged with its traceback."""

    error: str
    cause: FailureCause = FailureCause.DEFECT


Fault = Infrastructure | LockedElsewhere | Transient | Permanent | Conflict | Defect

LOCK_NOT_AVAILABLE = "55P03"
TRANSIENT = frozenset({"40001", "40P01", "57014", "0A000"})
"""Serialization failure, deadlock, statement timeout, and a cached plan that a migration has made invalid."""
UNIQUE_VIOLATION = "23505"
IDS_USED_UP = "2200H"
"""A sequence has given its last value; the error names it."""
LOG_TABLE = "provisioning_transitions"
SQLSTATE_CAUSES = frozenset(cause.value for cause in FailureCause)
# 08 connection, 53 resources, 57P operator intervention, 58 system, 25006 read-only, 28/3D access, 42501 privilege,
# 42P01/42703/42P10 a schema that is not (or not yet, or no longer) ours: a table, column or unique index is missing,
# 26000/42P05 a pooler that mixes up prepared statements, F0/XX broken server, 2200H a sequence without ids left,
# 55000 a database that takes no connections: none of it is the message's fault.
INFRASTRUCTURE_CLASSES = (
    "08",
    IDS_USED_UP,
    "40003",
    "25P03",
    "26000",
    "53",
    "55000",
    "57P",
    "58",
    "25006",
    "28",
    "3D",
    "42501",
    "42P01",
    "42P05",
    "42703",
    "42P10",
    "F0",
    "XX",
)

LOCK_REFUSED = (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError)
STATEMENT_CANCELED = asyncpg.QueryCanceledError
DOUBLED_ROWS = asyncpg.UniqueViolationError
DATABASE_ERROR = asyncpg.PostgresError
WRONG_ADDRESS = asyncpg.exceptions.ClientConfigurationError
SESSION_LOST = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError)
"""For those who repeat a statement: the exceptions that they expect of it. TimeoutError is an OSError."""


class CommitUnconfirmedError(Exception):
    """The database answered COMMIT with something else: whether it happened must be looked up."""


class SequenceBehindError(Exception):
    """A sequence gives out ids that are there already, and this role may not move it; the text says which, and what to
    do. A missing right, as 42501 is: no message's fault."""


class IdTakenError(Exception):
    """Ids from a sequence were taken although it was moved on: somebody inserts ids of their own at the same time."""


class ConnectionSettingError(Exception):
    """A setting of the connection is wrong: the server or the pooler at the other end does not work with it."""

    def __init__(self, have: str, remedy: str) -> None:
        """Take what is wrong, and what to do about it."""
        super().__init__(f"{have}: {remedy}")
        self.have = have
        self.remedy = remedy


class PoolerError(ConnectionSettingError):
    """The pooler between this service and PostgreSQL cannot be worked with as the settings are."""


class RefusedParameterError(ConnectionSettingError):
    """PostgreSQL refuses a parameter of the database's URL, or a setting that every session of ours starts with."""


class StepTimeoutError(Exception):
    """A step took longer than it may; not the same as a server that does not answer, which is TimeoutError."""


def classify(error: BaseException) -> Fault:
    """Return what an exception means, with a sentence for people and logs.

    The sentence names the kind of error and never its parameters, which may be personal.
    """
    if isinstance(error, asyncpg.PostgresError):
        return _by_sqlstate(error)
    if isinstance(error, StepTimeoutError):
        return Transient("the step took longer than it may", FailureCause.TIMEOUT)
    if isinstance(error, SequenceBehindError):
        return Infrastructure(str(error))
    if isinstance(error, IdTakenError):
        return Transient(str(error), FailureCause.SQLSTATE_23)
    if isinstance(
        error,
        asyncpg.InterfaceError
        | asyncpg.InternalClientError
        | OSError
        | EOFError
        | CommitUnconfirmedError
        | ConnectionSettingError
        | BrokerError,
    ):
        # asyncpg reports a terminated backend as InterfaceError (measured), and a server that does not answer as
        # TimeoutError, which is an OSError.
        return Infrastructure(f"{type(error).__name__}: {_first_line(error)}")
    return Defect(f"{type(error).__name__}")


def _by_sqlstate(error: asyncpg.PostgresError) -> Fault:
    state = error.sqlstate or ""
    sentence = f"PostgreSQL {state} {type(error).__name__}: {_first_line(error)}"
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        role = getattr(error, "role", None)
        sentence += f" for {f'role {role}' if role else 'this role'}; `provisioner doctor` names the right"
    if state == LOCK_NOT_AVAILABLE:
        return LockedElsewhere(sentence)
    if state in TRANSIENT:
        return Transient(sentence, _cause_of(state))
    if state == UNIQUE_VIOLATION and getattr(error, "table_name", None) == LOG_TABLE:
        return Conflict(sentence)
    if state.startswith(INFRASTRUCTURE_CLASSES):
        return Infrastructure(sentence)
    if state.startswith(("22", "23")):
        return Permanent(sentence, _cause_of(state), getattr(error, "constraint_name", None))
    return Defect(sentence, _cause_of(state))


def _cause_of(state: str) -> FailureCause:
    """Return the label of an SQLSTATE's class; without an SQLSTATE there is none."""
    if not state:
        return FailureCause.OTHER
    label = f"sqlstate_{state[:2]}"
    return FailureCause(label) if label in SQLSTATE_CAUSES else FailureCause.SQLSTATE_OTHER


def _first_line(error: BaseException) -> str:
    """Return the first line of an error without the values that it quotes."""
    line = str(error).partition("\n")[0][:300]
    state = str(getattr(error, "sqlstate", None) or "")
    if "query argument" in line:
        return "a value does not fit its parameter"  # asyncpg's own complaint quotes the argument
    if state.startswith("22") and state != IDS_USED_UP:
        # Class 23 names columns and constraints in quotes, which is wanted; class 22 quotes the value itself.
        return re.sub(r'"[^"]*"?', "a value", line)
    if state.startswith("P0"):
        return "raised by a trigger or function of the database"
    return line
