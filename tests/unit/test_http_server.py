"""The HTTP server of a worker: what it answers, and which connections it aborts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path

import pytest
import pytest_asyncio

from consumer.monitoring import http_server as http_server_module
from consumer.monitoring.http_server import HttpServer, ListenError, Response


async def well() -> Response:
    """Be well."""
    return Response(HTTPStatus.OK, b'{"well": true}')


async def broken() -> Response:
    """Have a defect."""
    raise RuntimeError("ana@example.com")


@pytest_asyncio.fixture
async def port() -> AsyncIterator[int]:
    """Lend the port of a server."""
    server = HttpServer({"/well": well, "/broken": broken})
    yield await server.listen("127.0.0.1", 0)
    await server.close()


async def exchange(port: int, request: bytes) -> bytes:
    """Send some bytes, and return all that comes back until the end."""
    async with asyncio.timeout(60):
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
        ("GET /well HTTP/1.1\r\nHost: another", 400, b"Bad Request\n"),
        ("GET /well HTTP/2.0", 400, b"Bad Request\n"),
        ("\u00e9", 400, b"Bad Request\n"),
    ],
)
async def test_an_answer(port: int, request_line: str, status: int, body: bytes) -> None:
    """GET and HEAD of the routes are answered, anything else is refused by its status; then the connection ends."""
    head, _, rest = (await exchange(port, f"{request_line}\r\nHost: x\r\n\r\n".encode())).partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"\r\nConnection: close" in head
    assert rest == body
    assert (b"\r\nAllow: GET, HEAD" in head) is (status == 405)


async def test_a_request_without_host_is_answered(port: int) -> None:
    """HTTP/1.1 demands it, but a parent process of release 0.1.0 asks its children without."""
    assert (await exchange(port, b"GET /well HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 200 ")


async def test_a_head_that_is_too_long_is_refused(port: int) -> None:
    """However much more would come."""
    answer = await exchange(port, b"GET /well HTTP/1.1\r\nX: " + b"x" * http_server_module.HEAD_BYTES * 3 + b"\r\n\r\n")
    assert b"200" not in answer


async def test_whoever_says_nothing_is_let_go(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a request holds a connection for a while only."""
    monkeypatch.setattr(http_server_module, "REQUEST_SECONDS", 0.05)
    assert await exchange(port, b"GET /well HT") == b""


async def test_whoever_is_silent_makes_room(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are too many, it is not the one who asks that is turned away."""
    monkeypatch.setattr(http_server_module, "CONNECTIONS", 1)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /well HT")
    await writer.drain()
    assert (await exchange(port, b"GET /well HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    async with asyncio.timeout(60):
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
    writer.close()


async def test_nobody_is_cut_off_in_his_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all are being answered, one more is turned away."""
    monkeypatch.setattr(http_server_module, "CONNECTIONS", 1)
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> Response:
        asked.set()
        await go_on.wait()
        return Response(HTTPStatus.OK, b"at last")

    server = HttpServer({"/slow": slow})
    port = await server.listen("127.0.0.1", 0)
    first = asyncio.create_task(exchange(port, b"GET /slow HTTP/1.1\r\n\r\n"))
    await asked.wait()
    with suppress(ConnectionResetError):
        assert await exchange(port, b"GET /slow HTTP/1.1\r\n\r\n") == b""
    go_on.set()
    assert (await first).endswith(b"at last")
    await server.close()


async def test_a_slow_answer_keeps_no_other_waiting() -> None:
    """However many ask for a check that waits, the process is known to live; those beyond the limit are told."""
    go_on, asked = asyncio.Event(), 0

    async def slow() -> Response:
        nonlocal asked
        asked += 1
        await go_on.wait()
        return Response(HTTPStatus.OK, b"at last")

    async def well() -> Response:
        return Response(HTTPStatus.OK, b"well")

    server = HttpServer({"/slow": slow, "/well": well})
    port = await server.listen("127.0.0.1", 0)
    many = [
        asyncio.create_task(exchange(port, b"GET /slow HTTP/1.1\r\n\r\n"))
        for _ in range(http_server_module.CONNECTIONS)
    ]
    refused = 0
    async with asyncio.timeout(60):
        for answer in asyncio.as_completed(many):
            assert (await answer).startswith(b"HTTP/1.1 503 ")
            refused += 1
            if refused == len(many) - http_server_module.ANSWERS_OF_A_PATH:
                break
        for _ in range(3):
            assert (await exchange(port, b"GET /well HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        go_on.set()
        answers = await asyncio.gather(*many)
    assert sum(answer.endswith(b"at last") for answer in answers) == asked == http_server_module.ANSWERS_OF_A_PATH
    assert (await exchange(port, b"GET /slow HTTP/1.1\r\n\r\n")).endswith(b"at last"), "places are free again"
    await server.close()


async def test_an_address_that_is_taken_is_named(port: int, tmp_path: Path) -> None:
    """With the address, for people; so is a socket whose path is too long."""
    with pytest.raises(ListenError, match=f"cannot listen on 127.0.0.1:{port}: "):
        await HttpServer({}).listen("127.0.0.1", port)
    with pytest.raises(ListenError, match="cannot listen on /"):
        await HttpServer({}).listen_locally(tmp_path / ("x" * 200))


@pytest.mark.parametrize(
    ("host", "taken", "setting", "remedy"),
    [
        ("nosuch.invalid", False, "HOST", "a name or an address of this machine"),
        ("a..b", False, "HOST", "a name or an address of this machine"),
        ("203.0.113.7", False, "HOST", "an address of this machine"),
        ("127.0.0.1", True, "PORT", "see who has it"),
    ],
)
async def test_the_setting_that_is_wrong_is_named(port: int, host: str, taken: bool, setting: str, remedy: str) -> None:
    """A host that is not here is no matter of the port."""
    with pytest.raises(ListenError, match=remedy) as refused:
        await HttpServer({}).listen(host, port if taken else 0)
    assert refused.value.setting == setting


def test_a_port_that_needs_a_right() -> None:
    """The error is the one that a user other than root gets."""
    error = http_server_module.cannot_listen("127.0.0.1:80", PermissionError(13, "Permission denied"))
    assert error.setting == "PORT"
    assert "(EACCES); a port below 1024 needs a privilege" in str(error)


async def test_a_socket_that_a_dead_process_left_is_taken_over(tmp_path: Path) -> None:
    """The next process listens in its place."""
    left = HttpServer({"/well": well})
    await left.listen_locally(tmp_path / "1")
    other = HttpServer({"/well": well})
    await other.listen_locally(tmp_path / "1")
    reader, writer = await asyncio.open_unix_connection(tmp_path / "1")
    await left.close()
    writer.write(b"GET /well HTTP/1.1\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
    writer.close()
    await other.close()
