"""Actions of people: found page by page, shown with their items."""

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, BeforeValidator, Field

from consumer.messages.inbound_contracts import MAX_ID
from ops.audit.queries import ActionFilter, action_details, find_actions
from ops.audit.trail import RESULTS
from ops.console.access.auth import Person
from ops.console.context import Console, Context
from ops.console.pages.rendering import render
from ops.console.routes.authorization import Reader
from ops.console.routes.inputs import WHOLE_OR_NONE, ApiRoute, OptionalLine, OptionalWhole, typed_query
from ops.errors import NotFoundError

api, pages = APIRouter(route_class=ApiRoute), APIRouter()
PAGE_SIZE, MAX_PAGE_SIZE, ITEMS_SHOWN = 50, 500, 200
AGES = (("3600", "1 hour"), ("86400", "1 day"), ("604800", "1 week"))


def _result(value: object) -> object:
    if value and value not in RESULTS:
        raise ValueError(f"must be one of {', '.join(RESULTS)}")
    return value or None


class WantedActions(BaseModel):
    """Filters of the list; an empty or missing one selects all. `before` is the `next` of the page before."""

    person: OptionalLine = None
    action: OptionalLine = None
    target: OptionalLine = None
    website_id: OptionalWhole = None
    outcome: Annotated[str | None, BeforeValidator(_result)] = None
    since_seconds: Annotated[Annotated[int, Field(le=10**9)] | None, WHOLE_OR_NONE] = None
    before: OptionalWhole = None
    limit: Annotated[Annotated[int, Field(ge=1, le=MAX_PAGE_SIZE)] | None, WHOLE_OR_NONE] = PAGE_SIZE

    async def find(self, context: Context, person: Person) -> dict[str, Any]:
        """Return a page of actions, as this person may see it. What only operators may read, only they may search."""
        wanted = ActionFilter(
            self.person, self.action, self.target, self.website_id, self.outcome, self.since_seconds,
            addresses=person.is_operator,
        )  # fmt: skip
        found = await find_actions(context.store, wanted, before=self.before, limit=self.limit or PAGE_SIZE)
        shown: dict[str, Any] = person.view(found | {"items": [_shown(action) for action in found["items"]]})
        return shown


class ActionSummary(BaseModel):
    """One action: who (`actor` is the name in history, `person` the name that `proof` proves), what, on what, and the
    outcome. `result` is success, partly, failure or open (not known); null in rows from before version 0.2.0."""

    id: int
    occurred_at: str
    settled_at: str | None
    actor: str
    person: str | None
    proof: str | None
    verb: str
    target: str | None
    reason: str | None
    outcome: str | None
    result: str | None
    items: int
    website_id: int | None
    message_id: str | None
    detail: dict[str, Any]


class ActionPage(BaseModel):
    """A page of actions, the latest first; `next` is the `before` of the next page, null on the last."""

    items: list[ActionSummary]
    next: int | None
    total: int


class ActionItemResult(BaseModel):
    """The outcome of an action for one website, dead letter or worker; null where it is not known."""

    item: int
    website_id: int | None
    message_id: str | None
    detail: dict[str, Any]
    outcome: str | None


class ActionDetails(ActionSummary):
    """One action with a page of its items; `next` is the `after` of the next page, null on the last."""

    results: list[ActionItemResult]
    next: int | None


Wanted = Annotated[WantedActions, Query()]
AfterItem = Annotated[OptionalWhole, Query()]


@api.get("/actions", response_model=ActionPage)
async def list_actions(context: Console, person: Reader, wanted: Wanted) -> Any:
    """Return a page of actions of people, the latest first."""
    return await wanted.find(context, person)


@pages.get("/actions")
async def actions_page(request: Request, context: Console, person: Reader, wanted: Wanted) -> Response:
    """Show the actions of people, by filters, page by page."""
    found = await wanted.find(context, person)
    asked = typed_query(request, WantedActions)
    asked.pop("before", None)
    return render(
        request, "actions.html", person, actions=found["items"], total=found["total"], asked=asked, ages=AGES,
        results=RESULTS, further=urlencode(asked | {"before": found["next"]}) if found["next"] else None,
    )  # fmt: skip


@api.get("/actions/{action_id:int}", response_model=ActionDetails)
async def show_action(context: Console, person: Reader, action_id: int, after: AfterItem = None) -> Any:
    """Return one action with a page of its items."""
    return person.view(await _details(context, action_id, after))


@pages.get("/actions/{action_id:int}")
async def action_page(
    request: Request, context: Console, person: Reader, action_id: int, after: AfterItem = None
) -> Response:
    """Show one action with its items."""
    return render(request, "action.html", person, action=await _details(context, action_id, after))


async def _details(context: Context, action_id: int, after: int | None) -> dict[str, Any]:
    if action_id > MAX_ID:
        raise NotFoundError(f"there is no action {action_id}")
    found = await action_details(context.store, action_id, after=min(after or 0, 2**31 - 1), limit=ITEMS_SHOWN)
    return _shown(found)


def _shown(action: dict[str, Any]) -> dict[str, Any]:
    settled = action["settled_at"]
    return action | {
        "occurred_at": action["occurred_at"].isoformat(), "settled_at": settled.isoformat() if settled else None
    }  # fmt: skip
