"""Authorization of routes: which roles may use one. 401 refuses whoever is unknown, 403 whoever may not."""

from contextlib import suppress
from typing import Annotated

from fastapi import Depends, HTTPException, Request

from consumer.error_classification import SESSION_LOST
from ops.console.access.auth import Person
from ops.console.access.concurrency_limits import holder_of
from ops.console.access.cross_site import refuse_cross_site_call
from ops.console.access.tokens import Role
from ops.console.broadcaster import MayFollow
from ops.console.context import Context, context_of

UNKNOWN = "send a bearer token, sign in, or come by the trusted proxy"


class Requires:
    """A dependency of routes: the person who sent the request, if they have one of these roles."""

    def __init__(self, *roles: Role) -> None:
        """Let in people who have one of `roles`."""
        self._roles = roles

    async def __call__(self, request: Request) -> Person:
        """Return who sent a request, with a place reserved for it.

        Raises:
            HTTPException: 401 for somebody unknown, 403 for somebody who may not, or whom another site's page sent.
            OwnQuotaError, QuotaError: too many requests are under way.
        """
        context = await context_of(request)
        person = context.authenticator.claimed(request)
        if person is None:
            raise HTTPException(401, UNKNOWN)
        request.state.claimed = person
        context.quotas.reserve_request(request, holder_of(person))
        if not await context.authenticator.confirm(person):
            request.state.claimed = None
            raise HTTPException(401, UNKNOWN)
        request.state.person = person
        if request.url.path.startswith("/api/"):
            if person.ambient:
                refuse_cross_site_call(request)
        else:
            # Every page shows it; what is sent by a form is answered with the last one.
            feed = context.overview
            request.state.overview = feed.latest if request.method == "POST" else await feed.current()
        if person.role not in self._roles:
            raise HTTPException(403, f"{person.role} may not do this: {' or '.join(self._roles)} may")
        return person


def still_signed_in(context: Context, person: Person) -> MayFollow:
    """Return what a stream of this person asks from time to time. A database that is away ends no stream."""

    async def is_signed_in() -> bool:
        with suppress(*SESSION_LOST):
            return await context.authenticator.confirm(person)
        return True

    return is_signed_in


Reader = Annotated[Person, Depends(Requires(Role.READER, Role.OPERATOR))]
"""Whoever may read; operators may all that readers may."""
Operator = Annotated[Person, Depends(Requires(Role.OPERATOR))]
SignupSystem = Annotated[Person, Depends(Requires(Role.SIGNUP, Role.OPERATOR))]
"""The signup system, and operators in its place."""
