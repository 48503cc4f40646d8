"""The commands `dead-letters …` on a real RabbitMQ and PostgreSQL: what they ask, refuse, send, write and say."""

import asyncio
import json
import stat
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from click.testing import CliRunner, Result

from consumer.broker.protocol import Message
from consumer.broker.rabbitmq.adapter import RabbitBroker
from consumer.broker.topology import Topology
from consumer.store.database import Store
from ops.audit.queries import recent_actions
from ops.cli.main import main
from ops.dead_letters import queue_lease
from ops.dead_letters.queue_lease import leased
from ops.publishing import publish_all, publishing

NASTY = "\x1b[31m\x9bred\u202e"


@dataclass
class Tool:
    """The command line, in this process, and what is behind it."""

    broker: RabbitBroker
    topology: Topology
    store: Store

    async def __call__(self, *arguments: str, typed: str | None = None) -> Result:
        """Run `dead-letters ARGUMENTS`."""
        line = ["dead-letters", *arguments]
        return await asyncio.to_thread(CliRunner().invoke, main, line, input=typed, prog_name="provisioner")

    async def good(self, *arguments: str) -> Any:
        """Run one with --json that must succeed; return what it said."""
        answer = await self(*arguments, "--json")
        assert (answer.exit_code, answer.stderr) == (0, ""), answer.output
        return json.loads(answer.stdout)

    async def one_line(self, code: int, *arguments: str, typed: str | None = None) -> str:
        """Run one that must end with this code and one line on standard error; return that."""
        answer = await self(*arguments, typed=typed)
        assert (answer.exit_code, answer.stdout) == (code, ""), answer.output
        assert answer.stderr.count("\n") == 1, answer.stderr
        return answer.stderr

    async def letter(self, body: Any, reason: str = "poison", name: str = "website.created", failed: int = 1) -> str:
        """Make a dead letter that failed on a day of January 2026; return its id."""
        message_id = str(uuid.uuid4())
        headers = {
            "x-reason": reason, "x-error": f"website {failed}: {NASTY}", "x-source-queue": self.topology.signups,
            "x-failed-at": f"2026-01-{failed:02}T00:00:00Z",
        }  # fmt: skip
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        letter = Message(message_id, name, text, "", self.topology.dead_letters, True, headers)
        async with publishing(self.broker) as session:
            await publish_all(session, [letter])
        return message_id

    async def left(self) -> set[str]:
        """Return the ids of the dead letters that are there."""
        return {str(letter.message_id) for letter in await self.broker.peek(self.topology.dead_letters, 100)}


@pytest_asyncio.fixture
async def tool(
    database_url: str, amqp_url: str, namespace: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Tool]:
    """The commands, on servers of this test; nobody works behind them."""
    for name, value in (("DATABASE_URL", database_url), ("AMQP_URL", amqp_url), ("NAMESPACE", namespace)):
        monkeypatch.setenv(f"PROVISIONER_{name}", value)
    broker = RabbitBroker(amqp_url)
    await broker.declare(Topology(namespace))
    yield Tool(broker, Topology(namespace), store)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever types, types on a terminal."""
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda _: True)


async def test_reading(tool: Tool) -> None:
    """Filters choose, groups fold and name themselves, and what publishers wrote moves no cursor, in JSON neither."""
    poison = await tool.letter({"website_id": 7, "note": f"{NASTY} ana@example.com"}, failed=1)
    other = await tool.letter({"website_id": 8, "colour": "red"}, failed=2)
    illegal = await tool.letter({"website_id": 7}, "illegal", "provisioning.suspend", failed=3)
    assert [found["message_id"] for found in await tool.good("list")] == [illegal, other, poison]
    for arguments, ids in (
        (("--reason", "illegal"), [illegal]), (("--type", "website.created"), [other, poison]),
        (("--website", "7"), [illegal, poison]), (("--text", "ANA@"), [poison]), (("--newer-than", "1h"), []),
        (("--older-than", "2h", "--limit", "1"), [illegal]),
    ):  # fmt: skip
        assert [found["message_id"] for found in await tool.good("list", *arguments)] == ids, arguments
    first, second = await tool.good("list", "--grouped")
    assert (first["letters"], first["reason"], second["letters"]) == (2, "poison", 1)
    assert len(await tool.good("list", "--group", first["group"])) == 2
    for line in ("list", "list --json", "list --grouped", f"show {poison}", f"show {poison} --json", "export"):
        answer = await tool(*line.split())
        assert answer.exit_code == 0
        assert answer.stdout.replace("\n", "").isprintable(), line
    shown = (await tool("show", poison)).stdout
    assert "contract     website.created: note: is not known" in shown
    assert '  "note": "\\u001b[31m\\u009bred\\u202e ana@example.com"' in shown
    assert "contract     fulfilled" in (await tool("show", illegal)).stdout
    assert await tool.left() == {poison, other, illegal}
    assert "there is no dead letter nobody; `provisioner dead-letters list`" in await tool.one_line(1, "show", "nobody")


async def test_redriving_asks(tool: Tool) -> None:
    """Without a terminal and without --yes nothing is sent, and the line says what would have come of it."""
    ids = [await tool.letter({"website_id": number, "subdomain": f"site-{number}"}, failed=number) for number in (1, 2)]
    poison = await tool.letter({"website_id": "x"}, failed=3)
    for unexplained in (("--all",), ("--all", "--yes", "--why", " ")):
        assert "--why: say why; it is recorded" in await tool.one_line(2, "redrive", *unexplained)
    said = await tool.one_line(2, "redrive", "--all", "--why", "mended")
    assert (
        "send back dead letters, 3 selected: 2 may be carried out, 1 poison again; say --yes if that is meant" in said
    )
    assert await tool.one_line(2, "redrive")
    assert await tool.left() == {*ids, poison}
    assert await recent_actions(tool.store) == []
    (sent,) = await tool.good("redrive", "--all", "--limit", "1", "--yes", "--why", "x")
    assert sent["message_id"] == ids[0]
    absent = await tool("redrive", ids[1], "nobody", "--yes")
    assert (absent.exit_code, absent.stdout) == (1, "dead letters sent back: 1\n")
    assert absent.stderr == "provisioner: there is no dead letter nobody; `provisioner dead-letters list` shows all\n"
    assert await tool.left() == {poison}
    assert {str(m.message_id) for m in await tool.broker.peek(tool.topology.signups, 10)} == set(ids)
    assert await tool.good("redrive", "--all", "--reason", "illegal", "--yes", "--why", "x") == []


@pytest.mark.usefixtures("terminal")
async def test_whoever_is_asked_may_say_no(tool: Tool) -> None:
    """A no does nothing; what comes while the question stands is not sent, for nobody has agreed to it."""
    first = await tool.letter({"website_id": 1, "subdomain": "site-1"})
    no = await tool("redrive", "--all", "--why", "x", typed="n\n")
    assert (no.exit_code, no.stdout) == (1, "")
    assert "1 may be carried out. Go on? [y/N]" in no.stderr
    assert await tool.left() == {first}
    asking = asyncio.Event()
    loop, late = asyncio.get_running_loop(), []

    def confirm(*_: Any, **__: Any) -> bool:
        loop.call_soon_threadsafe(asking.set)
        late.append(asyncio.run_coroutine_threadsafe(tool.letter({"website_id": 2}), loop).result(10))
        return True

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("click.confirm", confirm)
        sent = await tool("discard", "--all", "--why", "a test")
    assert sent.stdout == "dead letters discarded: 1\n"
    assert await tool.left() == set(late)


async def test_discarding_needs_a_reason(tool: Tool) -> None:
    """Without one it is wrong usage; with one it is recorded: who, why, which, and what came of it."""
    ids = [await tool.letter(b"\xff", failed=number) for number in (1, 2)]
    assert "--why" in await tool.one_line(2, "discard", ids[0], "--yes")
    assert "--why" in await tool.one_line(2, "discard", ids[0], "--yes", "--why", " ")
    assert "discard 2 dead letters: nothing brings them back" in await tool.one_line(
        2, "discard", "--all", "--why", "x"
    )
    assert len(await tool.good("discard", ids[0], "--why", "no text", "--actor", "cli:ana", "--yes")) == 1
    (action,) = await recent_actions(tool.store)
    assert (action["verb"], action["actor"], action["reason"]) == ("discard", "cli:ana", "no text")
    assert (action["message_id"], action["outcome"]) == (ids[0], "done")
    assert await tool.left() == {ids[1]}


async def test_editing(tool: Tool, tmp_path: Path) -> None:
    """A body that breaks the contract, is of another website or no text at all is refused; a good one may be tried."""
    sent = await tool.letter({"website_id": 7, "colour": "red"})
    bodies = {
        "poison": b'{"website_id": 7, "colour": "blue"}', "other": b'{"website_id": 8}', "bytes": b"\xff\xfe",
        "same": json.dumps({"website_id": 7, "colour": "red"}).encode(),
        "good": b'{"website_id": 7, "subdomain": "site-7"}',
    }  # fmt: skip
    for name, body in bodies.items():
        (tmp_path / name).write_bytes(body)
    for name, why in (
        ("poison", "poison again: website.created: colour"), ("other", "the original is about website 7"),
        ("bytes", "not UTF-8"), ("same", "redrive it"),
    ):  # fmt: skip
        assert why in await tool.one_line(1, "edit", sent, "--body", str(tmp_path / name)), name
    assert "--body" in await tool.one_line(2, "edit", sent)
    assert "there is no dead letter" in await tool.one_line(1, "edit", "nobody", "--body", str(tmp_path / "good"))
    tried = await tool.good("edit", sent, "--body", str(tmp_path / "good"), "--dry-run")
    assert tried["summary"] == "1 selected: 1 may be carried out"
    assert await tool.left() == {sent}
    done = await tool("edit", sent, "--body", "-", typed=bodies["good"].decode())
    assert done.stdout == f"sent back as message {tried['letters'][0]['message_id']}\n"
    (copy,) = await tool.broker.peek(tool.topology.signups, 10)
    assert (copy.body, copy.headers.pop("x-redriven-by")[:4]) == (bodies["good"], "cli:")
    assert copy.headers == {"x-edited-from": sent}


@pytest.mark.usefixtures("terminal")
async def test_an_editor_may_try_again(tool: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was typed and broke the contract is not lost: the editor opens with it once more."""
    sent = await tool.letter({"website_id": 7, "colour": "red"})
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nif grep -q subdomain "$1"; then sed -i "s/,\\"bad\\":1//" "$1"; else '
                      'echo \'{"website_id":7,"subdomain":"site-7","bad":1}\' > "$1"; fi\n')  # fmt: skip
    editor.chmod(0o700)
    monkeypatch.setenv("EDITOR", str(editor))
    done = await tool("edit", sent, typed="y\n")
    assert "bad: is not known" in done.stderr
    assert done.exit_code == 0, done.output
    (copy,) = await tool.broker.peek(tool.topology.signups, 10)
    assert json.loads(copy.body) == {"website_id": 7, "subdomain": "site-7"}


async def test_exporting(tool: Tool, tmp_path: Path) -> None:
    """One line each into a new file that is its owner's alone; one that is there stays as it is."""
    text, odd = await tool.letter({"website_id": 7}), await tool.letter(b"\xff", failed=2)
    output = tmp_path / "letters.ndjson"
    answer = await tool("export", "--output", str(output))
    assert answer.stdout == f"2 dead letters written to {output}\n"
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    lines = {line["message_id"]: line for line in map(json.loads, output.read_text().splitlines())}
    assert (lines[text]["body"], lines[odd]["body_base64"]) == ('{"website_id": 7}', "/w==")
    assert lines[text]["queue"] == tool.topology.signups
    assert "is there already" in await tool.one_line(1, "export", "--output", str(output))
    assert "cannot be written" in await tool.one_line(1, "export", "--output", str(tmp_path / "no" / "where"))
    assert await tool.left() == {text, odd}


async def test_another_tool_has_the_lease(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    """While another tool has the lease every command says so in one line, and none says that there are none."""
    monkeypatch.setattr(queue_lease, "GIVE_UP_SECONDS", 0.1)
    sent = await tool.letter({"website_id": 7})
    async with leased(tool.broker, tool.topology.dead_letters):
        for line in ("list", f"show {sent}", "redrive --all --why x --yes", "discard --all --why x --yes", "export"):
            assert "another tool is reading" in await tool.one_line(1, *line.split()), line
    assert len(await tool.good("list")) == 1
