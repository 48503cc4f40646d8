"""The outermost layer: what holds for every request and every answer, whichever route it is for.

Security headers, one line of log a request, an answer to every error, HEAD answered as GET without its body, and what
was reserved for a request freed at its end.
"""

import time
from contextlib import ExitStack

from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from consumer.telemetry.logs import log
from ops.console.errors import answer_failure, error_answer

MAX_PATH_LENGTH = 300
"""Characters. The longest path that leads anywhere has about a hundred."""
CONTENT_POLICY = (
    b"default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    b"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = (
    (b"content-security-policy", CONTENT_POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)


class Middleware:
    """Wraps the application."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap `app`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; an error becomes an answer here, if none has begun."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        place = ExitStack()
        scope.setdefault("state", {})["place"] = place
        request, status, ended = Request(scope), 0, False
        head = request.method == "HEAD"
        began = time.monotonic()

        async def answer(message: Message) -> None:
            nonlocal status, ended
            if message["type"] == "http.response.start":
                status = message["status"]
                named = {name for name, _ in message["headers"]}
                added = [header for header in HEADERS if header[0] not in named]
                await send({**message, "headers": [*message["headers"], *added]})
            elif not head:
                await send(message)
            elif not ended:
                ended = True
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        try:
            if len(request.url.path) > MAX_PATH_LENGTH:
                refusal = error_answer(request, 404, f"the path is longer than {MAX_PATH_LENGTH} characters")
                await refusal(scope, receive, answer)
            else:
                await self._app({**scope, "method": "GET"} if head else scope, receive, answer)
        except ClientDisconnect:
            # Nobody is there to be answered; the line of log has no status.
            pass
        except Exception as error:
            if status:
                raise
            await answer_failure(request, error)(scope, receive, answer)
        finally:
            place.close()
            log.info(
                "request",
                type=request.method,
                what=request.url.path[:200],
                state=status,
                duration_ms=round((time.monotonic() - began) * 1000, 1),
            )
