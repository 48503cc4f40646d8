"""The composition root of the console: composes and serves it."""

import asyncio
import resource
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from fastapi.staticfiles import StaticFiles
from fastapi.telemetry import TelemetryConfig

from consumer.broker.protocol import Broker
from consumer.broker.topology import Topology
from consumer.config import Settings
from consumer.factories import make_broker, make_packs, make_store
from consumer.monitoring.http_server import cannot_listen
from consumer.store.database import Store
from consumer.telemetry.logs import log
from consumer.worker.stop_requests import stop_signals
from ops.console import routes
from ops.console.access.auth import Authenticator
from ops.console.access.concurrency_limits import Quotas
from ops.console.access.dead_letter_read_limit import ReaderTurns
from ops.console.access.follow_tokens import FollowTokens
from ops.console.access.progress_cors import ProgressCors
from ops.console.access.sessions import Sessions
from ops.console.access.settings import ConsoleSettings
from ops.console.broadcaster import Broadcaster
from ops.console.context import Context
from ops.console.errors import add_error_answers
from ops.console.http_protocol import DeadlineProtocol
from ops.console.jobs import Jobs
from ops.console.middleware import Middleware
from ops.console.overview_feed import OverviewFeed
from ops.console.pages.rendering import PrintableJSON
from ops.doctor.overview import OverviewReader
from ops.doctor.run import SharedReport

CONNECTIONS = 4
"""To the database. Reads of people take turns; the workers have the rest."""
STOP_SECONDS = 5
OTHER_CONNECTIONS = 500
"""Connections beside those of event streams. One that waits for its peer makes room for a new one."""
ACCEPTED_AT_ONCE = 20
"""Connections that one turn of the event loop accepts. asyncio would accept as many as may wait, and so open more files
than it may before the first of them could make room; it then accepts nothing for a second, again and again."""
MAX_WAITING = 2048
"""Connections that the system keeps until they are accepted."""
OTHER_FILES = 60 + 4 * ACCEPTED_AT_ONCE
"""Open files beside connections: log, database, broker, packs; and what is accepted before others are closed for it."""
STATIC = Path(__file__).parent / "pages" / "static"
NO_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
"""FastAPI's own would send URLs, which may hold follow tokens, to wherever OTEL_* variables point."""


def make_console(
    settings: Settings, console: ConsoleSettings, *, store: Store | None = None, broker: Broker | None = None
) -> FastAPI:
    """Return the console as an ASGI application; `store` and `broker` may be handed in by tests."""
    store = store or make_store(settings, size=CONNECTIONS)
    broker = broker or make_broker(settings)
    sessions = Sessions(store, int(console.session_hours * 3600))
    broadcaster, doctor = Broadcaster(store, domain=settings.base_domain), SharedReport(settings, store, broker)
    overview = OverviewFeed(
        OverviewReader(store, broker, Topology(settings.namespace), doctor),
        is_streamed=lambda: broadcaster.is_overview_followed, publish=broadcaster.publish_overview,
    )  # fmt: skip
    context = Context(
        settings, console, store, broker, packs=make_packs(settings),
        authenticator=Authenticator(console, sessions), follow_tokens=FollowTokens(console), jobs=Jobs(),
        broadcaster=broadcaster, quotas=Quotas(console.streams_limit), doctor=doctor, overview=overview,
        reader_turns=ReaderTurns(),
    )  # fmt: skip

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        running = [
            asyncio.create_task(context.broadcaster.run(), name="broadcaster"),
            asyncio.create_task(context.overview.run(), name="overview"),
        ]
        try:
            yield
        finally:
            await context.jobs.close()
            for task in running:
                task.cancel()
            await asyncio.wait(running)
            await context.store.close()

    app = FastAPI(
        title="Website provisioner", version="1", openapi_url="/api/openapi.json", docs_url=None, redoc_url=None,
        lifespan=lifespan, telemetry=NO_TELEMETRY, generate_unique_id_function=lambda route: route.name,
        default_response_class=PrintableJSON,
    )  # fmt: skip
    app.state.context = context
    routes.add_routes(app)
    app.add_api_route("/livez", livez, include_in_schema=False, response_class=PlainTextResponse)
    app.mount("/static", StaticFiles(directory=STATIC))
    add_error_answers(app)
    app.add_middleware(Middleware)
    app.add_middleware(ProgressCors, console=console)
    return app


async def livez() -> str:
    """Return ok: the event loop runs; neither database nor broker is asked."""
    return "ok\n"


def connections_limit(streams: int) -> int:
    """Return how many connections may be open, and let the process open as many files as that needs, if it may."""
    wanted = streams + OTHER_CONNECTIONS
    files, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files != resource.RLIM_INFINITY and files < wanted + OTHER_FILES:
        files = wanted + OTHER_FILES if most_files == resource.RLIM_INFINITY else min(wanted + OTHER_FILES, most_files)
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, most_files))
    return wanted if files == resource.RLIM_INFINITY else max(1, min(wanted, files - OTHER_FILES))


class Server(uvicorn.Server):
    """uvicorn with deadlines, its own logs and proxy headers left out; `started` is set once it listens."""

    def __init__(self, app: FastAPI, host: str, port: int) -> None:
        """Serve `app` at an address; port 0 takes a free one."""
        config = uvicorn.Config(
            app, host=host, port=port, log_config=None, access_log=False, server_header=False, proxy_headers=False,
            lifespan="on", timeout_graceful_shutdown=STOP_SECONDS, ws="none", http=DeadlineProtocol,
            limit_concurrency=connections_limit(app.state.context.console.streams_limit), backlog=ACCEPTED_AT_ONCE,
        )  # fmt: skip
        super().__init__(config)
        self.context: Context = app.state.context

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and let more connections wait than one turn of the event loop accepts."""
        await super().startup(sockets)
        for listening in (listening for server in self.servers for listening in server.sockets):
            with listening.dup() as same:
                same.listen(MAX_WAITING)

    @property
    def url(self) -> str:
        """Where it listens, once started."""
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        return f"http://{host}:{port}"

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the event streams, which never end by themselves, and then serve what is under way to its end."""
        self.context.broadcaster.close()
        await super().shutdown(sockets)


def run_console(settings: Settings, console: ConsoleSettings) -> None:
    """Serve until SIGTERM, SIGINT or SIGHUP, then end as every stop that was asked for: with exit code 0.

    Raises:
        ListenError: the address cannot be listened on.
    """
    server = Server(make_console(settings, console), console.host, console.port)
    for number in stop_signals():
        # uvicorn knows nothing of SIGHUP, and raises the others once more after it has stopped; by itself that would
        # end the process as if killed.
        signal.signal(number, server.handle_exit)
    sockets = _listen(console.host, console.port)
    log.info("starting", host=console.host, port=console.port, namespace=settings.namespace)
    server.run(sockets)


def _listen(host: str, port: int) -> list[socket.socket]:
    """Listen on every address of a host; uvicorn would report in lines of its log that it cannot."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        addresses = dict.fromkeys((family, str(address[0]), int(address[1])) for family, _, _, _, address in found)
        return [socket.create_server((name, number), family=family) for family, name, number in addresses]
    except (OSError, UnicodeError) as error:
        raise cannot_listen(f"{host}:{port}", error) from error
