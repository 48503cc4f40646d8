"""How a parent answers for its processes: what each of them does, and what that makes of the group."""

import asyncio
from pathlib import Path

import pytest

from ops import answering as answering_module
from ops.answering import Group, _fetch


async def test_a_process_that_hangs_is_not_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has its socket open and does not answer; one that is not there yet, or has just ended, is no fault."""
    monkeypatch.setattr(answering_module, "ASKING_SECONDS", 0.05)
    group = Group(tmp_path, 3)
    hung: list[asyncio.StreamWriter] = []

    async def hang(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hung.append(writer)

    async def end(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    ending = await asyncio.start_unix_server(end, group.socket(2))
    assert (await group.routes["/livez"]()).status == 200
    assert (await group.routes["/readyz"]()).status == 503
    assert (await _fetch(group.socket(3), "/livez")).status is None
    hanging = await asyncio.start_unix_server(hang, group.socket(1))
    answer = await group.routes["/livez"]()
    assert answer.status == 503
    assert b'{"process 1": "has not answered' in answer.body
    assert b"process 2" not in answer.body
    for writer in hung:
        writer.transport.abort()
    for server in (hanging, ending):
        server.close()
