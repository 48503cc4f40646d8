"""The overview: its figures and the machine with how many websites are in each state, as an event stream, too."""

from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from pydantic import BaseModel

from ops.console.context import Console
from ops.console.pages.diagram import draw
from ops.console.pages.rendering import render
from ops.console.routes.authorization import Reader, still_signed_in
from ops.console.routes.inputs import ApiRoute
from ops.websites import queries, service_figures
from statemachine import TRANSITIONS, State

api, pages = APIRouter(route_class=ApiRoute), APIRouter()
LATEST_FAILED = 5


class Machine(BaseModel):
    """How many websites are in each state, and the transitions between them."""

    states: dict[str, int]
    transitions: list[dict[str, Any]]


class Figures(BaseModel, extra="allow"):
    """How the service does; `oldest` and `time_to_live` are null where there is nothing to tell."""

    last_minute: dict[str, int]
    oldest: dict[str, Any] | None
    time_to_live: dict[str, Any] | None


@api.get("/machine", response_model=Machine)
async def show_machine(context: Console, _: Reader) -> Any:
    """Return the machine's transitions, and how many websites are in each state."""
    edges = [
        {"trigger": edge.trigger, "from": list(edge.sources), "to": edge.target, "guard": [g.key for g in edge.guard]}
        for edge in TRANSITIONS
    ]
    return {"states": await queries.state_counts(context.store), "transitions": edges}


@api.get("/figures", response_model=Figures)
async def show_figures(context: Console, _: Reader) -> Any:
    """Return figures of the last minute, the oldest website under way, and the time to live of recent ones."""
    return await service_figures.service_figures(context.store, await context.broadcaster.estimates())


class Queues(BaseModel):
    """Messages that wait in the workers' two queues."""

    signups: int
    commands: int


class OldestWebsite(BaseModel):
    """The website that has been under way longest, and for how many seconds."""

    website_id: int
    seconds: float


class PauseInForce(BaseModel):
    """Who has paused a worker, or `all`, and why."""

    worker: str
    actor: str
    reason: str
    since: str


class WorkerCounts(BaseModel):
    """Workers seen lately, how many of them are paused, how many were not seen; and the first eight pauses."""

    live: int
    paused: int
    not_seen: int
    pauses: list[PauseInForce]


class DoctorFinding(BaseModel, extra="allow"):
    """A finding of the doctor."""

    area: str
    what: str
    level: str
    have: str
    need: str
    next: str


class DoctorVerdict(BaseModel):
    """The doctor's worst level, how many findings of each, and the worst where it is a warning or a failure."""

    worst: str
    counts: dict[str, int]
    finding: DoctorFinding | None


class OverviewItem(BaseModel):
    """A figure in words: its level as the doctor's (ok, unknown, warn, fail), what to do, and the page about it."""

    name: str
    level: str
    label: str
    text: str
    next: str
    page: str


class ReadAt(BaseModel):
    """When each source was read, in UTC; null where it was not."""

    database: str | None
    queues: str | None
    dead_letters: str | None
    doctor: str | None


class Overview(BaseModel):
    """How the service does. What could not be read is null, with the reason in `away`."""

    at: str
    every_seconds: float
    """In how many seconds the next reading follows, while somebody looks."""
    failed: int | None
    failed_elsewhere: int | None
    """Failed websites that this service never provisioned: the existing product's matter."""
    dead_letters: int | None
    queues: Queues | None
    oldest: OldestWebsite | None
    workers: WorkerCounts | None
    on_defaults: int | None
    """Websites that went live on defaults within a day; 1001 stands for more than a thousand."""
    doctor: DoctorVerdict | None
    away: dict[str, str]
    read_at: ReadAt
    items: list[OverviewItem]


@api.get("/overview", response_model=Overview)
async def show_overview(context: Console, person: Reader) -> Any:
    """Return how the service does, some seconds old at most: failed, dead letters, waiting, workers, the doctor."""
    overview = await context.overview.current()
    if overview is None:
        raise HTTPException(503, "the overview is not read yet; try again in a second")
    return person.view(overview)


@api.get(
    "/events",
    response_model=None,
    responses={200: {"content": {"text/event-stream": {}}, "description": "server-sent events"}},
)
async def stream_states(request: Request, context: Console, person: Reader) -> Response:
    """Stream server-sent events: `states`, how many websites are in each, whenever that changes; `overview`, as
    `/api/overview` returns it, every few seconds."""
    context.quotas.reserve_stream(request)
    context.overview.wake()

    first = {"states": await queries.state_counts(context.store)}
    if context.overview.latest:
        first["overview"] = person.view(context.overview.latest)
    return context.broadcaster.response(None, first, view=person.view, may_follow=still_signed_in(context, person))


@pages.get("/")
async def overview_page(request: Request, context: Console, person: Reader) -> Response:
    """Show the machine with the numbers in its states, and what failed last."""
    counts = await queries.state_counts(context.store)
    failed = await queries.search_websites(context.store, state=State.FAILED, limit=LATEST_FAILED)
    figures = await service_figures.service_figures(context.store, await context.broadcaster.estimates())
    drawing = draw(counts)
    return render(
        request, "overview.html", person, counts=counts, figures=figures, failed=failed["websites"],
        size=(drawing.width, drawing.height),
        boxes=[(box.state, box.x, box.y, box.words, box.count) for box in drawing.boxes],
        arrows=[(arrow.path, arrow.kind, arrow.title) for arrow in drawing.arrows],
    )  # fmt: skip
