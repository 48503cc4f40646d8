"""Authentication: the person behind a request, by bearer token, session cookie, or the headers of a trusted proxy.

A sender whom no setting names is unknown. What a person may do is their role; readers see e-mail addresses masked.
"""

import hmac
import secrets
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import Any

from starlette.requests import Request

from ops.audit.identity_proof import Means, Proof
from ops.console.access.sessions import Sessions, form_token, session_cookie_name, sign, unsign
from ops.console.access.settings import ConsoleSettings, comma_separated
from ops.console.access.tokens import MIN_SECRET, Role, digest_of
from ops.text.email_masking import masked


@dataclass(frozen=True, slots=True)
class Person:
    """Whoever is behind a request.

    `ambient`: a browser adds the credentials by itself (cookie, proxy), so that a change needs proof that it was meant;
    `key`: of a token, signs its sessions; `session` is the cookie by which somebody came; `means`: how they proved who
    they are; `source`: the IP address of their connection.
    """

    name: str
    role: Role
    ambient: bool
    key: bytes = field(default=b"", repr=False)
    session: str = field(default="", repr=False)
    means: Means = Means.TOKEN
    source: str = ""

    @property
    def owner(self) -> str:
        """Role and name: whose a session is."""
        return f"{self.role}:{self.name}"

    @property
    def actor(self) -> str:
        """The name in history. The user ana of a proxy need not be the owner of the token ana: their names differ."""
        return f"{'proxy' if self.means is Means.PROXY else 'console'}:{self.name}"

    @property
    def proof(self) -> Proof:
        """How they proved who they are."""
        return Proof(self.means, self.name, str(self.role), source=self.source)

    @property
    def is_operator(self) -> bool:
        """Whether the person may act, and read e-mail addresses."""
        return self.role == Role.OPERATOR

    def view(self, value: Any) -> Any:
        """Return a value as this person may see it: e-mail addresses are for operators."""
        return value if self.is_operator else masked(value)


class Authenticator:
    """Knows everybody whom the settings let in."""

    def __init__(self, settings: ConsoleSettings, sessions: Sessions) -> None:
        """Read the tokens; `sessions` has who is signed in."""
        self._settings = settings
        self._tokens = settings.tokens
        self.sessions = sessions
        self._form_key = secrets.token_bytes(32)
        """Signs the forms of people who come by a proxy, who have no secret here; another process has another."""

    def claimed(self, request: Request) -> Person | None:
        """Return who a request says it is from, proved but for whether a session has ended; None for unknown senders.

        Nothing is awaited: a place can be reserved for this person before `confirm` asks the database.
        """
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if token:
            person = self.by_token(token, ambient=False) if scheme.lower() == "bearer" else None
        else:
            person = self._by_proxy(request) or self._by_session(request)
        return replace(person, source=client_address(request)) if person else None

    async def confirm(self, person: Person) -> bool:
        """Return whether a person is still who they claim to be: a session may have ended."""
        return not person.session or await self.sessions.is_open(self._session_id(person), person.owner)

    def by_token(self, token: str, *, ambient: bool) -> Person | None:
        """Return whose token it is. Every token is compared, so that the time taken reveals nothing."""
        found, shown = None, token.strip()
        digest = digest_of(shown)
        for known in self._tokens:
            if hmac.compare_digest(known.digest, digest):
                found = known
        # What is shorter stands behind a digest in the settings, where nobody could see how short it is.
        return Person(found.name, found.role, ambient, digest) if found and len(shown) >= MIN_SECRET else None

    async def sign_in(self, person: Person) -> str:
        """Start a session of a person who has shown a token; return its cookie."""
        return sign(await self.sessions.start(person.owner), person.key)

    async def sign_out(self, person: Person) -> None:
        """End a person's session, if they came by one."""
        if person.session:
            await self.sessions.end(self._session_id(person))

    def cookie_name(self, request: Request) -> str:
        """Return the name of the session cookie: browsers take that of https from this host alone."""
        return session_cookie_name(https=self.is_https(request))

    def is_https(self, request: Request) -> bool:
        """Return whether browsers come by https."""
        return (self._settings.public_url or str(request.url)).startswith("https:")

    def form_token(self, person: Person) -> str:
        """Return the token that forms carry on the pages that this person sees."""
        if person.session:
            return form_token(person.key, person.session)
        return form_token(self._form_key, person.owner)

    def _session_id(self, person: Person) -> str:
        return unsign(person.session, person.key) or ""

    def _by_session(self, request: Request) -> Person | None:
        cookie = request.cookies.get(self.cookie_name(request), "")
        for token in self._tokens if cookie else ():
            if unsign(cookie, token.digest):
                return Person(
                    token.name, token.role, ambient=True, key=token.digest, session=cookie, means=Means.SESSION
                )
        return None

    def _by_proxy(self, request: Request) -> Person | None:
        if not self._is_proxy(request):
            return None
        names = request.headers.getlist(self._settings.proxy_user_header)
        lists = request.headers.getlist(self._settings.proxy_groups_header)
        if len(names) != 1 or len(lists) > 1:
            # Of two, one came from a browser: the proxy adds its own without removing what was there.
            return None
        name = names[0].strip()[:100]
        groups = comma_separated(lists[0]) if lists else []
        role = Role.OPERATOR if self._settings.proxy_operator_group in groups else Role.READER
        return Person(name, role, ambient=True, means=Means.PROXY) if name else None

    def _is_proxy(self, request: Request) -> bool:
        """Return whether the peer is a proxy whose headers are believed."""
        try:
            address = ip_address(client_address(request))
        except ValueError:
            return False
        return any(address in network for network in self._settings.networks)


def client_address(request: Request) -> str:
    """Return the IP address of the peer, which may be a proxy; empty where there is none, as on a Unix socket."""
    return request.client.host if request.client else ""
