"""The overview: the machine, how many websites are in each state (as an event stream, too), and figures."""

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from ops.console.context import Console
from ops.console.pages.diagram import draw
from ops.console.pages.rendering import render
from ops.console.routes.authorization import Reader
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


@api.get(
    "/events",
    response_model=None,
    responses={200: {"content": {"text/event-stream": {}}, "description": "server-sent events"}},
)
async def stream_states(request: Request, context: Console, _: Reader) -> Response:
    """Stream server-sent events `states`: how many websites are in each state, whenever it changes."""
    context.quotas.reserve_stream(request)
    return context.broadcaster.response(None, "states", await queries.state_counts(context.store))


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
