"""Errors as answers: `{"error": text}` for programs and a page for people, in plain English, with a status code."""

import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from consumer.domain.validation_texts import validation_text
from consumer.error_classification import classify
from consumer.telemetry.logs import log
from ops.console.access.audit_lines import DENIED_STATUSES, log_denied
from ops.console.access.concurrency_limits import OwnQuotaError, QuotaError
from ops.console.pages.rendering import PrintableJSON, render
from ops.dead_letters.actions import SelectionChangedError
from ops.dead_letters.edited_copies import EditRefusedError
from ops.dead_letters.queue_lease import LeaseHeldError
from ops.errors import InvalidInputError, NotFoundError
from ops.errors.reports import report_error
from ops.workers.queries import UnknownWorkerError

UNAUTHORIZED, SERVICE_UNAVAILABLE = 401, 503
STATUSES: dict[type[Exception], int] = {
    InvalidInputError: 400,
    EditRefusedError: 400,
    NotFoundError: 404,
    UnknownWorkerError: 404,
    LeaseHeldError: 409,
    SelectionChangedError: 409,
    OwnQuotaError: 429,
    QuotaError: 503,
}
"""Errors of what was asked for; their text says what to do."""
UNNAMED = ("query", "path", "body", "OwnerByEmail", "OwnerById")
"""Parts of an error's place that mean nothing to whoever sent the request."""
LONGEST_TRACEBACK = 8


def add_error_answers(app: FastAPI) -> None:
    """Make an application answer errors as this module does."""
    for error in (HTTPException, RequestValidationError, *STATUSES):
        app.add_exception_handler(error, answer_refusal)


async def answer_refusal(request: Request, error: Exception) -> Response:
    """Answer a refused request with the reason; denied requests are written to the audit log, too."""
    match error:
        case HTTPException():
            if error.status_code in DENIED_STATUSES:
                log_denied(request, error.detail)
            return error_answer(request, error.status_code, error.detail)
        case RequestValidationError():
            return error_answer(request, 400, describe_first(error.errors()))
        case _:
            status = next(status for kind, status in STATUSES.items() if isinstance(error, kind))
            is_quota = isinstance(error, OwnQuotaError | QuotaError)
            headers = {"retry-after": "10"} if is_quota else None
            if is_quota:
                log_denied(request, str(error))
            return error_answer(request, status, str(error), headers)


def answer_failure(request: Request, error: Exception) -> Response:
    """Answer an error that nobody expected: a server that is away, or a defect, which is logged."""
    report = report_error(error)
    if report.status != SERVICE_UNAVAILABLE:
        log.error("request failed", error=classify(error).error, traceback=_traceback(error))
    text = "an unexpected error; the console's log has it" if report.defect else report.text
    return error_answer(request, report.status, text)


def error_answer(request: Request, status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    """Return an error: JSON for programs, a page for people; who is not signed in is led to the login."""
    if status == UNAUTHORIZED:
        headers = {"www-authenticate": "Bearer"}
    if request.url.path.startswith(("/api/", "/static/", "/livez")):
        return PrintableJSON({"error": text}, status, headers)
    if status == UNAUTHORIZED and request.method == "GET":
        return RedirectResponse("/login", 303)
    person = getattr(request.state, "person", None)
    answer = render(request, "error.html", person, status, text=text)
    answer.headers.update(headers or {})
    return answer


def describe_first(errors: Sequence[Any]) -> str:
    """Return the first of pydantic's errors as a sentence of ours: the field, and what is allowed."""
    first = errors[0]
    field = ".".join(str(part) for part in first["loc"] if part not in UNNAMED)
    return f"{field}: {validation_text(first)}" if field else validation_text(first)


def _traceback(error: Exception) -> list[str]:
    """Return where it happened, without any value."""
    frames = traceback.extract_tb(error.__traceback__, limit=-LONGEST_TRACEBACK)
    return [f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames]
