"""Renders pages and JSON: HTML made on the server, escaped without exception; a little script keeps pages current."""

import json
from collections.abc import Mapping
from typing import Any, Protocol

from fastapi import Request
from fastapi.responses import HTMLResponse, JSONResponse
from jinja2 import Environment, PackageLoader, select_autoescape
from markupsafe import Markup

from ops.audit.trail import MAX_REASON_CHARACTERS
from ops.text.duration_text import span
from ops.text.printable import escaped, json_escaped


def _shown(value: Any) -> Any:
    """Return a value with characters that do not print escaped; our own HTML (Markup) is returned as it is."""
    return escaped(value) if isinstance(value, str) and not isinstance(value, Markup) else value


TEMPLATES = Environment(
    loader=PackageLoader("ops.console.pages"),
    autoescape=select_autoescape(default=True, default_for_string=True),
    finalize=_shown,
)
TEMPLATES.filters["json_escaped"] = json_escaped
TEMPLATES.filters["words"] = lambda value: str(value).replace("_", " ")
TEMPLATES.filters["moment"] = lambda value: str(value or "–")[:19].replace("T", " ")
TEMPLATES.filters["span"] = span


class Viewer(Protocol):
    """Whoever looks at a page."""

    @property
    def is_operator(self) -> bool:
        """Whether the page offers actions."""

    def view(self, value: Any) -> Any:
        """Return a value as they may see it."""


class PrintableJSON(JSONResponse):
    """JSON in which all but ASCII is escaped, so that any program can print it on a terminal safely."""

    def render(self, content: Any) -> bytes:
        """Return the body."""
        text = json.dumps(content, allow_nan=False, separators=(",", ":"))
        return text.replace("\x7f", "\\u007f").encode()


def render(request: Request, template: str, person: Viewer | None, status: int = 200, **values: Any) -> HTMLResponse:
    """Return a page as this person may see it, with the status of the service as it is known; its forms carry the token
    of their session.
    """
    overview = getattr(request.state, "overview", None) if person else None
    shown = person.view(values | {"overview": overview}) if person else values
    text = TEMPLATES.get_template(template).render(
        person=person,
        operator=person is not None and person.is_operator,
        csrf=request.app.state.context.authenticator.form_token(person) if person else "",
        path=request.url.path,
        numbers=_numbers(overview or {}),
        max_reason_length=MAX_REASON_CHARACTERS,
        **shown,
    )
    return HTMLResponse(text, status)


def _numbers(overview: Mapping[str, Any]) -> dict[str, int | None]:
    """Return what stands beside links of the navigation."""
    numbers = {name: overview.get(name) for name in ("failed", "dead_letters")}
    return numbers | {"workers": (overview.get("workers") or {}).get("live")}
