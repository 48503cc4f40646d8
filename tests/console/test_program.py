"""`provisioner console` as a program: what it says when it cannot start, what it says of what is away, how it ends."""

import asyncio
import os
import resource
import signal
import socket
import sys
from functools import partial
from pathlib import Path

import httpx

from tests.console.conftest import FOLLOW, OPERATOR
from tests.worker_processes import listens, until


def free_port() -> int:
    """A port at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def run(folder: Path, *arguments: str, **environment: str) -> asyncio.subprocess.Process:
    """Start `provisioner` with settings of its own."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ops", *arguments, env=os.environ | environment, cwd=folder,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def test_without_anybody_to_let_in_it_ends_with_one_line(tmp_path: Path) -> None:
    """Exit code 2, and the line says what to set; so does a token for a customer without a key."""
    for arguments in (("console",), ("follow-token", "42")):
        process = await run(tmp_path, *arguments)
        out, err = await process.communicate()
        assert (process.returncode, out, err.count(b"\n")) == (2, b"", 1), err
        assert b"PROVISIONER_CONSOLE_" in err


async def test_it_says_what_is_away_logs_no_secret_and_ends_with_streams_open(
    tmp_path: Path, database_url: str
) -> None:
    """Without a broker it reads on and says so where one is needed; SIGTERM ends it while a stream is open."""
    port, away = free_port(), free_port()
    process = await run(
        tmp_path, "console", PROVISIONER_DATABASE_URL=database_url, PROVISIONER_LOG_FORMAT="json",
        PROVISIONER_AMQP_URL=f"amqp://guest:guest@127.0.0.1:{away}/", PROVISIONER_CONSOLE_PORT=str(port),
        PROVISIONER_CONSOLE_OPERATOR_TOKENS=f"ana={OPERATOR}", PROVISIONER_CONSOLE_FOLLOW_SECRETS=FOLLOW,
    )  # fmt: skip

    try:
        await until(partial(listens, port), 60, "the console listens")
        headers = {"authorization": f"Bearer {OPERATOR}"}
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60) as client:
            assert (await client.get("/api/websites")).json() == {"websites": [], "next": None}
            answer = await client.get("/dead-letters")
            assert answer.status_code == 503
            assert "RabbitMQ: cannot connect" in answer.text
            assert (await client.get("/api/websites/7/provisioning?token=7.9.secret")).status_code == 404
            async with client.stream("GET", "/api/events") as stream:
                async with asyncio.timeout(60):
                    assert await anext(stream.aiter_lines()) == "event: states"
                    process.send_signal(signal.SIGTERM)
                    _, err = await process.communicate()
        assert process.returncode == 0, err
        assert b"7.9.secret" not in err
        assert OPERATOR.encode() not in err
        assert b"Traceback" not in err
        assert b'"what":"/api/websites/7/provisioning"' in err
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_sighup_ends_it_as_sigterm_does(tmp_path: Path, database_url: str) -> None:
    """Its terminal was closed: it serves to the end what is under way, and ends with exit code 0."""
    port = free_port()
    process = await run(
        tmp_path, "console", PROVISIONER_DATABASE_URL=database_url, PROVISIONER_CONSOLE_PORT=str(port),
        PROVISIONER_CONSOLE_OPERATOR_TOKENS=f"ana={OPERATOR}",
    )  # fmt: skip

    try:
        await until(partial(listens, port), 60, "the console listens")
        process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(60):
            await process.communicate()
        assert process.returncode == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    """Exit code 2, the setting and the errno, and nothing of uvicorn's log."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        process = await run(
            tmp_path, "console", PROVISIONER_CONSOLE_PORT=str(taken.getsockname()[1]),
            PROVISIONER_CONSOLE_OPERATOR_TOKENS=f"ana={OPERATOR}",
        )  # fmt: skip
        out, err = await process.communicate()
    assert (process.returncode, out, err.count(b"\n")) == (2, b"", 1), err
    assert b"PROVISIONER_CONSOLE_PORT: cannot listen on 127.0.0.1" in err
    assert b"EADDRINUSE" in err


async def test_livez_answers_where_more_connect_than_it_may_open_files(tmp_path: Path, database_url: str) -> None:
    """A process that may open 256 files is held by 800 half heads no more than one that may open thousands."""
    port = free_port()

    def few_files() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))

    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ops", "console", cwd=tmp_path, stderr=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL, preexec_fn=few_files,
        env=os.environ | {
            "PROVISIONER_DATABASE_URL": database_url, "PROVISIONER_CONSOLE_PORT": str(port),
            "PROVISIONER_CONSOLE_OPERATOR_TOKENS": f"ana={OPERATOR}",
        },
    )  # fmt: skip
    writers: list[asyncio.StreamWriter] = []

    async def half_a_head() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return False
        writers.append(writer)
        writer.write(b"GET / HTTP/1.1\r\nHost:")
        return True

    try:
        await until(half_a_head, 60, "the console listens")
        for _ in range(800):
            assert await half_a_head()
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            assert (await client.get("/livez")).text == "ok\n"
    finally:
        for writer in writers:
            writer.transport.abort()
        process.kill()
        await process.wait()
