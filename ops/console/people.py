"""Who asks: by bearer token, by session cookie, or by the headers of a trusted proxy. Closed to everybody else."""

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request

from ops.console.settings import ConsoleSettings, words

SESSION_COOKIE = "provisioner_session"
CSRF_COOKIE = "provisioner_csrf"
EMAIL = re.compile(r"(?<![^\s@<>\"'(),;:])[^\s@<>\"'(),;:]+@[^\s@<>\"'(),;:]+")
"""From the beginning of a word: to try at every letter of a stranger's long one would take minutes."""


class Role(StrEnum):
    """What somebody may do."""

    READER = "reader"
    OPERATOR = "operator"
    SIGNUP = "signup"


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks. `ambient`: the browser says so by itself (cookie, proxy), so that a change needs proof of intent."""

    name: str
    role: Role
    ambient: bool

    @property
    def actor(self) -> str:
        """The name in a website's history."""
        return f"console:{self.name}"


class People:
    """Everybody whom the settings let in."""

    def __init__(self, settings: ConsoleSettings, clock: Callable[[], float] = time.time) -> None:
        """Read the tokens; `clock` says the time in seconds."""
        self._settings = settings
        self._clock = clock
        self._tokens: list[tuple[str, Role, bytes]] = [
            (name, role, secret.encode())
            for role, setting in (
                (Role.OPERATOR, settings.operator_tokens),
                (Role.READER, settings.reader_tokens),
                (Role.SIGNUP, settings.signup_tokens),
            )
            for name, _, secret in (word.partition("=") for word in words(setting.get_secret_value()))
        ]

    def of(self, request: Request) -> Person | None:
        """Return who sent a request, None for a stranger."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if token:
            return self.by_token(token, ambient=False) if scheme.lower() == "bearer" else None
        return self._by_proxy(request) or self._by_session(request.cookies.get(SESSION_COOKIE, ""))

    def by_token(self, token: str, *, ambient: bool) -> Person | None:
        """Return whose token it is. Every token is compared, so that time tells nothing."""
        found = None
        for name, role, secret in self._tokens:
            if hmac.compare_digest(secret, token.strip().encode()):
                found = Person(name, role, ambient)
        return found

    def session(self, person: Person) -> str:
        """Return the cookie of a person who has shown a token. It dies with the token: that is what signs it."""
        expires = int(self._clock() + self._settings.session_hours * 3600)
        head = f"{person.role}.{expires}.{secrets.token_hex(8)}.{person.name.encode().hex()}"
        secret = next(s for name, role, s in self._tokens if (name, role) == (person.name, person.role))
        return f"{head}.{_sign(secret, head)}"

    def _by_session(self, cookie: str) -> Person | None:
        head, _, signature = cookie.rpartition(".")
        parts = head.split(".")
        if len(parts) != 4 or not re.fullmatch(r"[0-9]{1,12}", parts[1]) or int(parts[1]) < self._clock():  # noqa: PLR2004
            return None
        for name, role, secret in self._tokens:
            mine = parts[0] == role and parts[3] == name.encode().hex()
            if mine and hmac.compare_digest(_sign(secret, head).encode(), signature.encode()):
                return Person(name, role, ambient=True)
        return None

    def _by_proxy(self, request: Request) -> Person | None:
        if not self.is_proxy(request):
            return None
        name = request.headers.get(self._settings.proxy_user_header, "").strip()[:100]
        groups = words(request.headers.get(self._settings.proxy_groups_header, ""))
        role = Role.OPERATOR if self._settings.proxy_operator_group in groups else Role.READER
        return Person(name, role, ambient=True) if name else None

    def is_proxy(self, request: Request) -> bool:
        """Say whether the peer is a proxy whose headers are believed."""
        try:
            address = ip_address(request.client.host if request.client else "")
        except ValueError:
            return False
        return any(address in network for network in self._settings.networks)

    def meant_it(self, request: Request, shown: str | None) -> bool:
        """Say whether a change that a browser sends was meant by its person: our own page, our own secret."""
        origin = request.headers.get("origin")
        ours = self._settings.public_url or f"{request.url.scheme}://{request.headers.get('host', '')}"
        if origin and (urlsplit(origin).scheme, urlsplit(origin).netloc) != (
            urlsplit(ours).scheme,
            urlsplit(ours).netloc,
        ):
            return False
        if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
            return False
        kept = request.cookies.get(CSRF_COOKIE, "")
        return bool(kept) and hmac.compare_digest(kept.encode(), (shown or "").encode())


def masked(value: Any) -> Any:
    """Return a value with every e-mail address in it masked, however deep it stands: ana@example.com is a…@e…."""
    match value:
        case str():
            return EMAIL.sub(lambda found: "@".join(f"{part[:1]}…" for part in found[0].split("@", 1)), value)
        case Mapping():
            return {key: masked(entry) for key, entry in value.items()}
        case list() | tuple():
            return [masked(entry) for entry in value]
    return value


def _sign(secret: bytes, text: str) -> str:
    return hmac.new(secret, b"provisioner session " + text.encode(), hashlib.sha256).hexdigest()
