"""The audit of the command line: whose shell it was, whatever name it was given, as rows and as lines."""

import json
import os
import pwd
from typing import Any

from tests.acceptance.test_command_line import CommandLine, command_line, one_line

__all__ = ["command_line"]
ACCOUNT = pwd.getpwuid(os.getuid()).pw_name


async def test_a_name_that_is_given_is_no_proof(command_line: CommandLine) -> None:
    """--actor and LOGNAME name whom they like; the account of the shell stands beside it, in row, line and table."""
    run, path = command_line, command_line.folder / "audit.log"
    logged = {"PROVISIONER_AUDIT_LOG": str(path)}
    pause = ("pause", "--all", "--wait", "0", "--reason", "maintenance")
    assert (await run(*pause, **logged, LOGNAME="boss", USER="boss")).code == 0
    assert (await run("resume", "--all", "--wait", "0", "--actor", "the boss", **logged)).code == 0
    resumed, paused = (await run.good("actions", "list", "--json")).json["items"]
    assert (paused["actor"], resumed["actor"]) == ("cli:boss", "the boss")
    for action in (paused, resumed):
        assert action["person"] == ACCOUNT
        assert action["proof"].startswith(f"local shell of {ACCOUNT} (uid {os.getuid()}) on ")
        assert ", broker user " in action["proof"]
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["event.action"], line["user.name"], line["provisioner.actor"]) for line in lines] == [
        ("pause", ACCOUNT, "cli:boss"), ("resume", ACCOUNT, "the boss"),
    ]  # fmt: skip
    assert {line["user.id"] for line in lines} == {str(os.getuid())}
    for person in (ACCOUNT, "boss", "the boss"):
        found = (await run.good("actions", "list", "--person", person, "--json")).json
        assert found["total"] == (2 if person == ACCOUNT else 1), person
    shown = (await run.good("actions", "show", str(paused["id"]))).out
    assert f"proved by:  {ACCOUNT}, local shell" in shown
    assert "all workers" in shown
    assert "there is no action 99" in one_line(await run("actions", "show", "99"), 1)


async def test_pages_and_filters(command_line: CommandLine) -> None:
    """A page names the next; filters are those of the API."""
    for _ in range(3):
        await command_line.good("resume", "--all", "--wait", "0")
    page = (await command_line.good("actions", "list", "--limit", "2", "--json")).json
    assert (len(page["items"]), page["total"]) == (2, 3)
    text = (await command_line.good("actions", "list", "--limit", "2")).out
    assert f"2 of 3; next page: --before {page['next']}" in text
    rest = await command_line.good("actions", "list", "--before", str(page["next"]), "--json")
    assert (len(rest.json["items"]), rest.json["next"]) == (1, None)
    for wanted, count in ((("--action", "pause"), 0), (("--outcome", "success"), 3), (("--since", "1h"), 3),
                          (("--target", "all workers"), 3), (("--outcome", "open"), 0)):  # fmt: skip
        assert (await command_line.good("actions", "list", *wanted, "--json")).json["total"] == count, wanted


async def test_what_leaves_no_row_is_a_line(command_line: CommandLine) -> None:
    """`init`, a token to follow a website, and a login that PostgreSQL refuses, of whatever command."""
    path = command_line.folder / "audit.log"
    logged = {"PROVISIONER_AUDIT_LOG": str(path)}
    secret = "follow-" + "f" * 20 + "xyz"

    def line() -> dict[str, Any]:
        found: dict[str, Any] = json.loads(path.read_text().splitlines()[-1])
        return found

    assert (await command_line("init", **logged)).code == 0
    assert (line()["event.action"], line()["event.outcome"], line()["user.name"]) == ("init", "success", ACCOUNT)
    token = await command_line("follow-token", "7", **logged, PROVISIONER_CONSOLE_FOLLOW_SECRETS=secret)
    assert token.code == 0, token.err
    assert (line()["event.action"], line()["provisioner.target"]) == ("follow-token", "website 7")
    assert token.out.strip() not in path.read_text()
    url = command_line.environment["PROVISIONER_DATABASE_URL"]
    nobody = "postgresql://nobody_at_all:wrong@" + url.rpartition("@")[2].removeprefix("postgresql://")
    refused = await command_line("list", **logged, PROVISIONER_DATABASE_URL=nobody)
    assert refused.code == 3, refused
    assert (line()["event.action"], line()["event.type"][-1]) == ("list", "denied")
    assert "nobody_at_all:wrong" not in path.read_text()
    wrong = await command_line("list", PROVISIONER_AUDIT_LOG="/proc/nowhere/audit.log")
    assert "PROVISIONER_AUDIT_LOG: cannot write to it" in one_line(wrong, 2)


async def test_a_submit_and_an_export_are_actions(command_line: CommandLine) -> None:
    """Whoever signs websites up by hand, or takes dead letters out, is recorded with how many."""
    await command_line.good("init")
    await command_line.good("submit", "--count", "3")
    await command_line.good("dead-letters", "export")
    exported, submitted = (await command_line.good("actions", "list", "--json")).json["items"]
    assert (exported["verb"], exported["target"], exported["outcome"]) == ("export", "0 dead letters", "done")
    assert (submitted["verb"], submitted["target"], submitted["items"]) == ("submit", "3 websites", 3)
    assert submitted["outcome"] == "3 published"
