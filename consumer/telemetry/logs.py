"""Logs of the service: JSON, unless standard error is a terminal. Knows which fields may appear, and drops the rest."""

import json
import logging
import os
import select
import sys
from collections.abc import MutableMapping
from typing import Any, Literal, TextIO

import orjson
import structlog

from consumer.messages.foreign_text import bounded, identifier, is_plain_id, printable

ALLOWED = frozenset(
    """
    event level timestamp logger outcome website_id trigger from_state to_state seq attempts attempt expected_seq
    message_id type queue redelivered duration_ms batch reason error traceback worker process signal count pack
    step namespace version host port connection due rescued waiting seconds state what backoff_seconds concurrency
    processes prefetch exchange routing_key in_flight handed_back defaults why
    """.split()  # noqa: SIM905 - a list of words reads as one
)
"""A field that is not named here never reaches a log: no body, no e-mail address, no URL, whatever a caller passes."""
IDS = frozenset({"message_id", "type", "pack", "routing_key", "exchange", "queue", "logger"})
"""Fields with ids that a sender, or the author of a seed pack, may have chosen."""
MAX_CHARACTERS = 1_000
"""The limit of any other text: longer than any sentence of ours."""


PIPE_CHARACTERS = 1000
"""What a pipe that is writable takes without blocking: 4,096 bytes, four to a character at most."""


class NonBlockingStream:
    """A stream of lines that never blocks or raises: what nobody reads is dropped and counted.

    A full pipe, a reader that is gone, a closed terminal, a full disk: none of them stops a worker. So lines go to the
    file itself and not through Python's buffer, which would try again what could not be written, at the end of the
    process for the last time, whose exit code it would change.
    """

    def __init__(self, stream: TextIO | None) -> None:
        """Write to a stream; None where the process has no standard error."""
        self._stream = stream
        self._file: int | None = None
        self._poll: Any = None
        self.dropped = 0
        try:
            self._file = stream.fileno() if stream else None
            poll = select.poll()
            poll.register(stream or -1, select.POLLOUT)
            self._poll = poll
        except (OSError, ValueError):
            pass  # a stream in memory, or one that is closed already

    def write(self, text: str) -> None:
        """Write a line, in one go where it is short; several processes share a standard error."""
        for start in range(0, len(text), PIPE_CHARACTERS):
            note = f'\n{{"event": "log lines dropped", "count": {self.dropped}}}\n' if self.dropped else ""
            if (note and not self._put(note)) or not self._put(text[start : start + PIPE_CHARACTERS]):
                self.dropped += 1
                return
            self.dropped = 0

    def flush(self) -> None:
        """Do nothing: every write is flushed."""

    def _put(self, text: str) -> bool:
        """Write a text; return whether it could be."""
        try:
            if not self._is_writable():
                return False
            if self._file is None or self._stream is None:
                if self._stream is not None:
                    self._stream.write(text)
                return True
            data = text.encode(self._stream.encoding or "utf-8", "backslashreplace")
            while data:
                data = data[os.write(self._file, data) :]
        except (OSError, ValueError):
            return False
        return True

    def _is_writable(self) -> bool:
        """Return whether a write would not block; an error counts, and is met by the write."""
        return self._poll is None or bool(self._poll.poll(0))


def only_allowed(_logger: Any, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Drop every field that is not on the list."""
    return {key: value for key, value in event.items() if key in ALLOWED}


def printable_only(_logger: Any, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Escape what does not print, cut what is long, and quote ids that do not look like ids."""
    for key, value in event.items():
        # What looks like an id stays as it is in every field; almost all that is logged does.
        if isinstance(value, str) and not is_plain_id(value):
            event[key] = identifier(value) if key in IDS else _text(key, value)
    return event


def json_line(event: MutableMapping[str, Any], **_options: Any) -> str:
    """Return an event as JSON. orjson knows no integers of more than 64 bits; a log line is written for those, too."""
    try:
        return orjson.dumps(event, default=repr).decode()
    except orjson.JSONEncodeError:
        return json.dumps(event, default=repr, ensure_ascii=False)


def _text(key: str, value: str) -> str:
    # A traceback has our own lines, which only JSON can hold on one.
    return printable(value, keep="\n") if key == "traceback" else bounded(value, MAX_CHARACTERS)


def configure_logs(level: str = "info", form: Literal["auto", "json", "console"] = "auto") -> None:
    """Set up structlog and send the libraries' own loggers through it, warnings and worse."""
    console = form == "console" or (form == "auto" and sys.stderr is not None and sys.stderr.isatty())
    render: Any = structlog.dev.ConsoleRenderer() if console else structlog.processors.JSONRenderer(json_line)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            only_allowed,
            printable_only,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        # Line and line end in one write: several processes share a standard error.
        logger_factory=structlog.WriteLoggerFactory(NonBlockingStream(sys.stderr)),  # type: ignore[arg-type]
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_Bridge()], level=logging.WARNING, force=True)
    # They report every lost connection with a traceback of their own; the connection's loop logs one line.
    for noisy in ("aio_pika", "aiormq", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)


class _Bridge(logging.Handler):
    """Passes the standard library's records to structlog, message only: their arguments may hold anything."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger().log(record.levelno, "library", logger=record.name, what=str(record.msg)[:200])


log = structlog.get_logger()
"""The one logger. Bound lazily, so that importing a module configures nothing."""
