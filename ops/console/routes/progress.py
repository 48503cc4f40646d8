"""A website's progress, for the signup system and its customers: once, as an event stream, and tokens to follow it."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel

from ops.console.access.audit_lines import log_done
from ops.console.access.concurrency_limits import CUSTOMER, Holder
from ops.console.access.tokens import Role
from ops.console.broadcaster import MayFollow
from ops.console.context import Console, context_of
from ops.console.routes.authorization import Requires, SignupSystem, still_signed_in
from ops.console.routes.inputs import ApiRoute, Posted, WebsiteId, Whole
from ops.errors import NotFoundError
from ops.websites.customer_progress import progress_of_absent

api = APIRouter(route_class=ApiRoute)
HOUR = 3600


class CustomerNotice(BaseModel):
    """Why a website does not simply go on: a code, and a sentence for its customer."""

    code: str
    text: str


class TimeLeft(BaseModel):
    """Half of the recent `websites` were live within `seconds` from here, nine of ten within `at_most_seconds`."""

    seconds: float
    at_most_seconds: float
    websites: int


class Progress(BaseModel, extra="allow"):
    """A website's progress as its customer may see it; `time_left` is null where recent websites do not tell."""

    website_id: int
    state: str
    seq: int
    progress: int | None
    message: str
    error: CustomerNotice | None
    checklist: dict[str, dict[str, Any]]
    missing: list[str]
    live_url: dict[str, str | None]
    time_left: TimeLeft | None


class FollowTokenRequest(BaseModel):
    """For how long the token is valid."""

    seconds: Whole = HOUR


class FollowToken(BaseModel):
    """A token, and the addresses at which it opens one website's progress."""

    token: str
    expires_at: str
    url: str
    events_url: str


PostedRequest = Annotated[FollowTokenRequest, Depends(Posted(FollowTokenRequest))]
anybody_signed_in = Requires(Role.SIGNUP, Role.READER, Role.OPERATOR)


async def may_follow_website(request: Request, website_id: WebsiteId, token: str = "") -> MayFollow:
    """Return what a stream asks whether it may go on: the request may follow this website, by its token or its person.

    Raises:
        HTTPException: 401 or 403, where it may not.
    """
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    token = token or (bearer if scheme.lower() == "bearer" else "")
    context = await context_of(request)
    if not context.follow_tokens.is_valid(token, website_id):
        return still_signed_in(context, await anybody_signed_in(request))
    # The signed part: a signature can be written in several ways, and each would have a quota of its own.
    context.quotas.reserve_request(request, Holder(CUSTOMER, token.rpartition(".")[0]))

    async def is_valid() -> bool:
        return context.follow_tokens.is_valid(token, website_id)

    return is_valid


Follower = Annotated[MayFollow, Depends(may_follow_website)]
"""Whoever may follow the website of the path."""


@api.get("/websites/{website_id:int}/provisioning", response_model=Progress)
async def show_progress(context: Console, website_id: WebsiteId, _: Follower) -> Any:
    """Return a website's progress, in words for its customer; also where its signup was rejected."""
    found = await context.broadcaster.progress([website_id])
    if website_id not in found:
        raise NotFoundError(f"there is no website {website_id}")
    return found[website_id]


@api.get(
    "/websites/{website_id:int}/provisioning/events",
    response_model=None,
    responses={200: {"content": {"text/event-stream": {}}, "description": "server-sent events"}},
)
async def stream_progress(request: Request, context: Console, website_id: WebsiteId, may_follow: Follower) -> Response:
    """Stream a website's progress as server-sent events `provisioning`, whenever it changes. It may be opened
    before the website is registered, and ends with the token or the session that opened it."""
    context.quotas.reserve_stream(request, website_id)
    found = await context.broadcaster.progress([website_id])
    progress = found.get(website_id) or progress_of_absent(website_id, context.settings.base_domain)
    return context.broadcaster.response(website_id, {"provisioning": progress}, may_follow=may_follow)


@api.post("/websites/{website_id:int}/follow-token", response_model=FollowToken, status_code=201)
async def make_follow_token(
    request: Request, context: Console, person: SignupSystem, website_id: WebsiteId, wanted: PostedRequest
) -> Any:
    """Make a token by which a browser may follow this website, and no other."""
    token, expires = context.follow_tokens.issue(website_id, wanted.seconds)
    log_done(request, person, "follow-token", f"website {website_id}")
    path = f"/api/websites/{website_id}/provisioning"
    return {
        "token": token,
        "expires_at": datetime.fromtimestamp(expires, UTC).isoformat(),
        "url": f"{path}?token={token}",
        "events_url": f"{path}/events?token={token}",
    }
