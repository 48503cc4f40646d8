"""The API's description, made from its routes: a route without a description here is an error, and a test asks."""

import re
from collections.abc import Iterable
from typing import Any

from starlette.routing import BaseRoute, Route

from ops.verbs import VERBS

WEBSITE = "/api/websites/{website_id}"
CHOSEN = ("group", "error", "pack", "site_type", "since_seconds", "limit")
LETTERS = ("message_id", "reason", "type", "website_id", "text", "older_seconds", "newer_seconds", "group")
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
        "What was done in the last minute, the oldest website on its way, and the time to live of recent ones.",
        (),
        {200: "`last_minute`; `oldest` and `time_to_live`, null where there is nothing to tell"},
    ),
    "GET /api/failures": ("Failed websites in groups by cause.", (), {200: "the groups, the largest first"}),
    "GET /api/failures/preflight": (
        "What a requeue of failed websites would come to, on today's data.",
        CHOSEN,
        {200: "`summary`, a sentence, and `websites`"},
    ),
    "POST /api/failures/requeue": (
        "Requeue failed websites. Body: the preflight's filters, `reason`, `canary` for a few first, `rate` a second.",
        (),
        {
            202: "`state` done, `sent`, `not_sent`; or running, then see `errand`",
            409: "`stopped`: why no more were sent",
        },
    ),
    "GET /api/failures/requeues/{errand}": (
        "How far a requeue is, and what came of it, until the console restarts.",
        (),
        {200: "`state` running, stopped or done, `progress`, `sent`, `not_sent`, `stopped`"},
    ),
    "POST /api/failures/requeues/{errand}/stop": ("Stop a requeue.", (), {200: "how far it came"}),
    "GET /api/websites/{website_id}/explain": (
        "Why a website is where it is.",
        (),
        {200: "`guard`, `requirements`, `waits_for`, `last_error`, `may`, `dead_letters`, `actions`"},
    ),
    "GET /api/dead-letters": ("Dead letters, the latest first.", LETTERS, {200: "the letters, without bodies"}),
    "GET /api/dead-letters/groups": ("Dead letters in groups by reason and cause.", LETTERS, {200: "the groups"}),
    "GET /api/dead-letters/letter": ("One dead letter whole.", ("message_id",), {200: "headers, body, prospect"}),
    "GET /api/dead-letters/forecast": (
        "What dead letters would come to if they were sent back.",
        LETTERS,
        {200: "`summary`, a sentence, `letters`, each with its `prospect`, and `seen`, for the verbs"},
    ),
    "GET /api/dead-letters/export": (
        "Dead letters whole, with all that is needed to send them again, for operators.",
        LETTERS,
        {200: "application/x-ndjson: a JSON object a line"},
    ),
    "POST /api/dead-letters/{letter_verb}": (
        "Send back, discard, edit. Body: `message_ids`, filters or `all`; `why`; to edit `body`; a forecast's `seen`.",
        (),
        {200: "`letters`: what that was done to", 409: "somebody else has them in hand, or they are not those seen"},
    ),
    "GET /api/workers": (
        "Worker processes, and who has paused them.",
        (),
        {200: "`workers`; `paused`: who has paused all, or null"},
    ),
    "POST /api/workers/{worker_verb}": (
        "Pause or resume. Body: `worker` (all, an id or HOST:PID), and `reason`.",
        (),
        {200: "every worker asked has answered", 202: "it is wanted; some have not answered yet"},
    ),
    "GET /api/doctor": ("The doctor's report, ten seconds old at most.", (), {200: "`findings`, `counts`, `worst`"}),
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
        case "website_id" | "limit" | "since_seconds" | "older_seconds" | "newer_seconds":
            return {"type": "integer"}
        case "letter_verb":
            return {"type": "string", "enum": ["redrive", "discard", "edit"]}
        case "worker_verb":
            return {"type": "string", "enum": ["pause", "resume"]}
        case "verb":
            return {"type": "string", "enum": list(VERBS)}
    return {"type": "string"}
