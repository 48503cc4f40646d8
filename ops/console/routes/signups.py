"""Signups over HTTP, for those without AMQP: ids, subdomains, and `website.created` published for them."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Header, HTTPException, Request
from pydantic import BaseModel

from consumer.messages.inbound_contracts import OwnerByEmail, OwnerById, WebsiteCreated
from ops.console.access.audit_lines import log_done
from ops.console.context import Console
from ops.console.routes.authorization import SignupSystem
from ops.console.routes.inputs import ApiRoute, NoFields, OptionalWhole, Posted
from ops.errors import InvalidInputError
from ops.websites.signups.subdomain_availability import NameProblem, subdomain_availability
from ops.websites.signups.submission import message_id_of, publish_signup, reserve_ids

api = APIRouter(route_class=ApiRoute)

PostedSignup = Annotated[WebsiteCreated, Depends(Posted(WebsiteCreated))]
PostedNothing = Annotated[NoFields, Depends(Posted(NoFields))]
IdempotencyKey = Annotated[
    str | None,
    Header(description="the message id, a UUID. Without it, the same body has the same message id."),
]


class ReservedId(BaseModel):
    """An id for a website that no website has; nobody else gets it."""

    website_id: int


class SubdomainAvailability(BaseModel):
    """Whether a subdomain may be had at this moment; `reason` is null where it may, `text` is for who typed it."""

    subdomain: str
    available: bool
    reason: NameProblem | None
    text: str


class AcceptedSignup(BaseModel):
    """A signup that the broker has confirmed, and where its progress is."""

    website_id: int
    message_id: UUID
    url: str
    events_url: str


@api.post("/website-ids", response_model=ReservedId, status_code=201)
async def reserve_website_id(context: Console, _: SignupSystem, __: PostedNothing) -> Any:
    """Reserve the id of a website that is to be signed up; for signup systems that have no ids of their own."""
    (website_id,) = await reserve_ids(context.store, 1)
    return {"website_id": website_id}


@api.get("/subdomains/{name}", response_model=SubdomainAvailability)
async def show_subdomain(
    context: Console, _: SignupSystem, name: str, email: str | None = None, website_id: OptionalWhole = None
) -> Any:
    """Return whether a subdomain is valid and free. `email`: of the owner; what is reserved for them is free to them.
    `website_id`: the website that wants it; what it has is free to it."""
    return await subdomain_availability(context.store, name, website_id=website_id, email=email)


@api.post(
    "/websites",
    response_model=AcceptedSignup,
    status_code=202,
    responses={409: {"description": "the subdomain is taken or reserved"}},
)
async def sign_up(
    request: Request,
    context: Console,
    person: SignupSystem,
    signup: PostedSignup,
    idempotency_key: IdempotencyKey = None,
) -> Any:
    """Publish `website.created`, confirmed by the broker. Sent again with the same key, or the same body without one,
    it is carried out once. Its progress says whether the website goes live."""  # fmt: skip
    message_id = _message_id(idempotency_key) if idempotency_key is not None else message_id_of(signup)
    if signup.subdomain is not None:
        owner = signup.owner
        found = await subdomain_availability(
            context.store, signup.subdomain, website_id=signup.website_id,
            email=owner.email if isinstance(owner, OwnerByEmail) else None,
            user_id=owner.user_id if isinstance(owner, OwnerById) else None,
        )  # fmt: skip
        if not found["available"]:
            raise HTTPException(409, f"subdomain: {found['subdomain']} is {found['reason']}; nothing was published")
    await publish_signup(context.broker, context.namespace, signup, message_id)
    log_done(request, person, "sign-up", f"website {signup.website_id}")
    path = f"/api/websites/{signup.website_id}/provisioning"
    return {
        "website_id": signup.website_id, "message_id": message_id, "url": path, "events_url": f"{path}/events",
    }  # fmt: skip


def _message_id(key: str) -> UUID:
    try:
        return UUID(key.strip())
    except ValueError:
        raise InvalidInputError("Idempotency-Key: must be a UUID; it is the message id") from None
