"""`provisioner console` as a program: what it says when it cannot start, what it says of what is away, how it ends."""

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import httpx

from tests.console.conftest import OPERATOR
from tests.worker_processes import until


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
        PROVISIONER_CONSOLE_OPERATOR_TOKENS=f"ana={OPERATOR}", PROVISIONER_CONSOLE_FOLLOW_SECRETS="k" * 32,
    )  # fmt: skip

    async def answers() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return False
        writer.close()
        return True

    try:
        await until(answers, 20, "the console listens")
        headers = {"authorization": f"Bearer {OPERATOR}"}
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=20) as client:
            assert (await client.get("/api/websites")).json() == {"websites": [], "next": None}
            answer = await client.get("/dead-letters")
            assert answer.status_code == 503
            assert "RabbitMQ is away" in answer.text
            assert (await client.get("/api/websites/7/provisioning?token=7.9.secret")).status_code == 404
            async with client.stream("GET", "/api/events") as stream:
                async with asyncio.timeout(15):
                    assert await anext(stream.aiter_lines()) == "event: states"
                    process.send_signal(signal.SIGTERM)
                    _, err = await process.communicate()
        assert process.returncode == 0, err
        assert b"7.9.secret" not in err
        assert OPERATOR.encode() not in err
        assert b"Traceback" not in err
        assert b'"what": "/api/websites/7/provisioning"' in err
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
