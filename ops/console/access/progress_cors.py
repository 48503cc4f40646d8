"""CORS for the progress routes: pages of other origins may read their answers, errors included."""

import re

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from ops.console.access.settings import ConsoleSettings, comma_separated

PROGRESS = re.compile(r"/api/websites/\d+/provisioning(/events)?")


class ProgressCors:
    """The outermost middleware: Starlette's CORS for the two progress routes, and for no others; never with cookies."""

    def __init__(self, app: ASGIApp, console: ConsoleSettings) -> None:
        """Wrap `app`; the origins are those of `PROVISIONER_CONSOLE_FOLLOW_ORIGINS`."""
        self._app = app
        origins = comma_separated(console.follow_origins)
        self._with_cors = CORSMiddleware(
            app, allow_origins=origins, allow_methods=["GET"], allow_headers=["authorization", "last-event-id"]
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        follows = scope["type"] == "http" and PROGRESS.fullmatch(scope["path"])
        await (self._with_cors if follows else self._app)(scope, receive, send)
