"""The audit trail: one row an action, its items beside it, each recorded before it takes effect and settled after."""

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from consumer.broker.protocol import BrokerDownError
from consumer.broker.topology import Topology
from consumer.config import SettingsError
from consumer.store import schema_lifecycle
from consumer.store.database import Store
from ops.audit.identity_proof import Means, Proof
from ops.audit.log_file import AuditLog, audit_log, is_denial
from ops.audit.queries import ActionFilter, action_details, find_actions, recent_actions
from ops.audit.trail import ActionItem, AuditTrail
from ops.errors import InvalidInputError, NotFoundError
from ops.websites.bulk_requeue import requeue_websites
from tests.contract.faulty_broker import FaultyMemoryBroker

ANA = Proof(Means.TOKEN, "ana", "operator", source="192.0.2.7")


@pytest.fixture
def lines(tmp_path: Path) -> Iterator[Path]:
    """The file to which the audit lines of this test go."""
    path = tmp_path / "audit.log"
    audit_log.configure(str(path))
    yield path
    audit_log.configure("")


def read(path: Path) -> list[dict[str, Any]]:
    """Return the lines of an audit log."""
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_actions_are_recorded_and_settled(store: Store, lines: Path) -> None:
    """An action and its items are there, and open, before anything is done; afterwards each has its outcome."""
    trail = AuditTrail(store, "console:ana", "a test", ANA)
    items = [
        ActionItem("m-1", 7, {"type": "website.created"}),
        ActionItem("m-2", 8),
        ActionItem(None, 9, {}, "not sent"),
    ]
    async with trail.action("discard", reason_filter="poison", nothing=None) as action:
        action.about("dead letter", ["m-1", "m-2", "m-3"])
        first, second, _ = await action.record(items)
        (found,) = await recent_actions(store)
        assert (found["outcome"], found["result"], found["items"]) == (None, "open", 3)
        details = await action_details(store, found["id"])
        assert [item["outcome"] for item in details["results"]] == [None, None, "not sent"]
        assert read(lines) == [] if lines.exists() else True
        await action.settle({first: "done", second: "done"})
    (found,) = await recent_actions(store)
    assert (found["actor"], found["person"], found["proof"]) == ("console:ana", "ana", "token from 192.0.2.7")
    assert (found["verb"], found["reason"], found["target"]) == ("discard", "a test", "3 dead letters")
    assert (found["result"], found["outcome"]) == ("partly", "2 done; 1 not sent")
    assert found["detail"] == {"reason_filter": "poison"}
    assert found["settled_at"] >= found["occurred_at"]
    (seen,) = await recent_actions(store, website_id=7)
    assert (seen["id"], seen["message_id"], seen["outcome"]) == (found["id"], "m-1", "done")
    assert seen["detail"] == {"type": "website.created", "reason_filter": "poison"}
    (line,) = read(lines)
    assert line["@timestamp"].endswith("Z")
    assert (line["event.kind"], line["event.category"], line["event.type"], line["event.action"]) == (
        "event", ["api"], ["change", "allowed"], "discard",
    )  # fmt: skip
    assert (line["event.outcome"], line["event.id"], line["event.reason"]) == (
        "failure", str(found["id"]), "2 done; 1 not sent",
    )  # fmt: skip
    assert (line["user.name"], line["user.roles"], line["source.ip"]) == ("ana", ["operator"], "192.0.2.7")
    assert (line["provisioner.proof"], line["provisioner.target"], line["provisioner.items"]) == (
        "token", "3 dead letters", 3,
    )  # fmt: skip


async def test_an_action_that_ends_early_is_settled(store: Store, lines: Path) -> None:
    """An error, a cancellation or a server's refusal that ends an action is the outcome in its row and line."""
    trail = AuditTrail(store, "cli:ana", "a test")
    ends = (
        (BrokerDownError("connection lost"), "1 done; 1 not known; RabbitMQ: connection lost"),
        (asyncio.CancelledError(), "1 done; 1 not known; stopped before its end"),
        (InvalidInputError("say why"), "1 done; 1 not known; say why"),
    )
    for error, _ in ends:
        with pytest.raises(type(error)):  # noqa: PT012 - the action is what raises
            async with trail.action("requeue") as action:
                first, _ = await action.record([ActionItem(None, 1), ActionItem(None, 2)])
                await action.settle({first: "done"})
                raise error
    found = (await recent_actions(store))[::-1]
    assert [each["result"] for each in found] == ["partly"] * 3
    for each, (_, text), line in zip(found, ends, read(lines), strict=True):
        assert each["outcome"].startswith(text)
        assert (line["event.outcome"], line["event.reason"]) == ("failure", each["outcome"])


async def test_a_right_that_is_missing_is_a_denied_action(store: Store, lines: Path) -> None:
    """Where the server refuses the record itself there is no row, and the line says denied."""
    async with store.connection() as connection:
        await connection.execute("CREATE ROLE nobody_special; SET ROLE nobody_special")
        try:
            with pytest.raises(asyncpg.InsufficientPrivilegeError) as refused:
                await connection.execute("SELECT FROM provisioning_operator_actions")
        finally:
            await connection.execute("RESET ROLE; DROP ROLE nobody_special")
    assert is_denial(refused.value)
    assert not is_denial(ValueError("no"))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with AuditTrail(store, "cli:ana").action("pause"):
            raise refused.value
    (line,) = read(lines)
    assert (line["event.type"], line["event.outcome"]) == (["change", "denied"], "failure")
    assert await recent_actions(store) == []


async def test_three_thousand_websites_are_one_row(store: Store, lines: Path) -> None:
    """A requeue in bulk is one action, and a pause before it is on the first page; its items have each website."""
    broker = FaultyMemoryBroker()
    await broker.declare(Topology("t"))
    async with AuditTrail(store, "cli:ana", "maintenance").action("pause", "all workers") as action:
        await action.begin()
    async with store.connection() as connection:
        await connection.execute(
            """INSERT INTO pwb_websites (id, subdomain, created_at, updated_at)
               SELECT n, 'site-' || n, now(), now() FROM generate_series(1, 3000) AS n;
               ALTER TABLE pwb_websites DISABLE TRIGGER USER;
               UPDATE pwb_websites SET provisioning_state = 'failed', provisioning_failed_from = 'pending',
                      provisioning_seq = 1, provisioning_failed_at = now(), provisioning_error = 'no owner';
               ALTER TABLE pwb_websites ENABLE TRIGGER USER"""
        )
    results = await requeue_websites(
        store, broker, "t", range(1, 3001), actor="cli:ana", reason="pack mended", selection={"pack": "base"}
    )
    assert sum(result["sent"] for result in results) == 3000
    page = await find_actions(store, limit=2)
    assert (page["total"], page["next"]) == (2, None)
    requeue, pause = page["items"]
    assert (requeue["target"], requeue["outcome"], requeue["items"]) == ("3000 websites", "3000 published", 3000)
    assert requeue["detail"] == {"pack": "base"}
    assert (pause["verb"], pause["result"]) == ("pause", "success")
    last = await action_details(store, requeue["id"], after=2900)
    assert [item["item"] for item in last["results"]] == list(range(2901, 3001))
    assert last["next"] is None
    first = await action_details(store, requeue["id"])
    assert (len(first["results"]), first["next"]) == (200, 200)
    assert len(read(lines)) == 2
    with pytest.raises(NotFoundError):
        await action_details(store, 99)


async def test_filters_and_pages(store: Store) -> None:
    """Person by actor, name or proof; action, target, website, outcome and age; pages go on before the last id."""
    bo = Proof(Means.SHELL, "bo", user_id="1000", host="web-3")
    for trail, verb, site in (
        (AuditTrail(store, "console:ana", "x", ANA), "suspend", 1),
        (AuditTrail(store, "proxy:ana", "x", Proof(Means.PROXY, "ana")), "suspend", 2),
        (AuditTrail(store, "the boss", "x", bo), "terminate", 3),
    ):
        async with trail.action(verb) as action:
            action.about("website", [site])
            (item,) = await action.record([ActionItem(f"m-{site}", site)])
            await action.settle({item: "published"})

    async def targets(**wanted: Any) -> list[str]:
        return [each["target"] for each in (await find_actions(store, ActionFilter(**wanted)))["items"]]

    assert await targets(person="ana") == ["website 2", "website 1"]
    assert await targets(person="console:ana") == ["website 1"]
    assert await targets(person="proxy:ana") == ["website 2"]
    assert await targets(person="bo") == await targets(person="the boss") == ["website 3"]
    assert await targets(action="terminate") == ["website 3"]
    assert (
        await targets(target="m-2") == await targets(target="Website 2") == await targets(website_id=2) == ["website 2"]
    )
    assert await targets(outcome="failure") == []
    assert len(await targets(outcome="success", since_seconds=3600)) == 3
    page = await find_actions(store, limit=2)
    assert (page["total"], [each["website_id"] for each in page["items"]]) == (3, [3, 2])
    rest = await find_actions(store, limit=2, before=page["next"])
    assert ([each["website_id"] for each in rest["items"]], rest["next"]) == ([1], None)


async def test_rows_of_before_are_kept(store: Store) -> None:
    """A database of before has its rows afterwards, and they are found by website and message as they were."""
    async with store.connection() as connection:
        await connection.execute(
            """DROP TABLE provisioning_action_items;
               ALTER TABLE provisioning_operator_actions DROP COLUMN person, DROP COLUMN proof, DROP COLUMN target,
                     DROP COLUMN result, DROP COLUMN settled_at;
               DELETE FROM provisioning_migrations WHERE name LIKE '000%action%';
               INSERT INTO provisioning_operator_actions (actor, verb, reason, message_id, website_id, detail, outcome)
               VALUES ('cli:ana', 'redrive', 'rows are there now', 'm-1', 7, '{"reason": "illegal"}', 'done'),
                      ('cli:ana', 'pause', 'maintenance', NULL, NULL, '{"worker": "all"}', NULL)"""
        )
    await schema_lifecycle.apply(store)
    await schema_lifecycle.apply(store)
    paused, redriven = await recent_actions(store)
    assert (redriven["message_id"], redriven["website_id"], redriven["outcome"]) == ("m-1", 7, "done")
    assert (redriven["person"], redriven["result"], redriven["items"]) == (None, None, 0)
    assert (paused["result"], paused["detail"]) == ("open", {"worker": "all"})
    assert [each["id"] for each in await recent_actions(store, website_id=7)] == [redriven["id"]]
    for wanted in (
        ActionFilter(target="m-1"),
        ActionFilter(website_id=7),
        ActionFilter(person="ana", action="redrive"),
    ):
        assert [each["id"] for each in (await find_actions(store, wanted))["items"]] == [redriven["id"]]
    assert [each["id"] for each in (await find_actions(store, ActionFilter(target="all")))["items"]] == [paused["id"]]


def test_the_log_is_a_file_of_its_owner(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The file is for its owner alone, appended to, and no symbolic link; a line that cannot be written is not lost."""
    path, link, audit = tmp_path / "audit.log", tmp_path / "link", AuditLog()
    audit.configure(str(path))
    for number in range(2):
        audit.write("pause", "success", actor="cli:\u202eana", proof=ANA, why="x" * 2000, target=f"worker {number}")
    assert path.stat().st_mode & 0o777 == 0o600
    first, second = read(path)
    assert (first["provisioner.target"], second["provisioner.target"]) == ("worker 0", "worker 1")
    assert path.read_text().isascii(), "what turns text round is escaped"
    assert len(first["event.reason"]) == 500
    path.unlink()
    audit.write("resume", "success", actor="cli:ana", proof=ANA)
    assert [line["event.action"] for line in read(path)] == ["resume"], "a file that was moved away is made anew"
    path.unlink()
    path.mkdir()
    audit.write("pause", "success", actor="cli:ana", proof=ANA)
    printed = capfd.readouterr().err
    assert '"event.action": "pause"' in printed
    link.symlink_to(tmp_path / "elsewhere")
    for wrong in (link, path, tmp_path / "no" / "folder"):
        with pytest.raises(SettingsError, match="PROVISIONER_AUDIT_LOG: cannot write to it"):
            audit.configure(str(wrong))
    assert not (tmp_path / "elsewhere").exists()


def test_the_log_is_no_file_that_somebody_else_has_put_there(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """One of another user, one that all may write to, and one with a second name take no line, now or later."""
    path, audit = tmp_path / "audit.log", AuditLog()
    audit.configure(str(path))

    def refused(why: str) -> None:
        with pytest.raises(SettingsError, match=f"PROVISIONER_AUDIT_LOG: cannot write to it: .*{why}"):
            AuditLog().configure(str(path))
        audit.write("pause", "success", actor="cli:ana", proof=ANA)
        assert path.read_bytes() == b""
        assert '"event.action": "pause"' in capfd.readouterr().err

    path.chmod(0o666)
    refused("every user may write to it")
    path.chmod(0o660)
    (tmp_path / "second").hardlink_to(path)
    refused("a second name")
    (tmp_path / "second").unlink()
    if os.geteuid() == 0:
        os.chown(path, 65_534, 65_534)
        refused("belongs to the user 65534")
        os.chown(path, 0, 65_534)
    audit.write("pause", "success", actor="cli:ana", proof=ANA)
    assert len(read(path)) == 1


def test_a_line_that_the_disk_takes_in_part_is_not_lost(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes to standard error in whole, and the next one begins on its own."""
    path, audit = tmp_path / "audit.log", AuditLog()
    audit.configure(str(path))
    write = os.write

    def nearly_full(file: int, text: bytes) -> int:
        """Take a hundred bytes, of what goes to the log."""
        return write(file, text[:100] if os.path.sameopenfile(file, log) else text)

    log = os.open(path, os.O_RDONLY)
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", nearly_full)
        audit.write("pause", "success", actor="cli:ana", proof=ANA)
    os.close(log)
    assert path.stat().st_size == 101, "a hundred bytes and a line end"
    assert '"event.action": "pause"' in capfd.readouterr().err
