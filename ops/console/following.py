"""Tokens by which a customer's browser follows one website and no other: signed, and valid for a time."""

import hashlib
import hmac
import time
from collections.abc import Callable

from ops.console.settings import ConsoleSettings, words
from ops.reading import Unusable

LONGEST_SECONDS = 30 * 86400


class Followers:
    """Makes and checks such tokens: `WEBSITE.EXPIRES.SIGNATURE`, nothing of which is a secret but the key."""

    def __init__(self, settings: ConsoleSettings, clock: Callable[[], float] = time.time) -> None:
        """Read the keys; `clock` says the time in seconds."""
        self._keys = [word.encode() for word in words(settings.follow_secrets.get_secret_value())]
        self._clock = clock

    @property
    def enabled(self) -> bool:
        """Whether there is a key to sign with."""
        return bool(self._keys)

    def mint(self, website_id: int, seconds: int) -> tuple[str, int]:
        """Return a token for a website, and when it expires, in seconds since 1970.

        Raises:
            Unusable: no key is set, or the time is not between one second and thirty days.
        """
        if not self._keys:
            raise Unusable("no key to sign with: set PROVISIONER_CONSOLE_FOLLOW_SECRETS")
        if not 1 <= seconds <= LONGEST_SECONDS:
            raise Unusable(f"seconds must be 1 to {LONGEST_SECONDS}")
        expires = int(self._clock()) + seconds
        head = f"{website_id}.{expires}"
        return f"{head}.{_sign(self._keys[0], head)}", expires

    def may(self, token: str, website_id: int) -> bool:
        """Say whether a token is for this website, genuine, and still valid."""
        head, _, signature = token.rpartition(".")
        named, _, expires = head.partition(".")
        if named != str(website_id) or not (expires.isascii() and expires.isdecimal()):
            return False
        genuine = [hmac.compare_digest(_sign(key, head).encode(), signature.encode()) for key in self._keys]
        return any(genuine) and int(expires) > self._clock()


def _sign(key: bytes, head: str) -> str:
    return hmac.new(key, b"provisioner follow " + head.encode(), hashlib.sha256).hexdigest()
