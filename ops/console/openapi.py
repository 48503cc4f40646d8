"""The API's description, made from its routes: a route without a description here is an error, and a test asks."""

import re
from collections.abc import Iterable
from typing import Any

from starlette.routing import BaseRoute, Route

from ops.console.acting import VERBS

WEBSITE = "/api/websites/{website_id}"
DESCRIBED: dict[str, tuple[str, tuple[str, ...], dict[int, str]]] = {
    "GET /api/openapi.json": ("This description.", (), {200: "OpenAPI 3.1"}),
    "GET /api/websites": (
        "Websites, the most recently changed first.",
        ("state", "site_type", "seed_pack", "q", "after", "limit"),
        {200: "websites, and `next`: the `after` of the next page, or null"},
    ),
    f"GET {WEBSITE}": ("One website: status, checklist, owners, history, verbs.", (), {200: "the website"}),
    f"GET {WEBSITE}/provisioning": (
        "Progress, for its customer: state, progress, message, error, checklist, missing, live_url, time_left.",
        ("token",),
        {200: "the progress; `time_left` is null where recent websites do not say"},
    ),
    f"GET {WEBSITE}/provisioning/events": (
        "The same as server-sent events `provisioning`, whenever it changes.",
        ("token",),
        {200: "text/event-stream", 503: "as many streams are open as may be"},
    ),
    f"POST {WEBSITE}/follow-token": (
        "A token by which a browser follows this website and no other. Body: `seconds`, 3600 if left out.",
        (),
        {201: "token, expires_at, url, events_url"},
    ),
    f"POST {WEBSITE}/{{verb}}": (
        f"Publish a command: {', '.join(VERBS)}. Body: `reason`, and `seq` as it was seen.",
        (),
        {202: "sent; workers carry it out", 409: "not sent: `why` says what stands in the way"},
    ),
    "GET /api/machine": ("The machine's edges, and how many websites are in each state.", (), {200: "the machine"}),
    "GET /api/figures": (
        "The oldest website on its way, and the time to live of recent ones.",
        (),
        {200: "`oldest` and `time_to_live`, null where there is nothing to tell"},
    ),
    "GET /api/dead-letters": ("Dead letters, without their bodies, the latest first.", (), {200: "the letters"}),
    "GET /api/events": ("Server-sent events `states`: websites by state, whenever it changes.", (), {200: "a stream"}),
}
ERRORS = {401: "nobody we know", 403: "may not", 404: "not there", 503: "PostgreSQL or RabbitMQ is away"}


def operations(routes: Iterable[BaseRoute]) -> list[str]:
    """Return the operations of the API as METHOD and path."""
    return [
        f"{method} {re.sub(r':[a-z]+}', '}', route.path)}"
        for route in routes
        if isinstance(route, Route) and route.path.startswith("/api/")
        for method in sorted((route.methods or set()) - {"HEAD"})
    ]


def document(routes: Iterable[BaseRoute]) -> dict[str, Any]:
    """Return the OpenAPI document. Raises KeyError for a route that is not described."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations(routes):
        method, path = operation.split(" ")
        summary, query, answers = DESCRIBED[operation]
        in_path = [
            {"name": n, "in": "path", "required": True, "schema": _kind(n)} for n in re.findall(r"{(\w+)}", path)
        ]
        paths.setdefault(path, {})[method.lower()] = {
            "summary": summary,
            "parameters": [*in_path, *({"name": n, "in": "query", "schema": _kind(n)} for n in query)],
            "responses": {str(code): {"description": text} for code, text in sorted((ERRORS | answers).items())},
        } | (
            {"requestBody": {"content": {"application/json": {"schema": {"type": "object"}}}}}
            if method == "POST"
            else {}
        )
    return {
        "openapi": "3.1.0",
        "info": {"title": "Website provisioner", "version": "1"},
        "security": [{"token": []}],
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "paths": paths,
    }


def _kind(name: str) -> dict[str, Any]:
    match name:
        case "website_id" | "limit":
            return {"type": "integer"}
        case "verb":
            return {"type": "string", "enum": list(VERBS)}
    return {"type": "string"}
