"""The JSON API under /api: the same words as the command line, the same functions beneath."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from ops import progressing, reading, searching
from ops.console import failures_api, letters_api, workers_api
from ops.console.acting import EFFECTS, act, open_to
from ops.console.desk import Desk, body, desk, meant, person, plain, shown_to, website_id, whole
from ops.console.openapi import document
from ops.console.people import Role
from ops.console.settings import words
from ops.verbs import VERBS
from statemachine import TRANSITIONS, State

HOUR = 3600
CONFLICT, ACCEPTED = 409, 202


def chosen(request: Request) -> dict[str, Any]:
    """Return what a request asks to see of the websites. Raises 400 for a state that there is none of."""
    asked = request.query_params
    state, limit = asked.get("state") or None, asked.get("limit") or "50"
    if state and state not in list(State):
        raise HTTPException(400, f"state: must be one of {', '.join(State)}")
    if not (
        limit.isascii()
        and limit.isdecimal()
        and len(limit) <= len(str(searching.LONGEST_PAGE))
        and 1 <= int(limit) <= searching.LONGEST_PAGE
    ):
        raise HTTPException(400, f"limit: must be 1 to {searching.LONGEST_PAGE}")
    return {
        "state": State(state) if state else None,
        "site_type": plain(asked.get("site_type")) or None,
        "seed_pack": plain(asked.get("seed_pack")) or None,
        "text": plain(asked.get("q")) or None,
        "after": plain(asked.get("after")) or None,
        "limit": int(limit),
    }


async def one(here: Desk, number: int) -> dict[str, Any]:
    """Return all that is known of a website: status, owners, history, and what may be done. Raises 404."""
    found = await reading.statuses(here.store, [number])
    if not found:
        raise HTTPException(404, f"there is no website {number}")
    return found[0] | {
        "owners": await searching.owners(here.store, number),
        "history": await reading.history(here.store, number),
        "verbs": [{"verb": verb, "effect": EFFECTS[verb]} for verb in open_to(found[0])],
    }


async def websites(request: Request) -> Response:
    """Answer a page of websites."""
    who = person(request)
    found = await searching.search(desk(request).store, **chosen(request), by_email=who.role == Role.OPERATOR)
    return JSONResponse(shown_to(who, found))


async def website(request: Request) -> Response:
    """Answer one website."""
    who = person(request)
    return JSONResponse(shown_to(who, await one(desk(request), website_id(request))))


async def command(request: Request) -> Response:
    """Publish a command for one website, at the seq that was seen."""
    who, here, number = person(request, Role.OPERATOR), desk(request), website_id(request)
    if request.path_params["verb"] not in VERBS:
        raise HTTPException(404, f"there is no verb {request.path_params['verb']}: {', '.join(VERBS)}")
    said = await body(request)
    meant(request, who, said)
    await one(here, number)
    result = await act(
        here.store, here.broker, here.settings.namespace, number, request.path_params["verb"],
        seq=whole(said, "seq"), reason=plain(str(said.get("reason") or "")), actor=who.actor,
    )  # fmt: skip
    return JSONResponse(result, ACCEPTED if result["sent"] else CONFLICT)


async def machine(request: Request) -> Response:
    """Answer the machine: its edges, and how many websites are in each state."""
    person(request)
    edges = [
        {"trigger": edge.trigger, "from": list(edge.sources), "to": edge.target, "guard": [g.key for g in edge.guard]}
        for edge in TRANSITIONS
    ]
    return JSONResponse({"states": await reading.states(desk(request).store), "transitions": edges})


async def figures(request: Request) -> Response:
    """Answer how it goes: the oldest website on its way, and the time to live of recent ones."""
    person(request)
    here = desk(request)
    return JSONResponse(await progressing.figures(here.store, await here.pulse.estimates()))


async def events(request: Request) -> Response:
    """Stream how many websites are in each state, whenever it changes."""
    person(request)
    here = desk(request)
    here.pulse.room(None)
    return streamed(here.pulse.stream(None, ("states", await reading.states(here.store))))


# ------------------------------------------------------------------------------------------ for the signup system


def follower(request: Request) -> int:
    """Return the website that a request may follow. Raises 401 or 403."""
    number, here = website_id(request), desk(request)
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    token = request.query_params.get("token") or (bearer if scheme.lower() == "bearer" else "")
    if not here.followers.may(token, number):
        person(request, Role.SIGNUP, Role.READER, Role.OPERATOR)
    return number


async def provisioning(request: Request) -> Response:
    """Answer a website's progress, in words for its customer."""
    number = follower(request)
    found = await desk(request).pulse.progress([number])
    if number not in found:
        raise HTTPException(404, f"there is no website {number}")
    return JSONResponse(found[number], headers=across_origins(request))


async def provisioning_events(request: Request) -> Response:
    """Stream a website's progress, whenever it changes."""
    number, here = follower(request), desk(request)
    here.pulse.room(number)
    found = await here.pulse.progress([number])
    if number not in found:
        raise HTTPException(404, f"there is no website {number}")
    return streamed(here.pulse.stream(number, ("provisioning", found[number])), across_origins(request))


async def follow_token(request: Request) -> Response:
    """Make a token by which a customer's browser may follow this website."""
    who, here, number = person(request, Role.SIGNUP, Role.OPERATOR), desk(request), website_id(request)
    said = await body(request)
    meant(request, who, said)
    token, expires = here.followers.mint(number, whole(said, "seconds", HOUR))
    path = f"/api/websites/{number}/provisioning"
    return JSONResponse(
        {
            "token": token,
            "expires_at": datetime.fromtimestamp(expires, UTC).isoformat(),
            "url": f"{path}?token={token}",
            "events_url": f"{path}/events?token={token}",
        },
        201,
    )


def across_origins(request: Request) -> dict[str, str]:
    """Return the headers that let the signup system's pages read an answer; never with cookies."""
    origin = request.headers.get("origin", "")
    allowed = origin in words(desk(request).console.follow_origins)
    return {"access-control-allow-origin": origin, "vary": "origin"} if allowed else {}


def streamed(source: AsyncIterator[bytes], headers: dict[str, str] | None = None) -> Response:
    """Return server-sent events as an answer; no proxy may collect them."""
    return StreamingResponse(
        source, media_type="text/event-stream", headers={"x-accel-buffering": "no"} | (headers or {})
    )


async def openapi(request: Request) -> Response:
    """Answer this API's own description; it holds nothing that strangers may not know."""
    return JSONResponse(document(request.app.routes))


ROUTES = [
    Route("/api/openapi.json", openapi),
    Route("/api/websites", websites),
    Route("/api/websites/{website_id:int}", website),
    Route("/api/websites/{website_id:int}/provisioning", provisioning),
    Route("/api/websites/{website_id:int}/provisioning/events", provisioning_events),
    Route("/api/websites/{website_id:int}/follow-token", follow_token, methods=["POST"]),
    Route("/api/websites/{website_id:int}/{verb}", command, methods=["POST"]),
    Route("/api/machine", machine),
    Route("/api/figures", figures),
    Route("/api/events", events),
    *failures_api.ROUTES,
    *letters_api.ROUTES,
    *workers_api.ROUTES,
]
