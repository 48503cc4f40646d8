"""Puts the console together: routes, security headers, one line of log a request, errors as people can use them."""

import asyncio
import secrets
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from consumer.app import make_broker, make_packs, make_store
from consumer.broker import Broker, BrokerError
from consumer.config import Settings
from consumer.errors import Infrastructure, classify
from consumer.logs import log
from consumer.store import Store
from ops.console import api, mending_pages, pages, workers_pages
from ops.console.checkup import Checkup
from ops.console.desk import Desk
from ops.console.errands import Errands
from ops.console.following import Followers
from ops.console.people import CSRF_COOKIE, People
from ops.console.pulse import Pulse, TooManyStreams
from ops.console.settings import ConsoleSettings
from ops.reading import Unusable

CONNECTIONS = 4
"""To the database. Reads of people take turns; the workers have the rest."""
STOP_SECONDS = 5
LONGEST_PATH = 300
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


def make_console(
    settings: Settings, console: ConsoleSettings, *, store: Store | None = None, broker: Broker | None = None
) -> Starlette:
    """Return the console as an ASGI application; `store` and `broker` may be handed in by tests."""
    store = store or make_store(settings, size=CONNECTIONS)
    pulse = Pulse(store, domain=settings.base_domain, limit=console.streams_limit)
    broker = broker or make_broker(settings)
    checkup = Checkup(settings, store, broker)
    errands = Errands()
    people, followers = People(console), Followers(console)
    here = Desk(settings, console, store, broker, people, followers, pulse, checkup, make_packs(settings), errands)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        looking = asyncio.create_task(pulse.run(), name="pulse")
        try:
            yield
        finally:
            await errands.close()
            looking.cancel()
            with suppress(asyncio.CancelledError):
                await looking
            await store.close()

    app = Starlette(
        routes=[
            *api.ROUTES,
            *mending_pages.ROUTES,
            *pages.ROUTES,
            *workers_pages.ROUTES,
            Route("/livez", alive),
            Mount("/static", StaticFiles(directory=Path(__file__).parent / "static")),
        ],
        exception_handlers={HTTPException: refused, Unusable: wrong, TooManyStreams: full},
        lifespan=lifespan,
    )
    app.add_middleware(Front, desk=here)
    app.state.desk = here
    return app


async def alive(_: Request) -> Response:
    """Say that the event loop turns; it asks neither database nor broker."""
    return PlainTextResponse("ok\n")


class Front:
    """The outermost layer: what holds for every request and every answer."""

    def __init__(self, app: ASGIApp, desk: Desk) -> None:
        """Stand before `app`."""
        self._app = app
        self._desk = desk

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; an error becomes an answer here, if none has begun."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        secure = self._secure(request)
        kept = request.cookies.get(CSRF_COOKIE)
        csrf = kept or secrets.token_urlsafe(24)
        scope.setdefault("state", {}).update(csrf=csrf, secure=secure)
        began, status = time.monotonic(), 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                named = {name for name, _ in message["headers"]}
                extra = [header for header in HEADERS if header[0] not in named]
                if not kept and _is_page(request):
                    cookie = f"{CSRF_COOKIE}={csrf}; Path=/; HttpOnly; SameSite=Strict" + ("; Secure" if secure else "")
                    extra.append((b"set-cookie", cookie.encode()))
                message = {**message, "headers": [*message["headers"], *extra]}
            await send(message)

        try:
            if len(request.url.path) > LONGEST_PATH:
                await _said(request, 404, "no address of ours is so long")(scope, receive, answer)
            else:
                await self._app(scope, receive, answer)
        except Exception as error:
            if status:
                raise
            await _broken(error, request)(scope, receive, answer)
        finally:
            log.info(
                "request",
                type=request.method,
                what=request.url.path[:200],
                state=status,
                duration_ms=round((time.monotonic() - began) * 1000, 1),
            )

    def _secure(self, request: Request) -> bool:
        public = self._desk.console.public_url
        return public.startswith("https:") if public else request.url.scheme == "https"


def _is_page(request: Request) -> bool:
    return not request.url.path.startswith(("/api/", "/static/", "/livez"))


def _broken(error: Exception, request: Request) -> Response:
    fault = classify(error)
    if isinstance(error, BrokerError):
        return _said(request, 503, f"RabbitMQ is away: {error}")
    if isinstance(fault, Infrastructure):
        return _said(request, 503, f"PostgreSQL is away: {fault.error}")
    log.error("request failed", error=fault.error, traceback=_traceback(error))
    return _said(request, 500, "something went wrong here; the log has it")


def _traceback(error: Exception) -> list[str]:
    """Return where it happened, without any value."""
    places, at = [], error.__traceback__
    while at:
        places.append(f"{at.tb_frame.f_code.co_filename.rpartition('/')[2]}:{at.tb_lineno}")
        at = at.tb_next
    return places[-8:]


def _said(request: Request, status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    """Return an error: JSON for programs, a page for people."""
    if not _is_page(request):
        return JSONResponse({"error": text}, status, headers)
    if status == 401 and request.method == "GET":  # noqa: PLR2004
        return RedirectResponse("/login", 303)
    if "app" not in request.scope:
        return PlainTextResponse(text, status)
    who = request.app.state.desk.people.of(request)
    answer = pages.page(request, "error.html", who, status, text=text)
    answer.headers.update(headers or {})
    return answer


async def refused(request: Request, error: Exception) -> Response:
    """Answer what was refused, with the reason."""
    status, text = getattr(error, "status_code", 400), str(getattr(error, "detail", error))
    return _said(request, status, text, {"www-authenticate": "Bearer"} if status == 401 else None)  # noqa: PLR2004


async def wrong(request: Request, error: Exception) -> Response:
    """Answer a value that cannot be used."""
    return _said(request, 400, str(error))


async def full(request: Request, error: Exception) -> Response:
    """Answer that no further stream fits."""
    return _said(request, 503, str(error), {"retry-after": "10"})


class Server(uvicorn.Server):
    """uvicorn, its own logs and proxy headers left out; `started` is set once it listens."""

    def __init__(self, app: Starlette, host: str, port: int) -> None:
        """Serve `app` at an address; port 0 takes a free one."""
        config = uvicorn.Config(
            app, host=host, port=port, log_config=None, access_log=False, server_header=False, proxy_headers=False,
            lifespan="on", timeout_graceful_shutdown=STOP_SECONDS, ws="none", limit_concurrency=2000,
        )  # fmt: skip
        super().__init__(config)
        app.state.desk.pulse.stopping = lambda: self.should_exit

    @property
    def url(self) -> str:
        """Where it listens, once started."""
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        return f"http://{host}:{port}"


def run_console(settings: Settings, console: ConsoleSettings) -> None:
    """Serve until SIGTERM or SIGINT, then end as every stop that was asked for: with exit code 0."""
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn raises a signal once more after it has stopped; by itself that would end the process as if killed.
        signal.signal(number, signal.SIG_IGN)
    log.info("starting", host=console.host, port=console.port, namespace=settings.namespace)
    Server(make_console(settings, console), console.host, console.port).run()
