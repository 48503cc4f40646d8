"""Connections of peers that send half of what they should, or read nothing: they end, and keep nobody else waiting."""

import asyncio
import resource
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from itertools import islice
from pathlib import Path

import pytest

from ops.console import http_protocol
from tests.console.conftest import OPERATOR, Console
from tests.worker_processes import until

HALF_HEAD = b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Half: "
HALF_BODY = b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\ntoken="
WHOLE = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def short_deadlines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deadlines that a test can wait for."""
    for name in ("HEAD_SECONDS", "BODY_SECONDS", "UNREAD_SECONDS"):
        monkeypatch.setattr(http_protocol, name, 0.3)
    monkeypatch.setattr(http_protocol, "CHECK_SECONDS", 0.05)


@asynccontextmanager
async def connected(console: Console, sent: bytes) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection on which this has been sent."""
    port = console.server.servers[0].sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    await writer.drain()
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def drip(writer: asyncio.StreamWriter) -> None:
    """Send a byte now and then, for ever."""
    while True:
        writer.write(b"a")
        await asyncio.sleep(0.05)


@pytest.mark.parametrize(("half", "answer"), [(HALF_HEAD, b"408"), (HALF_BODY, b"408"), (b"", b"")])
@pytest.mark.usefixtures("short_deadlines")
async def test_half_a_request_ends_by_its_deadline(console: Console, half: bytes, answer: bytes) -> None:
    """Also where a byte comes now and then; who has begun a request is told why, and one who sent nothing is not."""
    async with asyncio.timeout(60), connected(console, half) as (reader, writer):
        dripping = asyncio.create_task(drip(writer)) if half else None
        try:
            received = await reader.read()
        except ConnectionResetError:
            received = answer
        finally:
            if dripping:
                dripping.cancel()
    assert answer in received
    assert bool(received) == bool(answer)


@pytest.mark.usefixtures("short_deadlines")
async def test_the_next_request_of_a_connection_has_deadlines_too(console: Console) -> None:
    """After an answer, half a head is waited for no longer than after the connection's start."""
    async with asyncio.timeout(60), connected(console, WHOLE + HALF_HEAD) as (reader, _):
        received = await reader.read()
    assert received.startswith(b"HTTP/1.1 200")
    assert b"HTTP/1.1 408" in received


@pytest.mark.usefixtures("short_deadlines")
async def test_a_body_that_does_not_come_is_no_defect(console: Console, capsys: pytest.CaptureFixture[str]) -> None:
    """The request ends with its connection; nothing is logged as a failure of ours."""
    async with asyncio.timeout(60), connected(console, HALF_BODY) as (reader, _):
        assert b"408" in await reader.read()
    # Nor where the peer hangs up by itself.
    async with connected(console, HALF_BODY):
        pass

    async def gone() -> bool:
        return not console.server.server_state.tasks

    await until(gone, 60, "the requests have ended")
    said = capsys.readouterr()
    assert "request failed" not in said.out + said.err


@pytest.mark.usefixtures("short_deadlines")
async def test_answers_that_nobody_reads_end(console: Console) -> None:
    """A peer that asks for more and more and reads nothing is not waited for; one that waits for events is."""
    port = console.server.servers[0].sockets[0].getsockname()[1]
    following = f"GET /api/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {OPERATOR}\r\n\r\n".encode()
    with socket.socket() as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.connect(("127.0.0.1", port))
        peer.setblocking(False)
        asking = b"GET /api/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 400
        async with asyncio.timeout(60), connected(console, following) as (reader, _):
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            with pytest.raises(ConnectionError):  # noqa: PT012 - it ends while it waits, or while it sends
                while True:
                    await asyncio.get_running_loop().sock_sendall(peer, asking)

            async def only_the_stream() -> bool:
                return len(console.server.server_state.connections) == 1

            await until(only_the_stream, 60, "the connection of the peer that does not read is closed")


async def test_livez_answers_however_many_send_half_a_head(console: Console) -> None:
    """A new connection takes the place of the one that has waited longest; an open stream stays."""
    console.server.config.limit_concurrency = 20
    following = f"GET /api/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {OPERATOR}\r\n\r\n".encode()
    async with AsyncExitStack() as stack:
        stream, _ = await stack.enter_async_context(connected(console, following))
        assert (await stream.readline()).startswith(b"HTTP/1.1 200")
        for half in (HALF_HEAD, HALF_BODY):
            for _ in range(50):
                await stack.enter_async_context(connected(console, half))
        async with console.client(OPERATOR) as client:
            assert (await client.get("/livez")).text == "ok\n"
            assert (await client.get("/api/machine")).status_code == 200
        assert len(console.server.server_state.connections) <= 20
        assert b"event: states" in await stream.readuntil(b"event: states")


async def test_livez_answers_however_many_leave_their_answers_unread(console: Console) -> None:
    """A new connection takes the place of a peer that asks for much and reads nothing; an open stream stays."""
    console.server.config.limit_concurrency = 10
    following = f"GET /api/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {OPERATOR}\r\n\r\n".encode()
    asking = b"GET /api/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 60
    loop, port = asyncio.get_running_loop(), console.server.servers[0].sockets[0].getsockname()[1]
    connections = console.server.server_state.connections

    async def all_unread() -> bool:
        blocked = [each for each in connections if each.transport.get_write_buffer_size()]  # type: ignore[union-attr]
        return len(blocked) >= 9

    async with AsyncExitStack() as stack:
        stream, _ = await stack.enter_async_context(connected(console, following))
        assert (await stream.readline()).startswith(b"HTTP/1.1 200")
        for _ in range(9):
            peer = stack.enter_context(socket.socket())
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            peer.setblocking(False)
            await loop.sock_connect(peer, ("127.0.0.1", port))
            await loop.sock_sendall(peer, asking)
        await until(all_unread, 60, "nine connections wait for peers that read nothing")
        for _ in range(3):
            async with console.client() as client:
                assert (await client.get("/livez")).text == "ok\n"
        assert b"event: states" in await stream.readuntil(b"event: states")


async def test_many_who_come_at_once_use_up_no_files(console: Console) -> None:
    """Of 300 that wait, the first have made room before the last are accepted: there are files for 120 more alone."""
    console.server.config.limit_concurrency = 20
    reported: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["message"]))
    address = console.server.servers[0].sockets[0].getsockname()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as stack:
        for _ in range(300):
            peer = stack.enter_context(socket.socket())
            # The system connects it; nothing accepts it until this test waits for something.
            peer.connect(address)
            peer.send(HALF_HEAD)
        open_files = {int(entry.name) for entry in Path("/proc/self/fd").iterdir()}
        free = (number for number in range(65_536) if number not in open_files)
        resource.setrlimit(resource.RLIMIT_NOFILE, (next(islice(free, 120, None)), limits[1]))
        try:
            async with console.client() as client:
                assert (await client.get("/livez")).text == "ok\n"
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert reported == [], "asyncio accepts nothing for a second after that"
