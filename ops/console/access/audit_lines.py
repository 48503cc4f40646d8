"""Writes the audit lines of what has no row: denied requests, sign-ins and sign-outs, tokens to follow a website."""

from typing import Any

from fastapi import Request

from ops.audit.identity_proof import Proof
from ops.audit.log_file import Outcome, audit_log
from ops.console.access.auth import Person, client_address

SIGN_IN, SIGN_OUT = "sign-in", "sign-out"
DENIED_STATUSES = (401, 403)
MAX_PATH = 200
READS = ("GET", "HEAD")


def log_denied(request: Request, why: str) -> None:
    """Write that a request was denied: unknown sender, wrong role, cross-site request, or a quota that is used up.

    A request that only reads, and has no credentials, is not logged: browsers send it before the login.
    """
    person: Person | None = getattr(request.state, "claimed", None)
    reads = request.method in READS
    if person is None and reads and not _has_credentials(request):
        return
    _write(
        request,
        _action_of(request),
        "failure",
        person,
        denied=True,
        kinds=("access",) if reads else ("change",),
        why=why,
    )


def log_sign_in(request: Request, person: Person | None) -> None:
    """Write that somebody has signed in; None: that the token was wrong, or one of a role that may not sign in."""
    _write(
        request, SIGN_IN, "success" if person else "failure", person, denied=person is None,
        category="authentication", kinds=("start",), why=None if person else "the token is wrong, or may not sign in",
    )  # fmt: skip


def log_sign_out(request: Request, person: Person) -> None:
    """Write that somebody has signed out."""
    _write(request, SIGN_OUT, "success", person, category="session", kinds=("end",))


def log_done(request: Request, person: Person, action: str, target: str) -> None:
    """Write an action that has no row."""
    _write(request, action, "success", person, kinds=("access",), target=target)


def _write(request: Request, action: str, outcome: Outcome, person: Person | None, **fields: Any) -> None:
    audit_log.write(
        action, outcome, actor=person.actor if person else "",
        proof=person.proof if person else Proof(source=client_address(request)),
        http__request__method=request.method, url__path=request.url.path[:MAX_PATH], **fields,
    )  # fmt: skip


def _action_of(request: Request) -> str:
    """Return the verb that was asked for, else the name of the route, as in the API's description."""
    route = request.scope.get("route")
    verb = request.path_params.get("verb")
    return str(verb) if verb else str(getattr(route, "name", request.method))


def _has_credentials(request: Request) -> bool:
    """Return whether a request has a token or a session cookie, valid or not."""
    people = request.app.state.context.authenticator
    return bool(
        request.headers.get("authorization")
        or request.cookies.get(people.cookie_name(request))
        or request.query_params.get("token")
    )
