"""The command line as people and programs use it: every command as a process of its own, on real servers."""

import asyncio
import json
import os
import re
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from consumer.broker.rabbitmq.adapter import RabbitBroker
from consumer.broker.topology import Topology
from tests import existing_product
from tests.factories import STEPS, before
from tests.foreign_client import foreign_client
from tests.roles import as_role, with_password
from tests.service import strict_pack
from tests.worker_processes import until, worker_processes

SECONDS = 60


@dataclass
class Answer:
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class CommandLine:
    """Runs `provisioner` commands against one namespace and database."""

    folder: Path
    environment: dict[str, str]
    seconds: float = SECONDS

    async def __call__(self, *arguments: str, **environment: str) -> Answer:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "ops", *arguments,
            env=os.environ | {"COLUMNS": "200"} | self.environment | environment,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            cwd=self.folder,
        )  # fmt: skip
        try:
            async with asyncio.timeout(self.seconds):
                out, err = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise
        assert process.returncode is not None
        return Answer(process.returncode, out.decode(), err.decode())

    async def good(self, *arguments: str) -> Answer:
        """Run one that must succeed, and say nothing on standard error."""
        answer = await self(*arguments)
        assert (answer.code, answer.err) == (0, ""), f"{arguments}: {answer}"
        return answer

    async def status(self, name: int | str) -> dict[str, Any]:
        """Return a website's status."""
        found: dict[str, Any] = (await self.good("status", str(name), "--json")).json
        return found


@pytest.fixture
def command_line(tmp_path: Path, database_url: str, amqp_url: str, namespace: str) -> CommandLine:
    """The command line, its settings those of this test."""
    strict_pack(tmp_path / "packs", 2, "doomed")
    return CommandLine(
        tmp_path,
        {
            "PROVISIONER_DATABASE_URL": database_url,
            "PROVISIONER_AMQP_URL": amqp_url,
            "PROVISIONER_NAMESPACE": namespace,
            "PROVISIONER_PACKS_DIR": str(tmp_path / "packs"),
        },
    )


@pytest_asyncio.fixture
async def with_worker(command_line: CommandLine, namespace: str, amqp_url: str) -> AsyncIterator[CommandLine]:
    """The command line with a worker that carries out what it sends."""
    await RabbitBroker(amqp_url).declare(Topology(namespace))
    settings = command_line.environment
    packs = settings["PROVISIONER_PACKS_DIR"]
    async with worker_processes(
        command_line.folder, settings["PROVISIONER_DATABASE_URL"], amqp_url, namespace, PROVISIONER_PACKS_DIR=packs
    ) as workers:
        await workers.start()

        async def known() -> bool:
            return bool((await command_line("workers", "--json")).json["workers"])

        await until(known, SECONDS, "the worker is known, without which `submit --wait` says that none runs")
        yield command_line


def one_line(answer: Answer, code: int) -> str:
    """Check that a command ended with this code and one line on standard error; return it."""
    assert answer.code == code, answer
    assert answer.out == "", answer
    assert answer.err.endswith("\n")
    assert answer.err.count("\n") == 1, answer.err
    return answer.err


async def moved(run: CommandLine, website_id: int, state: str) -> dict[str, Any]:
    """Wait until a website is in a state; return its status."""
    connection = await asyncpg.connect(run.environment["PROVISIONER_DATABASE_URL"])

    async def there() -> bool:
        sql = "SELECT provisioning_state FROM pwb_websites WHERE id = $1"
        return await connection.fetchval(sql, website_id) == state

    await until(there, SECONDS, f"website {website_id} {state}")
    await connection.close()
    return await run.status(website_id)


async def test_init_twice(empty_database_url: str, command_line: CommandLine) -> None:
    """`init` makes schema and queues in an empty database; again it says the same and changes nothing."""
    command_line.environment["PROVISIONER_DATABASE_URL"] = empty_database_url
    connection = await asyncpg.connect(empty_database_url)
    shape = """SELECT table_name, column_name, column_default, is_nullable FROM information_schema.columns
                WHERE table_schema = 'public' ORDER BY 1, 2"""
    assert await connection.fetch(shape) == []
    first = await command_line.good("init", "--json")
    made = await connection.fetch(shape)
    assert {"pwb_websites", "provisioning_transitions"} <= {record["table_name"] for record in made}
    second = await command_line.good("init", "--json")
    namespace = command_line.environment["PROVISIONER_NAMESPACE"]
    assert first.json == second.json == {"schema": "up to date", "mode": "own", "topology": namespace}
    told = (await command_line.good("init")).out
    assert told == f"schema up to date (in a database of its own), queues of {namespace} there\n"
    assert await connection.fetch(shape) == made
    listed = await command_line.good("dead-letters", "list", "--json")
    assert listed.json == [], "the queues are there"
    await connection.close()


async def test_init_leaves_doubled_rows_to_people(empty_database_url: str, command_line: CommandLine) -> None:
    """What they break is not made, everything else is; it is one line with the rows and the remedy, and exit code 1."""
    command_line.environment["PROVISIONER_DATABASE_URL"] = empty_database_url
    connection = await asyncpg.connect(empty_database_url)
    await connection.execute(
        """CREATE TABLE pwb_agencies (id serial PRIMARY KEY, website_id integer, display_name text, email_primary text,
                                      phone_number_primary text, created_at timestamp, updated_at timestamp);
        INSERT INTO pwb_agencies (website_id) VALUES (NULL), (1), (1), (NULL)"""
    )
    answer = await command_line("init", "--json")
    assert (answer.code, answer.json["schema"], answer.err.count("\n")) == (1, "incomplete", 1)
    assert "pwb_agencies: rows that are the same in website_id, by id: 2 and 3; keep one of each" in answer.err
    await connection.execute("DELETE FROM pwb_agencies WHERE id = 3")
    await connection.close()
    assert (await command_line.good("init", "--json")).json["schema"] == "up to date"


async def test_a_guest_becomes_strict_on_confirmation_alone(empty_database_url: str, command_line: CommandLine) -> None:
    """`--own` names how many websites of the product's it would bind, before the first `init` and after it, and changes
    nothing without --yes; where all are the service's own, and on the way to a guest, nothing is asked."""
    command_line.environment["PROVISIONER_DATABASE_URL"] = empty_database_url
    connection = await asyncpg.connect(empty_database_url)
    await existing_product.fill(connection)
    refused = one_line(await command_line("init", "--own"), 2)
    assert "apply the rules to 13 websites that this service never provisioned" in refused
    assert "say --yes" in refused
    assert await connection.fetchval("SELECT to_regclass('provisioning_migrations')") is None
    first = await command_line.good("init")
    assert first.out.startswith("schema up to date (as a guest in the existing product's database), queues of ")
    assert (await command_line.good("init", "--json")).json["mode"] == "guest"
    await connection.execute("UPDATE pwb_websites SET provisioning_request = '{}' WHERE id = 1")
    assert "apply the rules to 12 websites" in one_line(await command_line("init", "--own"), 2)
    assert (await command_line.good("init", "--json")).json["mode"] == "guest"
    report = await command_line("doctor", "--json")
    (whose,) = [each for each in report.json["findings"] if each["what"] == "whose database"]
    assert whose["have"].startswith("the existing product's: this service is a guest")
    assert (await command_line("init", "--own", "--yes", "--json")).json["mode"] == "own"
    assert (await command_line("init", "--own", "--json")).json["mode"] == "own"
    assert (await command_line.good("init", "--guest", "--json")).json["mode"] == "guest"
    await connection.close()


async def test_remove_asks_first_and_waits_for_no_worker(command_line: CommandLine, database_url: str) -> None:
    """Without a terminal it wants --yes; while a worker reports it is refused in one line that names it; then what
    binds others goes, twice the same, and `init` brings it back."""
    bound = "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal AND starts_with(tgname, 'provisioning_')"
    connection = await asyncpg.connect(database_url)
    before = await connection.fetchval(bound)
    assert "say --yes" in one_line(await command_line("init", "--remove"), 2)
    assert "goes alone" in one_line(await command_line("init", "--remove", "--own", "--yes"), 2)
    await connection.execute(
        """INSERT INTO provisioning_workers (id, host, pid, version, since)
                VALUES (gen_random_uuid(), 'busy', 7, '0.2.0', now())"""
    )
    line = one_line(await command_line("init", "--remove", "--yes"), 1)
    assert "workers are running: busy:7 (0.2.0); stop them, then run `provisioner init --remove` again" in line
    assert await connection.fetchval(bound) == before > 0
    await connection.execute("UPDATE provisioning_workers SET seen_at = now() - interval '1 min'")
    for _ in range(2):
        assert (await command_line.good("init", "--remove", "--yes", "--json")).json == {"schema": "removed"}
        assert await connection.fetchval(bound) == 0
    await command_line.good("init")
    assert await connection.fetchval(bound) == before
    await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    await command_line.good("init", "--remove", "--yes")
    await connection.close()


async def test_init_by_a_role_that_owns_nothing(empty_database_url: str, command_line: CommandLine) -> None:
    """It is one line that says whose role is wanted."""
    connection = await asyncpg.connect(empty_database_url)
    role = f"tenant_{empty_database_url.rpartition('_')[2]}"
    await connection.execute(f"CREATE ROLE {role} {with_password(empty_database_url)}")
    command_line.environment["PROVISIONER_DATABASE_URL"] = as_role(empty_database_url, role)
    assert "`init` runs as the owner of the tables" in one_line(await command_line("init"), 3)
    await connection.execute(f"DROP ROLE {role}")
    await connection.close()


async def test_submit_and_look(with_worker: CommandLine) -> None:
    """A waited-for signup prints its URL; status, by id and subdomain, and list show it; an unknown one is one line."""
    run = with_worker
    waited = await run.good(
        "submit", "--website-id", "7", "--subdomain", "ana-homes", "--site-type", "residential",
        "--owner-email", "ana@example.com", "--owner-name", "Ana Silva", "--wait",
    )  # fmt: skip
    assert "https://ana-homes.propertywebbuilder.com" in waited.out
    told = await run.status(7)
    assert told == await run.status("ana-homes")
    assert (told["state"], told["progress"], told["seq"]) == ("live", 100, STEPS)
    assert (told["missing"], told["error"]) == ([], None)
    assert set(told) >= {
        "website_id", "subdomain", "state", "seq", "progress", "message", "checklist", "missing", "error",
        "next_attempt_at", "history",
    }  # fmt: skip
    assert [row["seq"] for row in told["history"]] == list(range(1, STEPS + 1))
    assert told["history"][-1]["to_state"] == "live"
    table, many_told, unknown_name, unknown_id, taken = await asyncio.gather(
        run("status", "ana-homes"),
        run("submit", "--count", "5", "--wait", "--json"),
        run("status", "no-such-site"),
        run("status", "123456789", "--json"),
        run("submit", "--website-id", "800", "--subdomain", "ana-homes", "--wait", "--json"),
    )
    for said in ("website 7", "ana-homes", "live", "100 %", told["message"], "links", "assign_owner", "go_live"):
        assert said in table.out
    many = many_told.json
    assert many_told.code == 0
    assert len({result["website_id"] for result in many}) == 5
    assert all(result["state"] == "live" and result["subdomain"] in result["url"] for result in many)
    lists = [("--state", "live", "--json"), ("--state", "failed", "--json"), ("--state", "live")]
    listed, failed, shown = await asyncio.gather(*(run.good("list", *arguments) for arguments in lists))
    assert {item["website_id"] for item in listed.json} == {7, *(result["website_id"] for result in many)}
    assert failed.json == []
    assert "ana-homes" in shown.out
    assert "live 6" in shown.out
    owner = ("--owner-email", "ana@example.com", "--wait")
    await run.good("submit", "--website-id", "900", "--subdomain", "on-defaults", "--seed-pack", "nowhere", *owner)
    lists = [("--on-defaults", "--json"), ("--state", "failed", "--on-defaults", "--json")]
    on_defaults, none = await asyncio.gather(*(run.good("list", *arguments) for arguments in lists))
    assert ([website["website_id"] for website in on_defaults.json], none.json) == ([900], [])
    assert "no-such-site" in one_line(unknown_name, 1)
    assert "123456789" in one_line(unknown_id, 1)
    assert (taken.code, taken.json[0]["state"]) == (1, "rejected")
    assert "subdomain_taken" in taken.json[0]["error"]


async def test_failed_and_requeued(with_worker: CommandLine) -> None:
    """A doomed signup ends with its error and what is missing, exit 1; requeued once its pack is cured it goes live."""
    run = with_worker
    doomed = ("submit", "--seed-pack", "doomed", "--owner-email", "ana@example.com", "--wait")
    answer = await run(*doomed, "--website-id", "3", "--subdomain", "two-links")
    assert (answer.code, answer.err) == (1, "")
    assert "Links creation failed - need at least 3, have 2" in answer.out
    assert "links (have 2, need 3)" in answer.out
    assert "field_keys (have 0, need 5)" in answer.out
    (again,) = (await run(*doomed, "--website-id", "4", "--subdomain", "too-few", "--json")).json
    assert (again["state"], again["missing"][0]) == ("failed", "links (have 2, need 3)")
    assert again["error"] == "Links creation failed - need at least 3, have 2"
    await run.good(
        "submit", "--website-id", "5", "--subdomain", "ana-homes", "--owner-email", "a@example.com", "--wait"
    )

    not_failed = await run("requeue", "ana-homes")
    assert not_failed.code == 1
    assert "website 5: not sent, retry_provisioning needs a website that is failed, this one is live" in not_failed.out
    assert one_line(await run("requeue", "9999"), 1)
    assert one_line(await run("requeue"), 2)
    assert [row["seq"] for row in (await run.status(5))["history"]] == list(range(1, STEPS + 1))

    (group,) = (await run.good("failures", "list", "--json")).json
    assert (group["websites"], group["failed_from"]) == (2, {before("links_created"): 2})
    assert "two-links" in (await run.good("failures", "show", group["group"])).out
    assert "no failed website is in a group" in one_line(await run("failures", "show", "nonsense"), 1)
    preflight = ("requeue", "--failed", "--group", group["group"], "--dry-run")
    assert "2 selected: 2 will fail again: links (have 2, need 3)" in (await run.good(*preflight)).out
    stopped = await run("requeue", "--failed", "--pack", "doomed", "--since", "1h", "--canary")
    assert stopped.code == 1
    assert "stopped: website" in stopped.err
    assert "is no duration" in (await run("requeue", "--failed", "--since", "soon")).err
    assert "is no rate from 0.1" in one_line(await run("requeue", "--failed", "--rate", "0/s"), 2)
    assert "2 selected" in (await run.good(*preflight, "--rate", "5/s")).out
    assert "choose among --failed" in one_line(await run("requeue", "3", "--pack", "doomed"), 2)
    explained = (await run.good("explain", "two-links")).out
    assert "links: have 2, need 3" in explained
    assert "waits for  people: `provisioner requeue 3` once the cause is fixed" in explained

    pack = Path(run.environment["PROVISIONER_PACKS_DIR"]) / "doomed" / "pack.yml"
    pack.write_text(pack.read_text().replace("fallback: false", "inherits_from: base"))
    assert f"2 selected: 2 will advance from {before('links_created')}" in (await run.good(*preflight)).out
    sent = (await run.good("requeue", "--failed", "--reason", "pack mended", "--actor", "tests", "--json")).json
    assert {item["website_id"] for item in sent if item["sent"]} == {3, 4}
    for website_id in (3, 4):
        told = await moved(run, website_id, "live")
        retry = [row for row in told["history"] if row["trigger"] == "retry_provisioning"][-1]
        assert (retry["actor"], retry["reason"]) == ("guest/tests", "pack mended")
        assert retry["to_state"] == before("links_created")
    assert (await run.good("requeue", "--failed", "--json")).json == []


async def test_moved_by_people(with_worker: CommandLine) -> None:
    """go-live, suspend, reactivate and terminate move a website, with who and why in its history."""
    run = with_worker
    held = await run.good("submit", "--subdomain", "held-site", "--website-id", "9", "--owner-email", "b@example.com",
                          "--hold", "--wait", "--json")  # fmt: skip
    assert held.json[0]["state"] == "ready"
    moves = {
        "go-live": ("go_live", "live"), "suspend": ("suspend", "suspended"), "reactivate": ("reactivate", "live"),
    }  # fmt: skip
    for verb, (trigger, state) in (
        *moves.items(),
        ("suspend", moves["suspend"]),
        ("terminate", ("terminate", "terminated")),
    ):
        asked = [verb, "held-site", "--reason", f"because {verb}", "--actor", "tests", "--json"]
        if verb == "terminate":
            assert "terminate held-site: nothing brings them back; say --yes" in one_line(await run(*asked), 2)
            asked.append("--yes")
        sent = (await run.good(*asked)).json
        assert [(item["website_id"], item["sent"]) for item in sent] == [(9, True)]
        last = (await moved(run, 9, state))["history"][-1]
        assert (last["trigger"], last["actor"], last["reason"]) == (trigger, "guest/tests", f"because {verb}")
    refused = await run("suspend", "held-site")
    assert refused.code == 1
    assert "suspend needs a website that is ready or live, this one is terminated" in refused.out
    default = (await run.status(9))["history"][0]
    assert default["actor"] == "guest", "the signup names nobody but the broker's user"
    table = (await run.good("status", "9")).out
    assert "because terminate" in table


@pytest.mark.fault(107)
async def test_dead_letters_stay(command_line: CommandLine, amqp_url: str, namespace: str) -> None:
    """Looking at the dead letters twice shows the same twice, and leaves every one where it is."""
    await RabbitBroker(amqp_url).declare(Topology(namespace))
    settings = command_line.environment
    async with (
        foreign_client(amqp_url, namespace) as client,
        worker_processes(command_line.folder, settings["PROVISIONER_DATABASE_URL"], amqp_url, namespace) as workers,
    ):
        await workers.start()
        bodies = [b"not JSON", {"website_id": 77}, {"website_id": 78, "colour": "red"}]
        ids = [await client.publish("website.created", body) for body in bodies]

        async def all_there() -> list[dict[str, Any]] | None:
            letters: list[dict[str, Any]] = (await command_line.good("dead-letters", "list", "--json")).json
            return letters if len(letters) == len(ids) else None

        first = await until(all_there, SECONDS, "three dead letters")
        second = (await command_line.good("dead-letters", "list", "--json")).json
        assert second == first
        assert {letter["message_id"]: letter["reason"] for letter in first} == dict(
            zip(ids, ("poison", "unknown_website", "poison"), strict=True)
        )
        tables = [
            re.sub(r"read at [\d:]+", "read", (await command_line.good("dead-letters", "list")).out) for _ in range(2)
        ]
        assert tables[0] == tables[1]
        assert all(message_id in tables[0] for message_id in ids)
        assert "1 of 3 shown" in (await command_line.good("dead-letters", "list", "--limit", "1")).out
        (latest,) = (await command_line.good("dead-letters", "list", "--limit", "1", "--json")).json
        assert latest == first[0], "the latest of all, not the first that came"
        await _handled(command_line, ids)
        assert {letter["message_id"] for letter in await client.drain(f"{namespace}.dead-letters")} == set(ids[1:2])


async def _handled(run: CommandLine, ids: list[str]) -> None:
    """Look closer at three letters, the second about an unknown website; edit the third, discard the first."""
    groups = (await run.good("dead-letters", "list", "--grouped", "--json")).json
    assert sorted((group["reason"], group["letters"]) for group in groups) == [
        ("poison", 1), ("poison", 1), ("unknown_website", 1),
    ]  # fmt: skip
    (about_77,) = (await run.good("dead-letters", "list", "--website", "77", "--newer-than", "1h", "--json")).json
    assert about_77["message_id"] == ids[1]
    told = (await run.good("dead-letters", "show", ids[2])).out
    assert '"colour": "red"' in told
    assert "sent back    poison again: website.created: colour: " in told
    forecast = (await run.good("dead-letters", "redrive", "--all", "--dry-run")).out
    assert "3 selected: 2 poison again, 1 without a website again" in forecast
    exported = [json.loads(line) for line in (await run.good("dead-letters", "export")).out.splitlines()]
    assert {letter["message_id"]: letter["body"] for letter in exported}[ids[0]] == "not JSON"
    (run.folder / "poor.json").write_text('{"website_id": 79}')
    poor = await run("dead-letters", "edit", ids[2], "--body", "poor.json")
    assert "the original is about website 78" in one_line(poor, 1)
    (run.folder / "mended.json").write_text(
        '{"website_id": 78, "subdomain": "mended-78", "owner": {"email": "a@b.cd"}}'
    )
    await run.good("dead-letters", "edit", ids[2], "--body", "mended.json", "--why", "a colour too many")
    await moved(run, 78, "live")
    discard = ("dead-letters", "discard", ids[0], "--why", "no JSON at all")
    assert "discard 1 dead letters: nothing brings them back; say --yes" in one_line(await run(*discard), 2)
    await run.good(*discard, "--yes")
    actions = (await run.good("actions", "list", "--json")).json["items"]
    assert [(action["verb"], action["message_id"], action["outcome"]) for action in actions] == [
        ("discard", ids[0], "done"), ("edit", ids[2], "done"), ("export", None, "done"),
    ]  # fmt: skip
    assert "there is no dead letter" in one_line(await run("dead-letters", "show", ids[0]), 1)
    assert one_line(await run("dead-letters", "redrive"), 2)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PROVISIONER_DATABASE_URL", "nonsense"),
        ("PROVISIONER_CONCURRENCY", "0"),
        ("PROVISIONER_AMQP_URL", "amqp://guest:secr3t@[::1"),
        ("PROVISIONER_AMQP_URL", "inprocess://"),
        ("PROVISIONER_DATABASE_URL", "postgresql://postgres:secr3t@127.0.0.1:abc/x"),
    ],
)
@pytest.mark.fault(113)
async def test_a_wrong_setting(tmp_path: Path, name: str, value: str) -> None:
    """A wrong setting ends every command with exit 2 and one line that names it, never its value."""
    run = CommandLine(tmp_path, {name: value})
    answers = await asyncio.gather(*(run(*line.split()) for line in ("worker", "init", "list --json")))
    for answer in answers:
        line = one_line(answer, 2)
        assert name in line
        assert value not in line.replace("inprocess:// is for", "")
        assert "secr3t" not in line


async def test_a_misspelt_setting_is_warned_of(tmp_path: Path) -> None:
    """It has no effect, and whoever set it hears so, with the name that was meant."""
    answer = await CommandLine(tmp_path, {"PROVISIONER_NAMESPCE": "x", "PROVISIONER_CONCURRENCY": "0"})("init")
    assert "PROVISIONER_NAMESPCE is no setting; is PROVISIONER_NAMESPACE meant?" in answer.err


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("bogus", "bogus"),
        ("dead-letters bogus", "bogus"),
        ("status", "WEBSITE"),
        ("submit --site-type castle --json", "--site-type"),
        ("list --limit 0", "--limit"),
        ("list --bogus", "--bogus"),
    ],
)
async def test_wrong_usage(tmp_path: Path, line: str, named: str) -> None:
    """Wrong usage is one line that names what is wrong and where to read on, and exit 2."""
    said = one_line(await CommandLine(tmp_path, {})(*line.split()), 2)
    assert named in said
    assert "--help`" in said


async def test_no_command(tmp_path: Path) -> None:
    """Who names no command is shown those that there are."""
    for line in ((), ("dead-letters",)):
        answer = await CommandLine(tmp_path, {})(*line)
        assert answer.code == 2
        assert "Commands:" in answer.err


@pytest.mark.parametrize("seconds", ["nan", "-1"])
async def test_a_timeout_is_a_number_of_seconds(tmp_path: Path, seconds: str) -> None:
    """What is none is refused before anything is published."""
    answer = await CommandLine(tmp_path, {})("submit", "--wait", "--timeout", seconds)
    assert (answer.code, answer.out) == (2, "")
    assert "--timeout" in answer.err


async def test_before_init(command_line: CommandLine, empty_database_url: str, amqp_url: str) -> None:
    """A database without the schema, and a vhost that is not there: one line each, with what to do."""
    answer = await command_line("list", PROVISIONER_DATABASE_URL=empty_database_url)
    assert "run `provisioner init`" in one_line(answer, 3)
    answer = await command_line("dead-letters", "list", PROVISIONER_AMQP_URL=f"{amqp_url.rstrip('/')}/nowhere")
    assert "no such vhost" in one_line(answer, 3)


async def test_servers_away(command_line: CommandLine, amqp_url: str, database_url: str) -> None:
    """With PostgreSQL or RabbitMQ away a command ends with exit 3 and one line that says which, without passwords."""
    with socket.socket() as free:
        # Bound and not listening: refused, and nobody else can take the port meanwhile.
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        no_database = f"postgresql://postgres:secr3t@127.0.0.1:{port}/provisioner"
        no_broker = f"amqp://guest:secr3t@127.0.0.1:{port}/"
        lines = {
            "PostgreSQL": ("status 1", "list --json", "init", "requeue --failed", "submit"),
            "RabbitMQ": ("init", "submit", "dead-letters list"),
        }
        for server, commands in lines.items():
            away = (
                {"PROVISIONER_DATABASE_URL": no_database}
                if server == "PostgreSQL"
                else {"PROVISIONER_AMQP_URL": no_broker}
            )
            for answer in await asyncio.gather(*(command_line(*line.split(), **away) for line in commands)):
                line = one_line(answer, 3)
                assert server in line
                assert "secr3t" not in line
