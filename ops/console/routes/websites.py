"""Websites: found page by page, shown whole, explained, and moved by verbs."""

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, BeforeValidator, Field

from consumer.domain.existing_product_states import LockedState, locked_state, our_state
from ops.console.access.auth import Person
from ops.console.context import Console, Context
from ops.console.pages.rendering import render
from ops.console.routes.authorization import Operator, Reader
from ops.console.routes.inputs import (
    WHOLE_OR_NONE,
    ApiRoute,
    Line,
    OptionalLine,
    Posted,
    Reason,
    WebsiteId,
    Whole,
    typed_query,
    verb_in_path,
)
from ops.errors import NotFoundError
from ops.websites import verb_execution
from ops.websites.explain import explain_website
from ops.websites.queries import MAX_PAGE_SIZE, search_websites, website_details
from ops.websites.verb_registry import VERBS, VERBS_BY_NAME
from statemachine import State

api, pages = APIRouter(route_class=ApiRoute), APIRouter()
DEFAULT_PAGE_SIZE = 50


def _state(value: str | None) -> State | LockedState | None:
    """Return a state by its name. Raises ValueError: of two enums pydantic would name the states of one."""
    found = our_state(value) or locked_state(value or "")
    if value and found is None:
        raise ValueError(f"must be one of {', '.join((*State, *LockedState))}")
    return found


class WebsiteFilter(BaseModel):
    """Which websites are listed; what is left out or empty asks for nothing."""

    state: Annotated[State | LockedState | None, BeforeValidator(_state)] = None
    site_type: OptionalLine = None
    seed_pack: OptionalLine = None
    on_defaults: Annotated[bool, BeforeValidator(lambda value: value or False)] = False
    q: OptionalLine = None
    after: OptionalLine = None
    limit: Annotated[Annotated[int, Field(ge=1, le=MAX_PAGE_SIZE)] | None, WHOLE_OR_NONE] = DEFAULT_PAGE_SIZE

    async def search(self, context: Context, person: Person) -> dict[str, Any]:
        """Return a page of websites. What only operators may read, only they may search."""
        return await search_websites(
            context.store, state=self.state, site_type=self.site_type, seed_pack=self.seed_pack, text=self.q,
            on_defaults=self.on_defaults, after=self.after, limit=self.limit or DEFAULT_PAGE_SIZE,
            by_email=person.is_operator,
        )  # fmt: skip


class WebsiteStatus(BaseModel, extra="allow"):
    """Where a website is. `progress` is a percentage, null in states that have none. `ours`: this service has begun to
    provision it. `next_step`: null where it rests. `under_way`: it comes by itself. `asleep`: nothing sends it.
    `erased_at`: when its owner's data was erased."""

    website_id: int
    subdomain: str | None
    site_type: str | None
    seed_pack: str | None
    state: str
    seq: int
    ours: bool
    next_step: str | None
    under_way: bool
    asleep: bool
    progress: int | None
    message: str
    checklist: dict[str, dict[str, Any]]
    missing: list[str]
    error: str | None
    failed_from: str | None
    attempts: int
    attempt_error: str | None
    next_attempt_at: str | None
    auto_go_live: bool
    skip_properties: bool
    created_at: str
    started_at: str | None
    completed_at: str | None
    failed_at: str | None
    erased_at: str | None


class WebsitePage(BaseModel):
    """A page of websites; `next` is the `after` of the next page, null on the last."""

    websites: list[WebsiteStatus]
    next: str | None


class WebsiteDetails(WebsiteStatus):
    """All that is known of a website."""

    owners: list[str]
    history: list[dict[str, Any]]
    pruned: dict[str, Any] | None
    verbs: list[dict[str, str]]


class Explanation(BaseModel, extra="allow"):
    """Why a website is where it is. `dead_letters` is null where they cannot be read now."""

    status: WebsiteStatus
    guard: dict[str, Any] | None
    requirements: list[dict[str, Any]]
    waits_for: dict[str, str] | None
    last_error: dict[str, Any] | None
    may: list[dict[str, Any]]
    dead_letters: list[dict[str, Any]] | None
    actions: list[dict[str, Any]]


class VerbRequest(BaseModel):
    """A verb for a website: why, and its `seq` as it was seen; `confirm` is its id, typed on the page to destroy it."""

    seq: Whole
    reason: Reason
    confirm: Line = ""


class VerbResult(BaseModel, extra="allow"):
    """What came of a verb: sent, or `why` not."""

    website_id: int
    subdomain: str | None
    state_before: str
    sent: bool
    why: str | None
    message_id: str | None


PathVerb = Annotated[str, verb_in_path(VERBS_BY_NAME)]
PostedVerb = Annotated[VerbRequest, Depends(Posted(VerbRequest))]
Wanted = Annotated[WebsiteFilter, Query()]


@api.get("/websites", response_model=WebsitePage)
async def list_websites(context: Console, person: Reader, wanted: Wanted) -> Any:
    """Return a page of websites, the most recently changed first."""
    return person.view(await wanted.search(context, person))


@pages.get("/websites")
async def websites_page(request: Request, context: Console, person: Reader, wanted: Wanted) -> Response:
    """Show websites by filters and search, page by page."""
    found = await wanted.search(context, person)
    asked = typed_query(request, WebsiteFilter)
    asked.pop("after", None)
    return render(
        request, "websites.html", person, websites=found["websites"], asked=asked,
        states=[state.value for state in (*State, *LockedState)],
        further=urlencode(asked | {"after": found["next"]}) if found["next"] else None,
    )  # fmt: skip


@api.get("/websites/{website_id:int}", response_model=WebsiteDetails)
async def show_website(context: Console, person: Reader, website_id: WebsiteId) -> Any:
    """Return one website: its status, owners, history, and the verbs that it takes now."""
    details = await website_details(context.store, website_id)
    verbs = [{"verb": verb.name, "effect": verb.effect} for verb in VERBS if verb.is_open_to(details)]
    return person.view(details | {"verbs": verbs})


@pages.get("/websites/{website_id:int}")
async def website_page(
    request: Request, context: Console, person: Reader, website_id: WebsiteId, sent: str | None = None
) -> Response:
    """Show one website: where it is, what it has, how it got there, what may be done."""
    return await _website_page(request, context, person, website_id, done=VERBS_BY_NAME.get(sent or ""))


async def _website_page(
    request: Request, context: Context, person: Person, website_id: int, status: int = 200, **notes: Any
) -> Response:
    details = await website_details(context.store, website_id)
    # Its dead letters have a page of their own, so this one asks no broker.
    why = await _explain(context, person, website_id, with_dead_letters=False)
    verbs = [verb for verb in VERBS if verb.is_open_to(details)]
    would = {forecast["verb"]: forecast["would"] for forecast in why["may"]}
    return render(request, "website.html", person, status, site=details, verbs=verbs, why=why, would=would, **notes)


@api.get("/websites/{website_id:int}/explain", response_model=Explanation)
async def explain(context: Console, person: Reader, website_id: WebsiteId) -> Any:
    """Return why a website is where it is."""
    why = await _explain(context, person, website_id, with_dead_letters=True)
    moments = [action | {"occurred_at": action["occurred_at"].isoformat()} for action in why["actions"]]
    return person.view(why | {"actions": moments})


async def _explain(context: Context, person: Person, website_id: int, *, with_dead_letters: bool) -> dict[str, Any]:
    """Return why a website is where it is; the statement of whoever holds its lock, which may say anything, is for
    operators alone."""
    broker = context.broker if with_dead_letters else None
    why = await explain_website(context.store, broker, context.namespace, website_id, context.packs)
    if why["waits_for"] and not person.is_operator:
        why["waits_for"].pop("statement", None)
    return why


@api.post(
    "/websites/{website_id:int}/{verb}",
    response_model=VerbResult,
    status_code=202,
    responses={409: {"model": VerbResult, "description": "not sent: `why` says what stands in the way"}},
)
async def send_verb(
    *, response: Response, context: Console, person: Operator, website_id: WebsiteId, verb: PathVerb, change: PostedVerb
) -> Any:
    """Publish the command of a verb for one website, at the `seq` that was seen; the workers carry it out."""
    result = await _carry_out(context, person, website_id, verb, change)
    if not result["sent"]:
        response.status_code = 409
    return result


@pages.post("/websites/{website_id:int}/{verb}")
async def send_verb_by_page(
    *, request: Request, context: Console, person: Operator, website_id: WebsiteId, verb: PathVerb, change: PostedVerb
) -> Response:
    """Carry out a verb for one website, and show it again."""
    if VERBS_BY_NAME[verb].destroys and change.confirm != str(website_id):
        raise HTTPException(400, f"nothing was sent: to {verb}, type the website's number, {website_id}")
    result = await _carry_out(context, person, website_id, verb, change)
    if not result["sent"]:
        refused = f"Not sent: {result['why']}"
        return await _website_page(request, context, person, website_id, 409, refused=refused)
    return RedirectResponse(f"/websites/{website_id}?sent={verb}", 303)


async def _carry_out(
    context: Context, person: Person, website_id: int, verb: str, change: VerbRequest
) -> dict[str, Any]:
    results = await verb_execution.carry_out(
        context.store, context.broker, context.namespace, VERBS_BY_NAME[verb], [website_id],
        actor=person.actor, reason=change.reason, expected_seqs={website_id: change.seq}, proof=person.proof,
    )  # fmt: skip
    if not results:
        raise NotFoundError(f"there is no website {website_id}")
    return results[0]
