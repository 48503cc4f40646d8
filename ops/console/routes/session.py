"""A person's session in a browser: begun with a token, ended by signing out."""

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse

from ops.console.access.audit_lines import log_sign_in, log_sign_out
from ops.console.access.auth import client_address
from ops.console.access.concurrency_limits import holder_of
from ops.console.access.cross_site import refuse_cross_site_login
from ops.console.access.tokens import Role
from ops.console.context import Console
from ops.console.pages.rendering import render
from ops.console.routes.authorization import Reader
from ops.console.routes.inputs import NoFields, Posted, read_fields

pages = APIRouter()


@pages.get("/login")
async def login_page(request: Request) -> Response:
    """Ask for a token."""
    return render(request, "login.html", None)


@pages.post("/login")
async def login(request: Request, context: Console) -> Response:
    """Let in who has a token."""
    refuse_cross_site_login(request, context.console.public_url)
    token = str((await read_fields(request)).get("token") or "")
    people = context.authenticator
    person = people.by_token(token, ambient=True)
    if person is None or person.role == Role.SIGNUP:
        log_sign_in(request, None)
        return render(request, "login.html", None, 401, wrong=True)
    person = request.state.claimed = replace(person, source=client_address(request))
    context.quotas.reserve_request(request, holder_of(person))
    earlier = people.claimed(request)
    if earlier is not None:
        await people.sign_out(earlier)
    cookie = await people.sign_in(person)
    log_sign_in(request, person)
    answer = RedirectResponse("/", 303)
    answer.set_cookie(
        people.cookie_name(request), cookie, people.sessions.lifetime_seconds,
        httponly=True, samesite="strict", secure=people.is_https(request),
    )  # fmt: skip
    return answer


@pages.post("/logout")
async def logout(
    request: Request, context: Console, person: Reader, _confirmed: Annotated[NoFields, Depends(Posted(NoFields))]
) -> Response:
    """End a session, in every process: its cookie is worth nothing from now on."""
    people = context.authenticator
    await people.sign_out(person)
    log_sign_out(request, person)
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(people.cookie_name(request), httponly=True, samesite="strict", secure=people.is_https(request))
    return answer
