"""What every route of the console stands on: one process's settings and connections, and one request's person."""

import json
import unicodedata
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.requests import Request

from consumer.broker import Broker
from consumer.config import Settings
from consumer.store import Store
from ops.console.checkup import Checkup
from ops.console.errands import Errands
from ops.console.following import Followers
from ops.console.people import People, Person, Role, masked
from ops.console.pulse import Pulse
from ops.console.settings import ConsoleSettings
from seeders import PackLibrary

MAX_BODY_BYTES = 65_536
LARGEST_ID = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Desk:
    """One console process."""

    settings: Settings
    console: ConsoleSettings
    store: Store
    broker: Broker
    people: People
    followers: Followers
    pulse: Pulse
    checkup: Checkup
    packs: PackLibrary
    errands: Errands


def desk(request: Request) -> Desk:
    """Return the desk at which a request is answered."""
    found: Desk = request.app.state.desk
    return found


def person(request: Request, *roles: Role) -> Person:
    """Return who asks.

    Raises:
        HTTPException: 401 for a stranger, 403 for somebody who may not; operators may all that readers may.
    """
    found = desk(request).people.of(request)
    if found is None:
        raise HTTPException(401, "say who you are: a token, or the trusted proxy's headers")
    allowed = roles or (Role.READER, Role.OPERATOR)
    if found.role not in allowed:
        raise HTTPException(403, f"{found.role} may not do this: {' or '.join(allowed)} may")
    return found


def shown_to(who: Person, value: Any) -> Any:
    """Return a value as this person may see it: e-mail addresses are for operators."""
    return value if who.role == Role.OPERATOR else masked(value)


def website_id(request: Request) -> int:
    """Return the id in the path. Raises 404 where it can be nobody's."""
    number = int(request.path_params["website_id"])
    if number > LARGEST_ID:
        raise HTTPException(404, f"there is no website {number}")
    return number


async def body(request: Request) -> dict[str, Any]:
    """Return a form's fields, or a JSON object.

    Raises:
        HTTPException: it is too large, or neither.
    """
    received = b""
    async for chunk in request.stream():
        received += chunk
        if len(received) > MAX_BODY_BYTES:
            raise HTTPException(413, f"at most {MAX_BODY_BYTES} bytes")
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    try:
        if kind == "application/x-www-form-urlencoded":
            return dict(parse_qsl(received.decode(), keep_blank_values=True))
        said = json.loads(received or b"{}")
    except (ValueError, RecursionError):
        raise HTTPException(400, "the body cannot be read: send a JSON object or a form") from None
    if not isinstance(said, dict):
        raise HTTPException(400, "the body must be a JSON object")
    return said


def meant(request: Request, who: Person, said: dict[str, Any]) -> None:
    """Refuse a change that a person's browser was talked into. Raises 403."""
    shown = said.get("csrf") or request.headers.get("x-csrf-token")
    if who.ambient and not desk(request).people.meant_it(request, str(shown or "")):
        raise HTTPException(403, "this form is not one of ours, or too old: open the page again")


def plain(text: str | None) -> str:
    """Return a text on one line, without what no column can hold: controls and lone surrogates."""
    held = (" " if unicodedata.category(letter) in ("Cc", "Cs") else letter for letter in text or "")
    return " ".join("".join(held).split())


def whole(said: dict[str, Any], name: str, default: int | None = None) -> int:
    """Return a whole number out of a body. Raises 400 naming what is wrong."""
    value = said.get(name, default)
    text = str(value)
    if isinstance(value, bool) or not (text.isascii() and text.isdecimal() and len(text) < 19):  # noqa: PLR2004
        raise HTTPException(400, f"{name}: must be a whole number")
    return int(text)
