"""Follow tokens: by one, a customer's browser follows one website and no other, for a time."""

import time
from collections.abc import Callable

from itsdangerous import BadData, URLSafeSerializer

from ops.console.access.sessions import SIGNING
from ops.console.access.settings import ConsoleSettings, comma_separated
from ops.errors import InvalidInputError

MAX_SECONDS = 30 * 86400
"""A signup is through within minutes; a token that somebody forgot ends within a month."""


class FollowTokens:
    """Makes and checks follow tokens."""

    def __init__(self, settings: ConsoleSettings, clock: Callable[[], float] = time.time) -> None:
        """Read the keys; `clock` returns the time in seconds since 1970."""
        keys = comma_separated(settings.follow_secrets.get_secret_value())
        # The last key of the list signs, and all are accepted; in the setting it is the first that signs.
        self._serializer = URLSafeSerializer(keys[::-1], "provisioner follow", signer_kwargs=SIGNING) if keys else None
        self._clock = clock

    def issue(self, website_id: int, seconds: int) -> tuple[str, int]:
        """Return a token for a website, and when it expires, in seconds since 1970.

        Raises:
            InvalidInputError: no key is set, or the time is not between one second and thirty days.
        """
        if self._serializer is None:
            raise InvalidInputError("no key to sign with: set PROVISIONER_CONSOLE_FOLLOW_SECRETS")
        if not 1 <= seconds <= MAX_SECONDS:
            raise InvalidInputError(f"seconds: must be 1 to {MAX_SECONDS}")
        expires = int(self._clock()) + seconds
        return str(self._serializer.dumps([website_id, expires])), expires

    def is_valid(self, token: str, website_id: int) -> bool:
        """Return whether a token is for this website, genuine, and not expired."""
        if self._serializer is None:
            return False
        try:
            named, expires = self._serializer.loads(token)
        except BadData:
            return False
        return bool(named == website_id and expires > self._clock())
