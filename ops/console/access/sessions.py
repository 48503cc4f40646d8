"""Sessions of browsers: rows of the database, so that signing out ends them, and cookies with their signed ids.

A row has the hash of the id and whose session it is; who reads the database cannot make a cookie of it. A cookie is
signed with its owner's token: it ends with the token, and one that nobody here has signed costs no query.
"""

import hashlib
import secrets
from typing import Any

from itsdangerous import BadSignature, Signer

from consumer.store.database import Store
from seeders.sql_loader import read_statements

SESSION_COOKIE = "provisioner_session"
SIGNING: dict[str, Any] = {"key_derivation": "hmac", "digest_method": hashlib.sha256}
MAX_SESSIONS = 20
"""Of one person at once; one more ends the oldest, so that signing in again and again fills no table."""
SQL = read_statements("ops.console.access.sql")


class Sessions:
    """Starts, finds and ends sessions."""

    def __init__(self, store: Store, lifetime_seconds: int) -> None:
        """Keep the rows in `store`, each valid for `lifetime_seconds` from sign-in."""
        self._store = store
        self.lifetime_seconds = lifetime_seconds

    async def start(self, owner: str) -> str:
        """Return the id of a new session of `owner`; rows that have expired are deleted."""
        session_id = secrets.token_urlsafe(32)
        async with self._store.connection() as connection:
            arguments = (_hash(session_id), owner, float(self.lifetime_seconds), MAX_SESSIONS - 1)
            await connection.execute(SQL["start_session"], *arguments)
        return session_id

    async def is_open(self, session_id: str, owner: str) -> bool:
        """Return whether there is a session of this id and owner that has neither expired nor ended."""
        async with self._store.connection() as connection:
            return bool(await connection.fetchval(SQL["find_session"], _hash(session_id), owner))

    async def end(self, session_id: str) -> None:
        """End a session, in every console process."""
        async with self._store.connection() as connection:
            await connection.execute(SQL["end_session"], _hash(session_id))


def session_cookie_name(*, https: bool) -> str:
    """Return the cookie's name: under https one that browsers take from this host alone, and only with Secure."""
    return f"__Host-{SESSION_COOKIE}" if https else SESSION_COOKIE


def sign(session_id: str, key: bytes) -> str:
    """Return the cookie of a session, signed with a key of its owner's."""
    return _signer(key).sign(session_id).decode()


def unsign(cookie: str, key: bytes) -> str | None:
    """Return the session's id in a cookie; None where it is not signed with this key."""
    try:
        return _signer(key).unsign(cookie).decode()
    except (BadSignature, UnicodeDecodeError):
        return None


def form_token(key: bytes, session: str) -> str:
    """Return the token that the forms of a session carry: an HMAC of it, from which nobody can tell the session."""
    return Signer(key, salt="provisioner form", **SIGNING).get_signature(session).decode()


def _signer(key: bytes) -> Signer:
    return Signer(key, salt="provisioner session", **SIGNING)


def _hash(session_id: str) -> bytes:
    return hashlib.sha256(session_id.encode()).digest()
