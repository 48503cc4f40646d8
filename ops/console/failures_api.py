"""The JSON API for failed websites: groups, a preflight, a requeue in bulk; and why a website is where it is."""

from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ops import explaining, failures, forecasting, requeueing
from ops.console.acting import LONGEST_REASON
from ops.console.desk import Desk, body, desk, meant, person, plain, shown_to, website_id
from ops.console.errands import Errand
from ops.console.people import Person, Role
from ops.failures import Chosen
from ops.reading import NotFound, Unusable

CANARY_SECONDS = 60.0
"""How long each batch has."""
WAIT_SECONDS = 5.0
"""How long a request waits for the end of its errand; a longer one is followed by its id."""
CONFLICT, ACCEPTED = 409, 202
MOST_TOLD = 500
FASTEST = 10_000
FILTERS = ("group", "error", "pack", "site_type", "since_seconds", "limit")


def choice(said: Mapping[str, Any]) -> Chosen:
    """Return which failed websites a query or a form means. Raises Unusable."""
    words = {name: plain(str(said[name])) for name in ("group", "error", "pack", "site_type") if said.get(name)}
    limit, since = str(said.get("limit") or failures.MOST), str(said.get("since_seconds") or "")
    if not (limit.isascii() and limit.isdecimal() and 0 < int(limit[:9]) <= failures.MOST):
        raise Unusable(f"limit: must be 1 to {failures.MOST}")
    if since and not (since.isascii() and since.isdecimal() and len(since) < 10):  # noqa: PLR2004 - thirty years
        raise Unusable("since_seconds: must be a whole number of seconds")
    return Chosen(**words, since_seconds=float(since) if since else None, limit=int(limit))


async def preflight(here: Desk, said: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a requeue would come to, as a sentence and website by website. Raises HTTPException, Unusable."""
    told = await forecasting.forecasts(here.store, here.packs, await meant_ids(here, said))
    return forecasting.preflight(told, MOST_TOLD)


async def meant_ids(here: Desk, said: Mapping[str, Any]) -> list[int]:
    """Return the ids of the failed websites that are meant. Raises 404 for a group that there is not."""
    try:
        return await failures.chosen(here.store, choice(said))
    except NotFound as error:
        raise HTTPException(404, str(error)) from None


async def requeue(request: Request) -> Errand:
    """Begin to requeue those whom the body means, for an operator who means it; return the errand.

    Raises:
        HTTPException: there is no such group, or this person may not.
        Unusable: no reason, or too many errands are under way.
    """
    who, here = person(request, Role.OPERATOR), desk(request)
    said = await body(request)
    meant(request, who, said)
    reason = plain(str(said.get("reason") or ""))
    if not 1 <= len(reason) <= LONGEST_REASON:
        raise Unusable(f"reason: say why, in 1 to {LONGEST_REASON} characters")
    ids = await meant_ids(here, said)
    canary = CANARY_SECONDS if said.get("canary") else None

    most = rate(said)

    async def work(errand: Errand) -> None:
        await requeueing.requeue(
            here.store, here.broker, here.settings.namespace, ids, actor=who.actor, reason=reason,
            rate=most, canary_seconds=canary, progress=errand.tell, results=errand.results,
        )  # fmt: skip

    about = {name: said[name] for name in FILTERS if said.get(name)}
    about |= {"websites": len(ids), "canary": canary is not None}
    return here.errands.start(work, actor=who.actor, reason=reason, about=about)


def rate(said: Mapping[str, Any]) -> float | None:
    """Return how many a second a body allows at most; None where it sets no limit. Raises Unusable."""
    text = str(said.get("rate") or "")
    if text and not (text.isascii() and text.isdecimal() and 1 <= int(text[:6]) <= FASTEST):
        raise Unusable(f"rate: must be 1 to {FASTEST} a second")
    return float(text) if text else None


def one_errand(request: Request) -> Errand:
    """Return the errand in the path. Raises 404."""
    found = desk(request).errands.get(request.path_params["errand"])
    if found is None:
        raise HTTPException(404, "this requeue is not known here (any more); each website's history has what was sent")
    return found


async def halt(request: Request) -> Errand:
    """Stop an errand, for an operator who means it. Raises HTTPException."""
    who = person(request, Role.OPERATOR)
    meant(request, who, await body(request))
    found = one_errand(request)
    await desk(request).errands.stop(found, f"stopped by {who.actor}")
    return found


async def groups(request: Request) -> Response:
    """Answer failed websites in groups."""
    who = person(request)
    return JSONResponse(shown_to(who, await failures.groups(desk(request).store)))


async def forecast(request: Request) -> Response:
    """Answer what a requeue would come to."""
    who = person(request)
    return JSONResponse(shown_to(who, await preflight(desk(request), request.query_params)))


async def command(request: Request) -> Response:
    """Requeue, and answer what was sent; one that takes longer is `running`, and followed by its id."""
    errand = await requeue(request)
    await desk(request).errands.ended(errand, WAIT_SECONDS)
    return answered(request, errand)


async def errand(request: Request) -> Response:
    """Answer how far a requeue is."""
    person(request)
    return answered(request, one_errand(request), 200)


async def stop(request: Request) -> Response:
    """Stop a requeue; answer how far it came."""
    return answered(request, await halt(request), 200)


def answered(request: Request, errand: Errand, status: int = ACCEPTED) -> Response:
    """Return an errand as an answer: 409 for a new one that has stopped already."""
    told = shown_to(person(request), errand.told(MOST_TOLD))
    return JSONResponse(told, CONFLICT if errand.stopped and status == ACCEPTED else status)


async def why(request: Request) -> Response:
    """Answer why a website is where it is."""
    who, here, number = person(request), desk(request), website_id(request)
    return JSONResponse(shown_to(who, plainly(for_eyes(who, await explained(here, number)))))


def for_eyes(who: Person, told: dict[str, Any]) -> dict[str, Any]:
    """Leave out, for readers, what a stranger's statement says: it may hold anything."""
    if who.role == Role.OPERATOR or not told["waits_for"]:
        return told
    return told | {"waits_for": {key: value for key, value in told["waits_for"].items() if key != "statement"}}


async def explained(here: Desk, number: int) -> dict[str, Any]:
    """Return why a website is where it is. Raises 404."""
    try:
        return await explaining.explain(here.store, here.broker, here.settings.namespace, number, here.packs)
    except NotFound as error:
        raise HTTPException(404, str(error)) from None


def plainly(told: dict[str, Any]) -> dict[str, Any]:
    """Return an explanation whose moments are texts."""
    return told | {"actions": [act | {"occurred_at": act["occurred_at"].isoformat()} for act in told["actions"]]}


ROUTES = [
    Route("/api/failures", groups),
    Route("/api/failures/preflight", forecast),
    Route("/api/failures/requeue", command, methods=["POST"]),
    Route("/api/failures/requeues/{errand}", errand),
    Route("/api/failures/requeues/{errand}/stop", stop, methods=["POST"]),
    Route("/api/websites/{website_id:int}/explain", why),
]
