"""The pages about the pool: who works, pause and resume, and what the doctor says."""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from ops import pausing, recording
from ops.console import workers_api
from ops.console.desk import desk, person
from ops.console.pages import SEE_OTHER, page

LATEST = 10


async def workers(request: Request) -> Response:
    """Show who works, and what was done to them last."""
    who, here = person(request), desk(request)
    done = [act for act in await recording.recent(here.store, limit=200) if act["verb"] in workers_api.VERBS]
    asked = request.query_params.get("asked")
    return page(
        request,
        "workers.html",
        who,
        pool=await pausing.workers(here.store),
        done=done[:LATEST],
        asked=asked if asked in workers_api.VERBS else None,
    )


async def command(request: Request) -> Response:
    """Pause or resume, and show the workers again."""
    result = await workers_api.ask(request)
    return RedirectResponse(f"/workers?asked={result['verb']}", SEE_OTHER)


async def doctor(request: Request) -> Response:
    """Show what the doctor says."""
    who = person(request)
    return page(request, "doctor.html", who, report=await desk(request).checkup.report())


ROUTES = [
    Route("/workers", workers),
    Route("/workers/{worker_verb}", command, methods=["POST"]),
    Route("/doctor", doctor),
]
