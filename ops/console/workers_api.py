"""The JSON API for the pool: who works, pause and resume, and the doctor's report."""

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ops import pausing
from ops.console.desk import body, desk, meant, person, plain, shown_to
from ops.console.people import Role

ANSWER_SECONDS = 8.0
"""Longer than workers take to notice; who has more to finish answers later, and the list shows when."""
VERBS: dict[str, pausing.Verb] = {"pause": "pause", "resume": "resume"}
ALL = "all"
NOT_YET = 202


async def ask(request: Request) -> dict[str, Any]:
    """Pause or resume whom the body names, for an operator who means it; return the answers.

    Raises:
        HTTPException: there is no such verb or worker, or this person may not.
        Unusable: no reason, or one alone cannot go on.
    """
    who, here, verb = person(request, Role.OPERATOR), desk(request), VERBS.get(request.path_params["worker_verb"])
    said = await body(request)
    meant(request, who, said)
    worker = said.get("worker")
    if verb is None:
        raise HTTPException(404, f"there is no verb {request.path_params['worker_verb']}: {', '.join(VERBS)}")
    if not isinstance(worker, str) or not worker.strip():
        raise HTTPException(400, f"worker: must be {ALL}, an id or HOST:PID")
    try:
        return await pausing.want(
            here.store, verb, None if worker == ALL else [worker],
            actor=who.actor, reason=plain(str(said.get("reason") or "")), seconds=ANSWER_SECONDS,
        )  # fmt: skip
    except pausing.NoWorker as nobody:
        raise HTTPException(404, str(nobody)) from None


async def workers(request: Request) -> Response:
    """Answer who works, and who has paused whom."""
    who = person(request)
    return JSONResponse(shown_to(who, await pausing.workers(desk(request).store)))


async def command(request: Request) -> Response:
    """Pause or resume; answer what the workers answered."""
    result = await ask(request)
    return JSONResponse(result, 200 if result["answered"] else NOT_YET)


async def doctor(request: Request) -> Response:
    """Answer the doctor's report."""
    who = person(request)
    return JSONResponse(shown_to(who, await desk(request).checkup.report()))


ROUTES = [
    Route("/api/workers", workers),
    Route("/api/workers/{worker_verb}", command, methods=["POST"]),
    Route("/api/doctor", doctor),
]
