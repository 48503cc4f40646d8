"""Answers GET on a few fixed paths. All of HTTP that health checks and a scraper need, each part of it with a limit.

One request a connection, nothing of its body is read, and whoever is slow or long is let go; so is, where there are too
many, whoever has been silent longest.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from consumer.logs import log

HEAD_BYTES = 8192
REQUEST_SECONDS = 5.0
"""From the connection until its request is read."""
ANSWER_SECONDS = 15.0
"""From the request until its answer is written: past the slowest check."""
CONNECTIONS = 32
"""At once. A scraper and a few probes need four."""

JSON = "application/json"


class CannotListen(Exception):  # noqa: N818
    """The address cannot be listened on; the text says which, and why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a path is answered with."""

    status: HTTPStatus
    body: bytes
    content_type: str = JSON


Route = Callable[[], Awaitable[Answer]]


class Listener:
    """A small HTTP server; its routes are fixed."""

    def __init__(self, routes: Mapping[str, Route]) -> None:
        """Take the routes by path; nothing is opened yet."""
        self._routes = routes
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._silent: dict[asyncio.StreamWriter, None] = {}
        """Who has not said yet what he wants, the oldest first."""

    async def listen(self, host: str, port: int) -> int:
        """Listen on a TCP port; return it, 0 having been any.

        Raises:
            CannotListen: it is taken, or the host is none of ours.
        """
        try:
            self._server = await asyncio.start_server(self._serve, host, port, limit=HEAD_BYTES)
        except OSError as error:
            raise CannotListen(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
        found: int = self._server.sockets[0].getsockname()[1]
        return found

    async def listen_locally(self, path: Path) -> None:
        """Listen on a Unix socket, in place of what an earlier process left there.

        Raises:
            CannotListen: it cannot be made.
        """
        try:
            self._server = await asyncio.start_unix_server(self._serve, path, limit=HEAD_BYTES)
        except OSError as error:
            raise CannotListen(f"cannot listen on {path}: {error.strerror or error}") from error

    async def close(self) -> None:
        """Listen no more, and let go of whoever is being answered."""
        if self._server is not None:
            self._server.close()
            for writer in list(self._writers):
                writer.transport.abort()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._writers) >= CONNECTIONS:
            # A probe that is turned away would have the worker restarted, for the sake of those who say nothing.
            self._let_go(next(iter(self._silent), writer))
            if writer.transport.is_closing():
                return
        self._writers.add(writer)
        self._silent[writer] = None
        try:
            # Whoever goes away in the middle, or never says what he wants, is owed nothing.
            with suppress(TimeoutError, OSError, asyncio.IncompleteReadError):
                head = await self._head(reader)
                self._silent.pop(writer, None)
                async with asyncio.timeout(ANSWER_SECONDS):
                    writer.write(await self._answered(head))
                    await writer.drain()
                    writer.close()
                    await writer.wait_closed()
        finally:
            self._let_go(writer)

    def _let_go(self, writer: asyncio.StreamWriter) -> None:
        self._silent.pop(writer, None)
        self._writers.discard(writer)
        writer.transport.abort()

    @staticmethod
    async def _head(reader: asyncio.StreamReader) -> bytes:
        """Read a request's head; an endless one is cut off where it has become too long."""
        async with asyncio.timeout(REQUEST_SECONDS):
            try:
                return await reader.readuntil(b"\r\n\r\n")
            except asyncio.LimitOverrunError:
                return b""

    async def _answered(self, head: bytes) -> bytes:
        method, _, rest = head.partition(b"\r\n")[0].decode("ascii", "replace").partition(" ")
        path, _, version = rest.partition(" ")
        answer, allow = await self._answer(method, path.partition("?")[0], version)
        lines = [
            f"HTTP/1.1 {answer.status.value} {answer.status.phrase}",
            f"Content-Type: {answer.content_type}",
            f"Content-Length: {len(answer.body)}",
            "Cache-Control: no-store",
            "Connection: close",
            *allow,
        ]
        return "\r\n".join([*lines, "", ""]).encode() + (b"" if method == "HEAD" else answer.body)

    async def _answer(self, method: str, path: str, version: str) -> tuple[Answer, list[str]]:
        if not version.startswith("HTTP/1."):
            return said(HTTPStatus.BAD_REQUEST), []
        if path not in self._routes:
            return said(HTTPStatus.NOT_FOUND), []
        if method not in ("GET", "HEAD"):
            return said(HTTPStatus.METHOD_NOT_ALLOWED), ["Allow: GET, HEAD"]
        try:
            return await self._routes[path](), []
        except Exception as error:
            # A defect of ours: whoever asks is not well served by a closed connection, nor the process by an end.
            log.error("answer failed", what=path, error=type(error).__name__)
            return said(HTTPStatus.INTERNAL_SERVER_ERROR), []


def said(status: HTTPStatus) -> Answer:
    """Return an answer that is nothing but its status."""
    return Answer(status, f"{status.phrase}\n".encode(), "text/plain; charset=utf-8")
