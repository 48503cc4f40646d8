"""The little HTTP server: what it answers, and whom it lets go."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path

import pytest
import pytest_asyncio

from consumer import listener as listener_module
from consumer.listener import Answer, CannotListen, Listener


async def well() -> Answer:
    """Be well."""
    return Answer(HTTPStatus.OK, b'{"well": true}')


async def broken() -> Answer:
    """Have a defect."""
    raise RuntimeError("ana@example.com")


@pytest_asyncio.fixture
async def port() -> AsyncIterator[int]:
    """Lend the port of a server."""
    server = Listener({"/well": well, "/broken": broken})
    yield await server.listen("127.0.0.1", 0)
    await server.close()


async def exchange(port: int, request: bytes) -> bytes:
    """Send some bytes, and return all that comes back until the end."""
    async with asyncio.timeout(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""
        finally:
            writer.close()


@pytest.mark.parametrize(
    ("request_line", "status", "body"),
    [
        ("GET /well HTTP/1.1", 200, b'{"well": true}'),
        ("GET /well?verbose=1 HTTP/1.0", 200, b'{"well": true}'),
        ("HEAD /well HTTP/1.1", 200, b""),
        ("GET /elsewhere HTTP/1.1", 404, b"Not Found\n"),
        ("POST /well HTTP/1.1", 405, b"Method Not Allowed\n"),
        ("GET /broken HTTP/1.1", 500, b"Internal Server Error\n"),
        ("GET /well", 400, b"Bad Request\n"),
        ("\u00e9", 400, b"Bad Request\n"),
    ],
)
async def test_an_answer(port: int, request_line: str, status: int, body: bytes) -> None:
    """Three lines of HTTP are understood, and the rest is refused by its name; the connection ends with the answer."""
    head, _, rest = (await exchange(port, f"{request_line}\r\nHost: x\r\n\r\n".encode())).partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"\r\nConnection: close" in head
    assert rest == body
    assert (b"\r\nAllow: GET, HEAD" in head) is (status == 405)


async def test_a_head_that_is_too_long_is_refused(port: int) -> None:
    """However much more would come."""
    answer = await exchange(port, b"GET /well HTTP/1.1\r\nX: " + b"x" * listener_module.HEAD_BYTES * 3 + b"\r\n\r\n")
    assert b"200" not in answer


async def test_whoever_says_nothing_is_let_go(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a request holds a connection for a while only."""
    monkeypatch.setattr(listener_module, "REQUEST_SECONDS", 0.05)
    assert await exchange(port, b"GET /well HT") == b""


async def test_whoever_is_silent_makes_room(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are too many, it is not the one who asks that is turned away."""
    monkeypatch.setattr(listener_module, "CONNECTIONS", 1)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /well HT")
    await writer.drain()
    assert (await exchange(port, b"GET /well HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    async with asyncio.timeout(5):
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
    writer.close()


async def test_nobody_is_cut_off_in_his_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all are being answered, one more is turned away."""
    monkeypatch.setattr(listener_module, "CONNECTIONS", 1)
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> Answer:
        asked.set()
        await go_on.wait()
        return Answer(HTTPStatus.OK, b"at last")

    listener = Listener({"/slow": slow})
    port = await listener.listen("127.0.0.1", 0)
    first = asyncio.create_task(exchange(port, b"GET /slow HTTP/1.1\r\n\r\n"))
    await asked.wait()
    with suppress(ConnectionResetError):
        assert await exchange(port, b"GET /slow HTTP/1.1\r\n\r\n") == b""
    go_on.set()
    assert (await first).endswith(b"at last")
    await listener.close()


async def test_an_address_that_is_taken_is_said(port: int, tmp_path: Path) -> None:
    """With the address, for people; so is a socket whose path is too long."""
    with pytest.raises(CannotListen, match=f"cannot listen on 127.0.0.1:{port}: "):
        await Listener({}).listen("127.0.0.1", port)
    with pytest.raises(CannotListen, match="cannot listen on /"):
        await Listener({}).listen_locally(tmp_path / ("x" * 200))


async def test_a_socket_that_a_dead_process_left_is_taken_over(tmp_path: Path) -> None:
    """The next process listens in its place."""
    left = Listener({"/well": well})
    await left.listen_locally(tmp_path / "1")
    other = Listener({"/well": well})
    await other.listen_locally(tmp_path / "1")
    reader, writer = await asyncio.open_unix_connection(tmp_path / "1")
    await left.close()
    writer.write(b"GET /well HTTP/1.1\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
    writer.close()
    await other.close()
