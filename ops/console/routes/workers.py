"""Worker processes: listed, paused and resumed, one or all."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, BeforeValidator

from ops.audit.queries import recent_actions
from ops.console.access.auth import Person
from ops.console.context import Console, Context
from ops.console.pages.rendering import render
from ops.console.routes.authorization import Operator, Reader
from ops.console.routes.inputs import ApiRoute, Line, Posted, verb_in_path
from ops.workers import pause, queries

api, pages = APIRouter(route_class=ApiRoute), APIRouter()
ANSWER_SECONDS = 8.0
"""Longer than workers take to notice; who has more to finish answers later, and the list shows when."""
VERBS: tuple[pause.Verb, ...] = ("pause", "resume")
ALL = "all"
ACTIONS_READ, ACTIONS_SHOWN = 200, 10
"""Of so many latest actions of all kinds, so many of workers are shown."""


def _worker_name(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"must be {ALL}, an id or HOST:PID")
    return value


class PauseRequest(BaseModel):
    """Which worker, `all` of them, an id or HOST:PID; and why."""

    worker: Annotated[str, BeforeValidator(_worker_name)]
    reason: Line = ""


class WorkerStatus(BaseModel, extra="allow"):
    """A worker process. `pause` is what is wanted of it, null where nothing is; `paused` what it has answered."""

    id: str
    name: str
    host: str
    pid: int
    version: str
    since: str
    seen_at: str
    unseen_seconds: float
    stale: bool
    in_flight: int
    last_delivery_at: str | None
    paused: bool
    pause: dict[str, str] | None


class WorkerList(BaseModel):
    """The worker processes, and who has paused all of them, or null."""

    paused: dict[str, str] | None
    workers: list[WorkerStatus]


class PauseResult(BaseModel, extra="allow"):
    """What the workers answered."""

    verb: str
    everybody: bool
    answered: bool
    outcome: str
    workers: list[WorkerStatus]
    action_ids: list[int]


PathVerb = Annotated[pause.Verb, verb_in_path(VERBS)]
PostedPause = Annotated[PauseRequest, Depends(Posted(PauseRequest))]


@api.get("/workers", response_model=WorkerList)
async def list_workers(context: Console, person: Reader) -> Any:
    """Return the worker processes, and who has paused them."""
    return person.view(await queries.known_workers(context.store))


@pages.get("/workers")
async def workers_page(request: Request, context: Console, person: Reader, asked: str | None = None) -> Response:
    """Show who works, and what was done to them last."""
    done = [act for act in await recent_actions(context.store, limit=ACTIONS_READ) if act["verb"] in VERBS]
    return render(
        request, "workers.html", person, pool=await queries.known_workers(context.store), done=done[:ACTIONS_SHOWN],
        asked=asked if asked in VERBS else None,
    )  # fmt: skip


@api.post(
    "/workers/{verb}",
    response_model=PauseResult,
    responses={202: {"model": PauseResult, "description": "it is wanted; some have not answered yet"}},
)
async def pause_or_resume(
    response: Response, context: Console, person: Operator, verb: PathVerb, wanted: PostedPause
) -> Any:
    """Pause or resume a worker, or all; return what the workers answered."""
    result = await _pause_or_resume(context, person, verb, wanted)
    if not result["answered"]:
        response.status_code = 202
    return result


@pages.post("/workers/{verb}")
async def pause_or_resume_by_page(context: Console, person: Operator, verb: PathVerb, wanted: PostedPause) -> Response:
    """Pause or resume, and show the workers again."""
    result = await _pause_or_resume(context, person, verb, wanted)
    return RedirectResponse(f"/workers?asked={result['verb']}", 303)


async def _pause_or_resume(context: Context, person: Person, verb: pause.Verb, wanted: PauseRequest) -> dict[str, Any]:
    """Pause or resume. Raises UnknownWorkerError, InvalidInputError: as `pause.pause_or_resume`."""
    return await pause.pause_or_resume(
        context.store, verb, None if wanted.worker == ALL else [wanted.worker],
        actor=person.actor, reason=wanted.reason, seconds=ANSWER_SECONDS, proof=person.proof,
    )  # fmt: skip
