"""The product under the roles that ship: each can do its part, and what is not its part is refused."""

import asyncio
import functools
import json
import secrets
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aio_pika
import asyncpg
import pytest
from aio_pika.exceptions import AMQPError
from aiormq.exceptions import ChannelAccessRefused

from consumer.broker.protocol import AccessRefusedError, BrokerDownError, Message, Right
from consumer.broker.rabbitmq.adapter import RabbitBroker
from consumer.broker.topology import Topology
from deploy.rabbitmq.set_passwords import DEFINITIONS, filled
from ops.sandbox.postgres import PostgresServer
from ops.sandbox.rabbitmq import RabbitServer
from statemachine import Trigger
from tests.acceptance.test_command_line import CommandLine
from tests.conftest import administer
from tests.foreign_client import signup
from tests.roles import (
    NAMESPACE,
    PASSWORDS_FILE,
    ROLES,
    ROLES_FILE,
    USERS,
    VHOST,
    RoleUrls,
    broker_urls,
    connected,
    database_urls,
    psql,
    run_roles_file,
)
from tests.worker_processes import until, worker_processes

TOPOLOGY = Topology(NAMESPACE)
SECONDS = 60
PRIVATE = "passw0rd-of-sixteen"


@pytest.fixture(scope="module")
def amqp_urls(own_rabbitmq: RabbitServer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The broker with the definitions that ship; each user's URL."""
    return broker_urls(own_rabbitmq, tmp_path_factory.mktemp("definitions"))


@pytest.fixture(scope="module")
def superuser_url(postgres: PostgresServer) -> Iterator[str]:
    """The URL of a database for the tests of this module, as a superuser; the roles own nothing in it afterwards."""
    name = f"t_{secrets.token_hex(4)}"
    asyncio.run(administer(postgres, f"CREATE DATABASE {name}"))
    yield f"{postgres.url.rpartition('/')[0]}/{name}"
    asyncio.run(administer(postgres, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture(scope="module")
def urls(amqp_urls: dict[str, str], superuser_url: str, tmp_path_factory: pytest.TempPathFactory) -> RoleUrls:
    """Both servers with the roles, and all that `provisioner init` makes as the migrating one."""
    urls = RoleUrls(amqp_urls, database_urls(superuser_url))

    async def install() -> None:
        await run_roles_file(superuser_url)
        await CommandLine(tmp_path_factory.mktemp("init"), urls.environment("migrate")).good("init", "--own")
        await run_roles_file(superuser_url)

    asyncio.run(install())
    return urls


async def refusal(url: str, *, exchange: str, routing_key: str, **properties: Any) -> str:
    """Publish as a user; return the broker's refusal, "" where it took it."""
    async with await aio_pika.connect(url, timeout=60) as connection:
        channel = await connection.channel(publisher_confirms=True)
        to = await channel.get_exchange(exchange, ensure=False) if exchange else channel.default_exchange
        message = aio_pika.Message(b'{"website_id": 77}', message_id=str(uuid.uuid4()), type=routing_key, **properties)
        try:
            await to.publish(message, routing_key=routing_key, mandatory=False, timeout=60)
        except (AMQPError, asyncio.CancelledError) as error:
            return str(error)
    return ""


async def test_each_role_does_its_part(urls: RoleUrls, tmp_path: Path) -> None:
    """Signup signs up, workers take it to live, an operator suspends it, pauses and redrives, a reader reads."""
    async with worker_processes(
        tmp_path, urls.database["worker"], urls.amqp["worker"], NAMESPACE, PROVISIONER_HTTP_PORT="0"
    ) as workers:
        await workers.start()
        ops = CommandLine(tmp_path, urls.environment("ops"))
        reader = CommandLine(tmp_path, urls.environment("reader", "ops"))
        async with await aio_pika.connect(urls.amqp["signup"], timeout=60) as connection:
            exchange = await (await connection.channel()).get_exchange(NAMESPACE, ensure=False)
            for body in (signup(1), {"website_id": "two"}):
                message = aio_pika.Message(
                    json.dumps(body).encode(), message_id=str(uuid.uuid4()), type="website.created"
                )
                await exchange.publish(message, routing_key="website.created")

        async def state() -> Any:
            answer = await reader("status", "1", "--json")
            return answer.json["state"] if answer.code == 0 else answer.err

        async def is_live() -> bool:
            return await state() == "live"

        await until(is_live, SECONDS, "website 1 live")
        await ops.good("suspend", "1", "--reason", "unpaid", "--actor", "ana")

        async def is_suspended() -> bool:
            return await state() == "suspended"

        await until(is_suspended, SECONDS, "website 1 suspended")
        assert len((await ops.good("dead-letters", "list", "--json")).json) == 1
        await ops.good("dead-letters", "redrive", "--all", "--yes", "--why", "again", "--json")
        (submitted,) = (await ops.good("submit", "--wait", "--json")).json
        assert submitted["state"] == "live"
        rows = (await reader.good("status", "1", "--json")).json["history"]
        assert rows[-1]["actor"] == "provisioner-ops/ana"
        await ops.good("pause", "--all", "--reason", "a test", "--json")
        await ops.good("resume", "--all", "--json")
        await ops.good("events", "replay", "--since", "1h", "--reason", "a test", "--json")
        assert (await ops.good("prune", "--older", "90d", "--reason", "a test", "--json")).json["rows"] == 0
        erased = (await ops.good("erase", "1", "--reason", "request 2026-117", "--yes", "--json")).json
        assert erased["websites"][0]["request"] is True
        assert (await reader.good("status", "1", "--json")).json["erased_at"]
        for command in (["list"], ["explain", "1"], ["workers"], ["actions", "list"], ["failures", "list"]):
            await reader.good(*command, "--json")
        log = workers.text()
        assert not [line for line in log.splitlines() if "denied" in line or "refused" in line], log


@pytest.mark.parametrize("trigger", list(Trigger))
async def test_signup_cannot_publish_a_command(urls: RoleUrls, trigger: Trigger) -> None:
    """Not by its routing key, not straight into the queue, not past the bindings."""
    name, url = f"provisioning.{trigger}", urls.amqp["signup"]
    assert f"topic '{name}' in exchange '{NAMESPACE}'" in await refusal(url, exchange=NAMESPACE, routing_key=name)


@pytest.mark.parametrize(
    ("user", "exchange", "routing_key"),
    [
        ("signup", "", TOPOLOGY.commands), ("signup", "", TOPOLOGY.signups), ("signup", "", TOPOLOGY.dead_letters),
        ("signup", TOPOLOGY.unrouted, "provisioning.suspend"), ("signup", TOPOLOGY.events_exchange, "website.live"),
        ("signup", TOPOLOGY.dead_letters, ""), ("signup", NAMESPACE, "website.suspended"),
        ("worker", NAMESPACE, "provisioning.suspend"), ("worker", NAMESPACE, "website.created"),
        ("worker", TOPOLOGY.events_exchange, "provisioning.suspend"),
        ("ops", NAMESPACE, "provisioning.complete_links"), ("ops", TOPOLOGY.unrouted, "provisioning.suspend"),
        ("migrate", NAMESPACE, "provisioning.suspend"), ("migrate", "", TOPOLOGY.commands),
    ],
)  # fmt: skip
async def test_a_user_publishes_nowhere_else(urls: RoleUrls, user: str, exchange: str, routing_key: str) -> None:
    """What is no part of a user's role is refused by the broker."""
    said = await refusal(urls.amqp[user], exchange=exchange, routing_key=routing_key)
    assert "ACCESS_REFUSED" in said
    assert f"provisioner-{user}" in said


async def test_signup_cannot_route_a_command_by_a_header(urls: RoleUrls, tmp_path: Path) -> None:
    """CC and BCC name further routing keys that RabbitMQ 3.10 does not check: what comes of them is no command."""
    for header in ("CC", "BCC"):
        await refusal(
            urls.amqp["signup"], exchange=NAMESPACE, routing_key="website.created",
            headers={header: ["provisioning.suspend"]},
        )  # fmt: skip
    async with await aio_pika.connect(urls.amqp["signup"], timeout=60) as connection:
        exchange = await (await connection.channel()).get_exchange(NAMESPACE, ensure=False)
        message = aio_pika.Message(
            b'{"website_id": 77}', message_id=str(uuid.uuid4()), type="provisioning.suspend",
            headers={"CC": ["provisioning.suspend"]},
        )  # fmt: skip
        await exchange.publish(message, routing_key="website.created")
    ops = CommandLine(tmp_path, urls.environment("ops"))
    async with worker_processes(tmp_path, urls.database["worker"], urls.amqp["worker"], NAMESPACE) as workers:
        await workers.start()

        async def rejected() -> bool:
            found = (await ops.good("dead-letters", "list", "--json")).json
            return sum(each["type"] == "provisioning.suspend" for each in found) >= 2

        await until(rejected, SECONDS, "both copies of it rejected")
    async with connected(urls.database["reader"]) as connection:
        assert await connection.fetchval("SELECT count(*) FROM provisioning_transitions WHERE website_id = 77") == 0


@pytest.mark.parametrize("user", ["signup", "worker", "ops"])
async def test_only_the_migrating_user_configures(urls: RoleUrls, user: str) -> None:
    """No other makes or deletes a queue, an exchange or a binding."""
    async with await aio_pika.connect(urls.amqp[user], timeout=60) as connection:
        for attempt in (
            lambda channel: channel.declare_queue("mine"),
            lambda channel: channel.declare_queue(exclusive=True),
            lambda channel: channel.queue_delete(TOPOLOGY.commands),
            lambda channel: channel.declare_exchange("mine"),
            lambda channel: channel.exchange_delete(NAMESPACE),
        ):
            with pytest.raises(ChannelAccessRefused):
                await attempt(await connection.channel())
        queue = await (await connection.channel()).get_queue(TOPOLOGY.signups, ensure=False)
        with pytest.raises(ChannelAccessRefused):
            await queue.bind(NAMESPACE, "#")


@pytest.mark.parametrize(
    ("user", "queue"),
    [("signup", queue.name) for queue in TOPOLOGY.queues]
    + [("ops", TOPOLOGY.signups), ("ops", TOPOLOGY.commands), ("worker", TOPOLOGY.dead_letters)],
)
async def test_a_user_reads_no_other_queue(urls: RoleUrls, user: str, queue: str) -> None:
    """Signup reads none, workers not the dead letters, operators nothing else."""
    async with await aio_pika.connect(urls.amqp[user], timeout=60) as connection:
        found = await (await connection.channel()).get_queue(queue, ensure=False)
        with pytest.raises(ChannelAccessRefused):
            await found.get(timeout=60)


async def test_nobody_logs_in_with_what_ships(own_rabbitmq: RabbitServer, amqp_urls: dict[str, str]) -> None:
    """Users without a hash have no password: not an empty one, not any."""
    await asyncio.to_thread(own_rabbitmq.ctl, "import_definitions", str(DEFINITIONS))
    try:
        for user in USERS:
            for password in ("", "guest", f"provisioner-{user}", "provisioner"):
                url = f"amqp://provisioner-{user}:{password}@127.0.0.1:{own_rabbitmq.port}/{VHOST}"
                with pytest.raises(BrokerDownError, match="ACCESS_REFUSED"):
                    await RabbitBroker(url).open_publisher()
    finally:
        for user, url in amqp_urls.items():
            password = url.partition("@")[0].rpartition(":")[2]
            await asyncio.to_thread(own_rabbitmq.ctl, "change_password", f"provisioner-{user}", password)


def test_weak_and_shared_passwords_are_refused() -> None:
    """A password that is missing, short or another user's is named by its variable, and not shown."""
    good = {f"{user.upper()}_PASSWORD": f"{user}-{PRIVATE}" for user in USERS}
    assert json.loads(filled(DEFINITIONS.read_text(), good))["users"][0]["password_hash"]
    for changes, part in (
        ({"OPS_PASSWORD": ""}, "OPS_PASSWORD is not set"),
        ({"OPS_PASSWORD": "secret"}, "OPS_PASSWORD has 6 characters, need 16"),
        ({"OPS_PASSWORD": good["WORKER_PASSWORD"]}, "OPS_PASSWORD is WORKER_PASSWORD too"),
    ):
        with pytest.raises(ValueError, match=part) as refused:
            filled(DEFINITIONS.read_text(), good | changes)
        assert PRIVATE not in str(refused.value)


INSERT_LOG = (
    "INSERT INTO provisioning_transitions (website_id, seq, trigger, from_state, to_state, message_id)"
    " VALUES (1, 1, 'go_live', 'ready', 'live', gen_random_uuid())"
)


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        ("worker", "DROP TABLE pwb_websites"), ("worker", "TRUNCATE pwb_websites"),
        ("worker", "DELETE FROM pwb_websites"), ("worker", "UPDATE pwb_websites SET id = id"),
        ("worker", "UPDATE pwb_websites SET created_at = now()"),
        ("worker", "UPDATE provisioning_transitions SET actor = 'nobody'"),
        ("worker", "DELETE FROM provisioning_transitions"), ("worker", "SELECT * FROM pwb_users"),
        ("worker", "UPDATE pwb_users SET email = ''"), ("worker", "DELETE FROM pwb_links"),
        ("worker", "INSERT INTO provisioning_operator_actions (actor, verb) VALUES ('ana', 'discard')"),
        ("worker", "ALTER TABLE pwb_websites DISABLE TRIGGER ALL"), ("worker", "CREATE TABLE mine (id int)"),
        ("worker", "DROP FUNCTION provisioning_refuse_illegal_change CASCADE"),
        ("ops", "UPDATE pwb_websites SET provisioning_state = 'live'"), ("ops", INSERT_LOG),
        ("ops", "DELETE FROM provisioning_operator_actions"),
        ("ops", "UPDATE provisioning_operator_actions SET actor = 'somebody else'"),
        ("ops", "UPDATE provisioning_operator_actions SET person = 'somebody else'"),
        ("ops", "UPDATE provisioning_action_items SET website_id = 1"),
        ("ops", "DELETE FROM provisioning_action_items"),
        ("worker", "INSERT INTO provisioning_action_items (action_id, item) VALUES (1, 1)"),
        ("reader", "INSERT INTO provisioning_action_items (action_id, item) VALUES (1, 1)"),
        ("ops", "INSERT INTO pwb_users (email, created_at, updated_at) VALUES ('a@example.com', now(), now())"),
        ("ops", "DELETE FROM provisioning_workers"),
        ("ops", "SELECT setval('pwb_links_id_seq', 1)"), ("ops", "CREATE TABLE mine (id int)"),
        ("reader", "UPDATE pwb_websites SET provisioning_state = 'live'"), ("reader", INSERT_LOG),
        ("reader", "INSERT INTO provisioning_pauses (worker, actor, reason) VALUES ('all', 'ana', 'because')"),
        ("reader", "INSERT INTO provisioning_operator_actions (actor, verb) VALUES ('ana', 'discard')"),
        ("reader", "SELECT nextval('pwb_websites_id_seq')"), ("reader", "CREATE TABLE mine (id int)"),
        ("reader", "SELECT pwb_websites FROM pwb_websites FOR UPDATE"),
        ("worker", "SELECT provisioning_prune(0, 86400, 1, true)"), ("worker", "DELETE FROM provisioning_pruned"),
        ("reader", "SELECT provisioning_erase(1, '{}', '{}')"), ("ops", "DELETE FROM provisioning_transitions"),
        ("ops", "UPDATE provisioning_transitions SET reason = NULL"),
        ("ops", "UPDATE pwb_websites SET owner_email = NULL"),
        ("ops", "UPDATE provisioning_pruned SET message_ids = '{}'"),
        ("ops", "UPDATE provisioning_dead_letters SET error = NULL"),
        ("reader", "DELETE FROM provisioning_dead_letters"),
        ("reader", "UPDATE provisioning_dead_letter_readings SET outdated = true"),
        ("worker", "SELECT FROM provisioning_dead_letters"),
        ("migrate", "CREATE ROLE mine"), ("migrate", "CREATE DATABASE mine"),
    ],
)  # fmt: skip
async def test_a_role_writes_nothing_else(urls: RoleUrls, role: str, statement: str) -> None:
    """What is no part of a role is refused by the database."""
    async with connected(urls.database[role]) as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)


async def test_running_the_file_again_takes_back_what_a_role_had(urls: RoleUrls, superuser_url: str) -> None:
    """A right that somebody granted by hand, or that an earlier version needed, is gone afterwards."""
    async with connected(superuser_url) as connection:
        await connection.execute(
            "GRANT DELETE ON pwb_websites TO provisioner_worker; GRANT UPDATE (id) ON pwb_websites TO provisioner_ops"
        )
    await run_roles_file(superuser_url)
    for role, statement in (("worker", "DELETE FROM pwb_websites"), ("ops", "UPDATE pwb_websites SET id = 1")):
        async with connected(urls.database[role]) as connection:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)


async def test_passwords_come_from_the_environment(own_postgres: PostgresServer) -> None:
    """psql runs both files; the roles have no password before, and a SCRAM verifier after, and no log shows any."""
    query = "SELECT rolname, rolpassword FROM pg_authid WHERE starts_with(rolname, 'provisioner_')"
    await asyncio.to_thread(psql, own_postgres, ROLES_FILE)
    async with connected(own_postgres.url) as connection:
        assert {record["rolpassword"] for record in await connection.fetch(query)} == {None}
    passwords = {f"{role.upper()}_PASSWORD": f"{role}-{PRIVATE}" for role in ROLES}
    await asyncio.to_thread(psql, own_postgres, PASSWORDS_FILE, **passwords)
    async with connected(own_postgres.url) as connection:
        hashes = [record["rolpassword"] for record in await connection.fetch(query)]
    assert len(hashes) == len(ROLES)
    assert all(text.startswith("SCRAM-SHA-256$") for text in hashes)
    assert PRIVATE not in own_postgres.log.read_text(errors="replace")


async def test_a_missing_right_at_the_broker_is_named(urls: RoleUrls, superuser_url: str, tmp_path: Path) -> None:
    """By user, right and exchange or queue; not as a lost connection or a wrong URL."""
    async with connected(superuser_url) as connection:
        await connection.execute(
            "SET session_replication_role = replica; INSERT INTO pwb_websites (id, subdomain, provisioning_state,"
            " created_at, updated_at) VALUES (88, 'site-88', 'live', now(), now());"
            "SELECT setval('pwb_websites_id_seq', 88)"
        )
    signup_user = CommandLine(tmp_path, urls.environment("ops", "signup"))
    refused = await signup_user("suspend", "88", "--reason", "why not")
    assert refused.code == 3
    assert "user provisioner-signup may not write to exchange provisioning with routing key" in refused.err
    assert await refusal(urls.amqp["migrate"], exchange=TOPOLOGY.dead_letters, routing_key="a dead letter") == ""
    listed = await signup_user("dead-letters", "list")
    assert listed.code == 3
    assert "user provisioner-signup may not read from queue provisioning.dead-letters" in listed.err
    for text in (refused.err, listed.err):
        assert "connection lost" not in text
        assert "AMQP_URL" not in text


async def test_a_publish_that_is_refused_says_so(urls: RoleUrls) -> None:
    """It is an error of that message alone; the session keeps why it was closed."""
    broker = RabbitBroker(urls.amqp["signup"])
    session = await broker.open_publisher()
    good, bad = (
        Message(str(uuid.uuid4()), name, b'{"website_id": 77}', NAMESPACE, name, mandatory=False)
        for name in ("website.created", "provisioning.suspend")
    )
    results = await session.publish_all([good, bad])
    assert isinstance(results[1], AccessRefusedError)
    named = "user provisioner-signup may not write to exchange provisioning with routing key provisioning.suspend"
    assert named in str(results[1])
    assert not isinstance(results[0], AccessRefusedError)
    assert session.refusal == str(results[1])
    await session.close()


@pytest.mark.parametrize(
    ("role", "user", "parts"),
    [
        ("worker", "signup", ["user provisioner-signup may not read from queue provisioning.commands"]),
        ("reader", "worker", ["permission denied for table", "for role provisioner_reader"]),
    ],
)
async def test_workers_without_their_rights_say_which(
    urls: RoleUrls, tmp_path: Path, role: str, user: str, parts: list[str]
) -> None:
    """A worker that runs as somebody else names the right that is lacking, in its log and in /readyz."""
    async with worker_processes(
        tmp_path, urls.database[role], urls.amqp[user], NAMESPACE, PROVISIONER_HTTP_PORT="0"
    ) as workers:
        await workers.start()

        async def port() -> Any:
            return next((line["port"] for line in workers.logs() if "port" in line), None)

        number = await until(port, SECONDS, "the port in its log")

        async def named() -> bool:
            reader, writer = await asyncio.open_connection("127.0.0.1", number)
            writer.write(b"GET /readyz HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
            answer = (await reader.read()).decode()
            writer.close()
            return all(part in text for part in parts for text in (answer, workers.text()))

        await until(named, SECONDS, "the right named")


async def test_a_missing_right_in_the_database_is_named(urls: RoleUrls, tmp_path: Path) -> None:
    """By role and table."""
    reader = CommandLine(tmp_path, urls.environment("reader", "ops"))
    refused = await reader("pause", "--all", "--reason", "why not", PROVISIONER_AUDIT_LOG=str(tmp_path / "audit.log"))
    assert refused.code == 3
    line = json.loads((tmp_path / "audit.log").read_text())
    assert (line["event.action"], line["event.type"], line["event.outcome"]) == (
        "pause",
        ["change", "denied"],
        "failure",
    )
    assert (line["provisioner.proof"], line["provisioner.broker_user"]) == ("local shell", "provisioner-ops")
    assert "permission denied for table provisioning_operator_actions for role provisioner_reader" in refused.err
    assert "provisioner doctor" in refused.err


async def doctor(run: CommandLine) -> dict[str, list[dict[str, Any]]]:
    """Return the findings of the doctor about roles, users and rights that are no `ok`, and its failures."""
    answer = await run("doctor", "--json")
    assert answer.out, answer.err
    report = json.loads(answer.out)
    # Workers that an earlier test killed count as running for a while.
    report["findings"] = [each for each in report["findings"] if not each["what"].startswith("consumers of")]
    return {
        level: [each for each in report["findings"] if each["level"] == level] for level in ("fail", "warn", "unknown")
    }


@pytest.mark.usefixtures("durable")
@pytest.mark.parametrize("role", ROLES)
async def test_the_doctor_knows_the_roles_apart(urls: RoleUrls, tmp_path: Path, role: str) -> None:
    """Under the rights that ship it fails none, and finds none too much."""
    found = await doctor(CommandLine(tmp_path, urls.environment(role, "signup" if role == "reader" else role)))
    assert found["fail"] == []
    about = ("role", "rights", "rights on sequences", "user")
    assert [each for each in found["warn"] + found["unknown"] if each["what"] in about] == []


async def test_the_doctor_says_where_a_user_may_do_more(
    urls: RoleUrls, superuser_url: str, tmp_path: Path, own_rabbitmq: RabbitServer
) -> None:
    """And where it may do less: by user, right and exchange; by role, right and table."""
    ctl = functools.partial(asyncio.to_thread, own_rabbitmq.ctl)
    await ctl("set_permissions", "-p", VHOST, "provisioner-signup", "^$", ".*", "^provisioning.signups$")
    await ctl("clear_topic_permissions", "-p", VHOST, "provisioner-signup", NAMESPACE)
    await ctl("set_permissions", "-p", VHOST, "provisioner-worker", "^$", r"^provisioning\.events$", ".*")
    async with connected(superuser_url) as connection:
        await connection.execute(
            "GRANT UPDATE, DELETE ON pwb_websites TO provisioner_worker;"
            "REVOKE INSERT ON pwb_links FROM provisioner_worker;"
            "GRANT CREATE ON SCHEMA public TO provisioner_worker; ALTER ROLE provisioner_worker CREATEROLE"
        )
    try:
        found = await doctor(CommandLine(tmp_path, urls.environment("worker", "signup")))
        (user,) = [each for each in found["warn"] if each["what"] == "user"]
        for right in (
            "write to exchange amq.default", "with routing key provisioning.suspend",
            "read from queue provisioning.signups", "write to exchange provisioning.events",
        ):  # fmt: skip
            assert right in user["have"], right
        (role,) = [each for each in found["warn"] if each["what"] == "role"]
        for right in (
            "UPDATE on every column of pwb_websites", "DELETE on pwb_websites", "may make roles",
            "may create in the schema",
        ):  # fmt: skip
            assert right in role["have"], right
        assert "provisioner_worker lacks INSERT on pwb_links" in str(found["fail"])
        found = await doctor(CommandLine(tmp_path, urls.environment("worker")))
        assert "provisioner-worker may not write to exchange amq.default" in str(found["fail"])
        assert "provisioner-worker may read from queue provisioning.dead-letters" in str(found["warn"])
    finally:
        async with connected(superuser_url) as connection:
            await connection.execute(
                "REVOKE CREATE ON SCHEMA public FROM provisioner_worker; ALTER ROLE provisioner_worker NOCREATEROLE"
            )
        await run_roles_file(superuser_url)
        definitions = json.loads(DEFINITIONS.read_text())
        for user in ("provisioner-signup", "provisioner-worker"):
            (rights,) = [each for each in definitions["permissions"] if each["user"] == user]
            await ctl("set_permissions", "-p", VHOST, user, rights["configure"], rights["write"], rights["read"])
        await ctl("set_topic_permissions", "-p", VHOST, "provisioner-signup", NAMESPACE, r"^website\.created$", "^$")


async def test_asking_for_rights_publishes_nothing_as_an_impersonator(
    urls: RoleUrls, own_rabbitmq: RabbitServer
) -> None:
    """A user with the tag `impersonator` may publish under another's name: asking does not count on being refused."""
    own_rabbitmq.ctl("set_user_tags", "provisioner-ops", "impersonator")
    try:
        commands = TOPOLOGY.commands_exchange
        rights = [Right("publish", commands, "provisioning.suspend"), Right("publish", commands, "website.created")]
        before = await _message_counts(urls)
        assert await RabbitBroker(urls.amqp["ops"], timeout_seconds=SECONDS).has_rights(rights) == [True, True]
        assert await _message_counts(urls) == before
    finally:
        own_rabbitmq.ctl("set_user_tags", "provisioner-ops")


async def _message_counts(urls: RoleUrls) -> list[int]:
    """Return how many messages wait for the workers."""
    async with await aio_pika.connect(urls.amqp["migrate"]) as connection:
        channel = await connection.channel()
        queues = [await channel.declare_queue(name, passive=True) for name in (TOPOLOGY.commands, TOPOLOGY.signups)]
        return [queue.declaration_result.message_count or 0 for queue in queues]
