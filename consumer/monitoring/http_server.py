"""An HTTP server for GET on a few fixed paths: what health checks and a scraper need, each part of it with a limit.

One request a connection, and its body is not read. A connection that is slow, or whose request is too long, is aborted;
where there are too many, the one that has waited longest without sending its request.
"""

import asyncio
import errno
import os
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import h11

from consumer.telemetry.logs import log

HEAD_BYTES = 8192
REQUEST_SECONDS = 5.0
"""From the connection until its request is read."""
RESPONSE_SECONDS = 15.0
"""From the request until its response is written: longer than the slowest check."""
CONNECTIONS = 32
"""At once. A scraper and a few probes need four."""
ANSWERS_OF_A_PATH = 8
"""Under way at once; more are refused. A check waits as long as a server is away: whoever asks for it again and again
must not take the places of those who ask whether the process lives. All paths together have less than `CONNECTIONS`."""

JSON = "application/json"
METHODS = "GET, HEAD"
NOT_LOCAL = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.ENETUNREACH, errno.EHOSTUNREACH)
"""The errnos of an address that no interface of this machine has."""


class ListenError(Exception):
    """The address cannot be listened on; the text says which, why, and what to do."""

    def __init__(self, text: str, setting: str = "PORT") -> None:
        """Take the text, and the end of the name of the setting that is wrong: HOST or PORT."""
        super().__init__(text)
        self.setting = setting


def cannot_listen(address: str, error: Exception) -> ListenError:
    """Return the error of an address that cannot be listened on, with the system's reason and its errno."""
    number = error.errno if isinstance(error, OSError) else None
    why = f"{os.strerror(number)} ({errno.errorcode[number]})" if number and number in errno.errorcode else None
    text = f"cannot listen on {address}: {why or getattr(error, 'strerror', None) or error}"
    if isinstance(error, socket.gaierror | UnicodeError):
        return ListenError(f"{text}; write a name or an address of this machine, or 0.0.0.0 for all of them", "HOST")
    if number in NOT_LOCAL:
        return ListenError(f"{text}; write an address of this machine, or 0.0.0.0 for all of them", "HOST")
    if number in (errno.EACCES, errno.EPERM):
        return ListenError(f"{text}; a port below 1024 needs a privilege: use one from 1024 on")
    return ListenError(f"{text}; name another, or see who has it: ss -ltnp")


@dataclass(frozen=True, slots=True)
class Response:
    """What a request is answered with."""

    status: HTTPStatus
    body: bytes
    content_type: str = JSON


Route = Callable[[], Awaitable[Response]]


class HttpServer:
    """A small HTTP server; its routes are fixed."""

    def __init__(self, routes: Mapping[str, Route]) -> None:
        """Take the routes by path; nothing is opened yet."""
        self._routes = routes
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._without_request: dict[asyncio.StreamWriter, None] = {}
        """The connections whose request has not been read yet, the oldest first."""
        self._under_way: Counter[str] = Counter()
        """Answers under way, by path."""

    async def listen(self, host: str, port: int) -> int:
        """Listen on a TCP port; return it, 0 having been any.

        Raises:
            ListenError: it is taken, or the host is none of ours.
        """
        try:
            self._server = await asyncio.start_server(self._serve, host, port, limit=HEAD_BYTES)
        except (OSError, UnicodeError) as error:
            raise cannot_listen(f"{host}:{port}", error) from error
        found: int = self._server.sockets[0].getsockname()[1]
        return found

    async def listen_locally(self, path: Path) -> None:
        """Listen on a Unix socket, in place of what an earlier process left there.

        Raises:
            ListenError: it cannot be made.
        """
        try:
            self._server = await asyncio.start_unix_server(self._serve, path, limit=HEAD_BYTES)
        except OSError as error:
            raise cannot_listen(str(path), error) from error

    async def close(self) -> None:
        """Listen no more, and abort every connection."""
        if self._server is not None:
            self._server.close()
            for writer in list(self._writers):
                writer.transport.abort()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._writers) >= CONNECTIONS:
            # A probe that is turned away would have the worker restarted, for the sake of those who send nothing.
            self._abort(next(iter(self._without_request), writer))
            if writer.transport.is_closing():
                return
        self._writers.add(writer)
        self._without_request[writer] = None
        try:
            # A client that goes away, or never finishes its request, gets no response.
            with suppress(TimeoutError, OSError, asyncio.IncompleteReadError):
                async with asyncio.timeout(REQUEST_SECONDS):
                    head = await _read_head(reader)
                self._without_request.pop(writer, None)
                async with asyncio.timeout(RESPONSE_SECONDS):
                    writer.write(await self._respond(head))
                    await writer.drain()
                    writer.close()
                    await writer.wait_closed()
        finally:
            self._abort(writer)

    def _abort(self, writer: asyncio.StreamWriter) -> None:
        self._without_request.pop(writer, None)
        self._writers.discard(writer)
        writer.transport.abort()

    async def _respond(self, head: bytes) -> bytes:
        """Return the response to a request's head, as it goes over the connection."""
        connection, request = h11.Connection(h11.SERVER), None
        with suppress(h11.RemoteProtocolError):
            if head:
                connection.receive_data(head)
                request = connection.next_event()
        response = await self._route(request)
        headers = [
            ("Content-Type", response.content_type),
            ("Content-Length", str(len(response.body))),
            ("Cache-Control", "no-store"),
            ("Connection", "close"),
        ]
        if response.status == HTTPStatus.METHOD_NOT_ALLOWED:
            headers.append(("Allow", METHODS))
        events: list[h11.Event] = [
            h11.Response(status_code=response.status, reason=response.status.phrase, headers=headers)
        ]
        if not (isinstance(request, h11.Request) and request.method == b"HEAD"):
            events.append(h11.Data(data=response.body))
        return b"".join(connection.send(event) or b"" for event in [*events, h11.EndOfMessage()])

    async def _route(self, request: object) -> Response:
        if not isinstance(request, h11.Request) or not request.http_version.startswith(b"1."):
            return _bare_response(HTTPStatus.BAD_REQUEST)
        path = request.target.partition(b"?")[0].decode("ascii", "replace")
        if path not in self._routes:
            return _bare_response(HTTPStatus.NOT_FOUND)
        if request.method not in (b"GET", b"HEAD"):
            return _bare_response(HTTPStatus.METHOD_NOT_ALLOWED)
        if self._under_way[path] >= ANSWERS_OF_A_PATH:
            return _bare_response(HTTPStatus.SERVICE_UNAVAILABLE)
        self._under_way[path] += 1
        try:
            return await self._routes[path]()
        except Exception as error:
            # A defect of ours: a closed connection does not serve the client, nor does an end of the process.
            log.error("answer failed", what=path, error=type(error).__name__)
            return _bare_response(HTTPStatus.INTERNAL_SERVER_ERROR)
        finally:
            self._under_way[path] -= 1


async def _read_head(reader: asyncio.StreamReader) -> bytes:
    """Read a request's head; of one that is too long nothing is returned, which is no request either."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        return b""
    if b"\nhost:" not in head.lower():
        # HTTP/1.1 demands it and h11 insists; a parent process of release 0.1.0 asks its children without.
        head = head.replace(b"\r\n", b"\r\nHost: -\r\n", 1)
    return head


def _bare_response(status: HTTPStatus) -> Response:
    """Return a response that is nothing but its status."""
    return Response(status, f"{status.phrase}\n".encode(), "text/plain; charset=utf-8")
