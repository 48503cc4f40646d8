"""The doctor's report: settings, database, broker, workers and websites, and what to do."""

from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from ops.console.context import Console
from ops.console.pages.rendering import render
from ops.console.routes.authorization import Reader
from ops.console.routes.inputs import ApiRoute

api, pages = APIRouter(route_class=ApiRoute), APIRouter()


class DoctorReport(BaseModel, extra="allow"):
    """The findings, how many there are of each level, the worst, and when they were complete."""

    worst: str
    counts: dict[str, int]
    checked_at: str
    seconds: float
    findings: list[dict[str, Any]]


@api.get("/doctor", response_model=DoctorReport)
async def show_doctor(context: Console, person: Reader, response: Response) -> Any:
    """Return the doctor's report, ten seconds old at most; with status 503 where a server is away."""
    report = await context.doctor.report()
    response.status_code = _status(report)
    return person.view(report)


@pages.get("/doctor")
async def doctor_page(request: Request, context: Console, person: Reader) -> Response:
    """Show what the doctor says."""
    report = await context.doctor.report()
    return render(request, "doctor.html", person, _status(report), report=report)


def _status(report: dict[str, Any]) -> HTTPStatus:
    return HTTPStatus.SERVICE_UNAVAILABLE if report["away"] else HTTPStatus.OK
