"""How the service logs: JSON, unless a person watches. Knows which fields may appear, and drops the rest."""

import logging
import select
import sys
from collections.abc import MutableMapping
from typing import Any, Literal, TextIO

import structlog

ALLOWED = frozenset(
    """
    event level timestamp logger outcome website_id trigger from_state to_state seq attempts attempt expected_seq
    message_id type queue redelivered duration_ms batch reason error traceback worker process signal count pack
    step namespace version host port connection due rescued waiting seconds state what backoff_seconds concurrency
    processes prefetch exchange routing_key in_flight handed_back defaults why
    """.split()  # noqa: SIM905 - a list of words reads as one
)
"""A field that is not named here never reaches a log: no body, no e-mail address, no URL, whatever a caller passes."""


PIPE_CHARACTERS = 1000
"""What a pipe that says it can be written to takes without blocking: 4,096 bytes, four to a character at most."""


class Outlet:
    """A stream of lines that never blocks: what nobody reads is dropped and counted. A full pipe stops no worker."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.dropped = 0
        try:
            self._poll: Any = select.poll()
            self._poll.register(stream.fileno(), select.POLLOUT)
        except (OSError, ValueError):
            self._poll = None  # a stream in memory

    def write(self, text: str) -> None:
        """Write a line, in one go where it is short; several processes share a standard error."""
        for start in range(0, len(text), PIPE_CHARACTERS):
            if not self._takes():
                self.dropped += 1
                return
            if self.dropped:
                self._stream.write(f'\n{{"event": "log lines dropped", "count": {self.dropped}}}\n')
                self._stream.flush()
                self.dropped = 0
                if not self._takes():
                    self.dropped += 1
                    return
            self._stream.write(text[start : start + PIPE_CHARACTERS])
            self._stream.flush()

    def flush(self) -> None:
        """Nothing is kept back."""

    def _takes(self) -> bool:
        return self._poll is None or bool(self._poll.poll(0))


def only_allowed(_logger: Any, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Drop every field that is not on the list."""
    return {key: value for key, value in event.items() if key in ALLOWED}


def configure_logs(level: str = "info", form: Literal["auto", "json", "console"] = "auto") -> None:
    """Set up structlog and send the libraries' own loggers through it, warnings and worse."""
    console = form == "console" or (form == "auto" and sys.stderr.isatty())
    render: Any = structlog.dev.ConsoleRenderer() if console else structlog.processors.JSONRenderer(ensure_ascii=False)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            only_allowed,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        # Line and line end in one write: several processes share a standard error.
        logger_factory=structlog.WriteLoggerFactory(Outlet(sys.stderr)),  # type: ignore[arg-type]
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_Bridge()], level=logging.WARNING, force=True)
    # They report every lost connection with a traceback of their own; the supervisor says it in one line.
    for noisy in ("aio_pika", "aiormq", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)


class _Bridge(logging.Handler):
    """Passes the standard library's records on, message only: their arguments may hold anything."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger().log(record.levelno, "library", logger=record.name, what=str(record.msg)[:200])


log = structlog.get_logger()
"""The one logger. Bound lazily, so that importing a module configures nothing."""
