"""Nothing that somebody else wrote steers the terminal of whoever runs a command, nor gets into a log as more than a
short id: every command that reads is run, and every line that a worker logs is read."""

import asyncio
import io
import json
import logging
import random
import re
from pathlib import Path
from typing import Any

import click
import pytest
import structlog
from click.testing import CliRunner

from consumer.broker.protocol import Message
from consumer.broker.rabbitmq.adapter import RabbitBroker
from consumer.broker.topology import Topology
from consumer.store.database import Store
from consumer.telemetry import logs
from ops.cli.main import main
from ops.publishing import publish_all, publishing
from tests.contract.faulty_broker import FaultyMemoryBroker
from tests.hostile_text import ADDRESS, OWNER, WEBSITE, fill, hostile, send_dead_letters, steering
from tests.service import starter

ID = str(WEBSITE)
COLOUR = re.compile(r"\x1b\[\d*m")
READING = (
    "list", "list --failed", f"status {ID}", f"explain {ID}", "actions list", "workers", "doctor", "overview",
    "failures", f"requeue {ID} --dry-run", "requeue --failed --dry-run", f"start {ID} --dry-run", "packs list",
    "packs check",
    "dead-letters list", "dead-letters groups", "dead-letters redrive --all --dry-run", "dead-letters export",
)  # fmt: skip
"""Every command that shows what others wrote; `dead-letters show` is run for each dead letter."""
WITHOUT = {
    "completion", "console", "demo", "events", "follow-token", "init", "pause", "ready", "resume", "submit", "worker",
    "go-live", "reactivate", "suspend", "terminate", "contracts", "erase", "prune",
}  # fmt: skip
"""Commands that show what they do or were told, and nothing of others."""


def test_every_command_is_run_here_or_shows_nothing_of_others() -> None:
    """A new command is added to one of the two lists."""
    assert {line.split()[0] for line in READING} | WITHOUT == set(main.list_commands(click.Context(main)))


@pytest.mark.parametrize("form", ["table", "json"])
async def test_no_command_is_steered_by_a_sender(  # noqa: PLR0917 - fixtures
    monkeypatch: pytest.MonkeyPatch, store: Store, database_url: str, amqp_url: str, namespace: str, tmp_path: Path,
    form: str,
) -> None:  # fmt: skip
    """Every command prints only printable tables and JSON, with hostile text in every column, header and body."""
    dice, broker, topology = random.Random(5), RabbitBroker(amqp_url), Topology(namespace)
    await broker.declare(topology)
    async with store.connection() as connection:
        await fill(connection, dice)
    message_ids = await send_dead_letters(broker, topology, dice)
    hostile_pack(tmp_path, dice)
    settings = {"DATABASE_URL": database_url, "AMQP_URL": amqp_url, "NAMESPACE": namespace, "PACKS_DIR": str(tmp_path)}
    for name, value in settings.items():
        monkeypatch.setenv(f"PROVISIONER_{name}", value)
    lines = [line.split() for line in READING] + [["dead-letters", "show", each] for each in message_ids]
    lines += [["dead-letters", "show", hostile(dice)], ["status", hostile(dice)], ["packs", "show", "mine"]]
    shown = ""
    for line in lines:
        asked = [*line, "--json"] if form == "json" and line[:2] != ["dead-letters", "export"] else line
        answer = await asyncio.to_thread(CliRunner().invoke, main, asked, prog_name="provisioner")
        assert answer.exception is None or isinstance(answer.exception, SystemExit), (line, answer.exc_info)
        assert answer.exit_code in (0, 1, 2), (line, answer.output)
        assert steering(answer.stdout) == [], line
        assert steering(answer.stderr) == [], line
        shown += answer.stdout
    assert shown.count("forged") > 30, "nothing of it was shown"


@pytest.mark.parametrize("form", ["json", "console"])
async def test_no_log_line_has_more_of_a_sender_than_a_short_id(
    monkeypatch: pytest.MonkeyPatch, database_url: str, tmp_path: Path, form: str
) -> None:
    """A worker meets hostile messages, and a pack with such texts: no line is steered, no owner is named."""
    stream, dice, broker = io.StringIO(), random.Random(6), FaultyMemoryBroker()
    monkeypatch.setattr(logging.root, "handlers", [])
    monkeypatch.setattr(logs.sys, "stderr", stream)
    logs.configure_logs("debug", form)  # type: ignore[arg-type]
    hostile_pack(tmp_path, dice)
    async with starter(database_url, tmp_path)(broker) as service:
        messages = list(hostile_messages(service.topology, dice))
        async with publishing(broker) as session:
            await publish_all(session, messages)
        await service.settled()
        await service.created(70, seed_pack="mine", site_type=None)
        await service.reaches(70, "live")
        assert len(service.letters()) == len(messages)
    text = stream.getvalue()
    structlog.reset_defaults()
    assert steering(COLOUR.sub("", text)) == []
    assert "forged" in text
    assert OWNER not in text
    assert ADDRESS not in text
    if form == "json":
        lines = [json.loads(line) for line in text.splitlines()]
        assert sum(line["event"] == "delivery" for line in lines) > len(messages)
        ids = [line[name] for line in lines for name in logs.IDS & line.keys() if line[name]]
        assert max(map(len, ids)) <= 66
        assert all(steering(value, "") == [] for line in lines for value in line.values() if isinstance(value, str))


def hostile_messages(topology: Topology, dice: random.Random) -> Any:
    """Yield messages that are poison for their id, type, encoding, headers or body; the owner's name is in each."""
    body = json.dumps({"website_id": 71, "owner": {"name": OWNER, "email": ADDRESS}, OWNER: hostile(dice)}).encode()
    good = "00000000-0000-4000-8000-00000000000"
    for number, (message_id, kind, properties) in enumerate([
        (hostile(dice), "website.created", {}), (good + "1", hostile(dice), {}),
        (hostile(dice) * 5, hostile(dice) * 5, {}),
        (good + "2", "website.created", {"content_encoding": hostile(dice)}), (good + "3", "website.created", {}),
        (good + "4", "provisioning.suspend", {"correlation_id": OWNER}),
    ]):  # fmt: skip
        headers = {"traceparent": hostile(dice), hostile(dice): OWNER, "number": number}
        yield Message(message_id, kind, body, "", topology.commands, True, headers, properties)


def hostile_pack(folder: Path, dice: random.Random) -> None:
    """Write a pack whose every text, and whose errors, are hostile."""
    pack = folder / "mine"
    pack.mkdir()
    odd = json.dumps(hostile(dice))
    (pack / "pack.yml").write_text(f"name: mine\ndisplay_name: {odd}\ndescription: {odd}\n{odd}: 1\n")
    (pack / "links.yml").write_text(f"- {{slug: {odd}, link_url: {odd}, {odd}: {odd}}}\n- {odd}\n")
