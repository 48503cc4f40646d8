"""Renders pages and JSON: HTML made on the server, escaped without exception; a little script keeps pages current."""

import json
from typing import Any, Protocol

from fastapi import Request
from fastapi.responses import HTMLResponse, JSONResponse
from jinja2 import Environment, PackageLoader, select_autoescape
from markupsafe import Markup

from ops.audit.trail import MAX_REASON_CHARACTERS
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
UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


class Viewer(Protocol):
    """Whoever looks at a page."""

    @property
    def is_operator(self) -> bool:
        """Whether the page offers actions."""

    def view(self, value: Any) -> Any:
        """Return a value as they may see it."""


def span(seconds: float) -> str:
    """Return a length of time in the largest unit that it fills."""
    size, unit = next(((size, unit) for size, unit in UNITS if seconds >= size), (0.001, "ms"))
    return f"{seconds / size:.3g} {unit}"


TEMPLATES.filters["span"] = span


class PrintableJSON(JSONResponse):
    """JSON in which all but ASCII is escaped, so that any program can print it on a terminal safely."""

    def render(self, content: Any) -> bytes:
        """Return the body."""
        text = json.dumps(content, allow_nan=False, separators=(",", ":"))
        return text.replace("\x7f", "\\u007f").encode()


def render(request: Request, template: str, person: Viewer | None, status: int = 200, **values: Any) -> HTMLResponse:
    """Return a page as this person may see it; its forms carry the token of their session."""
    shown = person.view(values) if person else values
    text = TEMPLATES.get_template(template).render(
        person=person,
        operator=person is not None and person.is_operator,
        csrf=request.app.state.context.authenticator.form_token(person) if person else "",
        path=request.url.path,
        max_reason_length=MAX_REASON_CHARACTERS,
        **shown,
    )
    return HTMLResponse(text, status)
