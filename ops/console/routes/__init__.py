"""The routes of the console, a file for each resource: its JSON API under /api, and its pages."""

from typing import Any

from fastapi import FastAPI, Security
from fastapi.security import HTTPBearer
from pydantic import BaseModel

from ops.console.routes import (
    dead_letters,
    doctor,
    failed_websites,
    operator_actions,
    overview,
    progress,
    session,
    signups,
    websites,
    workers,
)


class Problem(BaseModel):
    """Every error of the API."""

    error: str
    """What is wrong, in plain English; of a value: the field, and what is allowed."""


PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "a value cannot be used"},
    401: {"model": Problem, "description": "the sender is not known: no token, session or proxy that is valid"},
    403: {"model": Problem, "description": "the person's role may not do this"},
    404: {"model": Problem, "description": "there is no such website, dead letter, requeue, worker or verb"},
    429: {"model": Problem, "description": "as much is under way as one person or token may have"},
    503: {"model": Problem, "description": "PostgreSQL or RabbitMQ is away, or as much is under way as may be"},
    "default": {"model": Problem, "description": "any other error"},
}
BEARER = Security(HTTPBearer(scheme_name="token", auto_error=False))
"""For the API's description alone: the person is authenticated by `ops.console.routes.authorization.Requires`."""
BOTH = (websites, failed_websites, dead_letters, workers, operator_actions, doctor, overview)
WITH_API, WITH_PAGES = (progress, signups, *BOTH), (session, *BOTH)
"""The resources that have routes under /api, and those that have pages. Of two routes that fit a path the first
answers, so `progress` stands before the verbs of websites."""


def add_routes(app: FastAPI) -> None:
    """Add all routes."""
    for resource in WITH_API:
        app.include_router(resource.api, prefix="/api", responses=PROBLEMS, dependencies=[BEARER])
    for resource in WITH_PAGES:
        app.include_router(resource.pages, include_in_schema=False)
