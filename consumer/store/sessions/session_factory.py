"""Makes the sessions of one store, by what stands between it and PostgreSQL: nothing, or a pooler.

A pooler like PgBouncer refuses or drops the settings with which a session begins. Whether what answers is what the
settings say is found out at the first connection.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

import asyncpg

from consumer.addresses.database import DatabaseAddress, Pooler
from consumer.error_classification import PoolerError, RefusedParameterError
from consumer.store.sessions.prepared_session import Session
from consumer.store.sessions.transaction_pooler_session import PooledSession, setting_statement

AT_START = frozenset({"application_name", "timezone", "options"})
"""Settings that a pooler may be given when a session begins: PgBouncer knows the first two; `options` is the user's."""
SECOND_SESSION_SECONDS = 2.0
"""How long a pooler may take to lend a second connection; where it has only one, it may never do."""
ROUNDS = 5
"""How often two sessions are compared: other clients may come between."""
SET_POOLER = "set PROVISIONER_POOLER to its pool_mode, session or transaction"
POOLED = "a pooler answers at PROVISIONER_DATABASE_URL, not PostgreSQL itself"
SHARED = "PROVISIONER_POOLER is session, and the pooler lends connections for less than a session"
SHARED_REMEDY = "set it to transaction"
REFUSED_PARAMETER = ("22023", "42601", "42704", "55P02")
"""SQLSTATEs by which PostgreSQL refuses a setting at the start of a session: a wrong value or syntax, an unknown
setting, one that cannot be changed now."""
NO_RIGHT_TO_SET = "permission denied to set parameter"
"""The start of the error, with SQLSTATE 42501, for a setting that only a superuser may change."""


class SessionFactory:
    """Makes the sessions of one store: how they connect, what they begin with, and whether it fits what answers."""

    def __init__(self, address: DatabaseAddress, settings: Mapping[str, str], pooler: Pooler) -> None:
        """Take where to connect to, what each session or transaction begins with, and what stands between."""
        self._pooler = pooler
        self._of_address = address.server_settings
        self._settings = {name: value for name, value in settings.items() if name not in AT_START}
        at_start = settings if pooler is Pooler.NONE else {name: settings[name] for name in settings.keys() & AT_START}
        self.arguments: dict[str, Any] = address.connect_arguments() | {
            "statement_cache_size": 256,
            "connection_class": PooledSession if pooler is Pooler.TRANSACTION else Session,
            "server_settings": dict(at_start),
        }
        """For asyncpg."""
        self._checking = asyncio.Lock()
        self._checked = False

    async def connect(self, *arguments: Any, **options: Any) -> Any:
        """Connect as asyncpg does.

        Raises:
            RefusedParameterError: the server refuses what the session would begin with.
        """
        try:
            return await asyncpg.connect(*arguments, **options)
        except asyncpg.PostgresError as error:
            self._raise_for_refused_parameter(error)
            raise

    def _raise_for_refused_parameter(self, error: asyncpg.PostgresError) -> None:
        state, text = error.sqlstate or "", str(error).partition("\n")[0][:300]
        if state not in REFUSED_PARAMETER and not text.startswith(NO_RIGHT_TO_SET):
            return
        answer = f"the server answers {state} {text}"
        options = self._of_address.get("options", "")
        named = next((name for name in self._of_address if f'"{name}"' in text), "options" if options else None)
        ours = next((name for name in self._settings if f'"{name}"' in text and name not in options), None)
        if named and not (ours and named == "options"):
            raise RefusedParameterError(f"parameter {named} is refused, {answer}", "mend it or leave it out") from error
        have = f"the server does not take the setting {ours}, {answer}" if ours else f"a setting is refused, {answer}"
        raise RefusedParameterError(
            have, "it is older than PostgreSQL 12, or not PostgreSQL: use another server"
        ) from error

    async def begin(self, session: Any) -> None:
        """Begin a session that has just connected.

        Raises:
            PoolerError: what answers is not what the settings say. The first session finds out.
        """
        match self._pooler:
            case Pooler.TRANSACTION:
                await session.begin_pooling(self._settings)
            case Pooler.SESSION:
                async with self._checking:  # our own sessions would come between
                    if not self._checked and await self._share_connections(session):
                        raise PoolerError(SHARED, SHARED_REMEDY)
                    self._checked = True
                await session.execute(setting_statement(self._settings, local=False))
            case Pooler.NONE if not self._checked:
                if not await session.is_direct():
                    raise PoolerError(POOLED, SET_POOLER)
                self._checked = True

    async def _share_connections(self, session: Session) -> bool:
        """Return whether a pooler lends a connection to two sessions in turn, or several to one.

        In turn: whoever asks next gets what was given back last, unless another client comes between.
        """
        try:
            other = await asyncpg.connect(**self.arguments, timeout=SECOND_SESSION_SECONDS)
        except TimeoutError:
            return False
        try:
            ours, others = set[int](), set[int]()
            for _ in range(ROUNDS):
                ours.add(await session.backend())
                others.add(await other.backend())
            return len(ours) > 1 or len(others) > 1 or ours == others
        finally:
            other.terminate()


def raise_for_startup_parameter(error: asyncpg.ProtocolViolationError, pooler: Pooler) -> None:
    """Raise PoolerError where a pooler refuses what a session begins with."""
    text = str(error)
    if "startup parameter" in text and pooler is Pooler.NONE:
        raise PoolerError(POOLED, SET_POOLER) from error
    if "startup parameter" in text:
        remedy = "leave it out of PROVISIONER_DATABASE_URL, or add it to ignore_startup_parameters of the pooler"
        raise PoolerError(f"the pooler answers: {text}", remedy) from error
