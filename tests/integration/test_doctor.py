"""The doctor: a healthy system is found healthy, and each thing that can be wrong is found, by name."""

import asyncio
import re
from collections.abc import Callable
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from aio_pika import connect

from consumer.broker.protocol import Broker, Inspection, Message
from consumer.broker.rabbitmq.adapter import RabbitBroker
from consumer.broker.topology import Topology
from consumer.config import Settings
from consumer.domain.records import WorkerReport
from consumer.store.database import Store
from ops.doctor import broker_checks, database_checks, settings_checks, website_checks
from ops.doctor.findings import Finding, Level, doctor_report
from ops.doctor.run import run_checks
from ops.publishing import publishing
from ops.sandbox.rabbitmq import RabbitServer
from ops.workers.pause import pause_or_resume
from tests.contract.faulty_broker import FaultyMemoryBroker
from tests.roles import as_role, with_password
from tests.service import Start, starter

TOPOLOGY = Topology("t")


async def healthy(broker: Broker | None = None) -> Broker:
    """A broker with the service's topology."""
    broker = broker or FaultyMemoryBroker()
    await broker.declare(TOPOLOGY)
    return broker


async def findings_of(store: Store, **changes: Any) -> dict[str, dict[str, Any]]:
    """Examine a database and a healthy broker; return what is not well, by area and what."""
    settings = Settings.model_validate({"namespace": "t", "amqp_url": "inprocess://"} | changes)
    found = await run_checks(settings, store, await healthy(), {})
    return {f"{each['area']}: {each['what']}": each for each in found["findings"] if each["level"] != "ok"}


async def levels(store: Store, **changes: Any) -> dict[str, str]:
    """Return the levels of what is not well, less what a test's database always is: nobody works, by a superuser."""
    found = await findings_of(store, **changes)
    usual = ("workers: running", "database: role", "broker: consumers of t.signups", "broker: consumers of t.commands")
    return {key: each["level"] for key, each in found.items() if key not in usual}


@pytest.fixture
def start(database_url: str, tmp_path: Any) -> Start:
    """Start a service that says often that it is there."""
    running = starter(database_url, tmp_path)
    return lambda **changes: running(**({"presence_seconds": 0.05} | changes))


@pytest.mark.usefixtures("durable")
async def test_all_is_well_where_websites_go_live(start: Start, store: Store) -> None:
    """With a worker running and websites live there is nothing to say but that the tests' role is a superuser."""
    async with start() as service:
        for website_id in range(1, 6):
            await service.created(website_id)
        for website_id in range(1, 6):
            await service.reaches(website_id, "live")
        settings = Settings.model_validate({"namespace": "t", "amqp_url": "inprocess://"})
        found = await run_checks(settings, store, service.broker, {})
        bad = [each for each in found["findings"] if each["level"] != "ok"]
        assert [(each["area"], each["what"], each["level"]) for each in bad] == [("database", "role", "warn")]
        assert (found["worst"], found["away"], found["counts"]["fail"]) == ("warn", False, 0)
        await pause_or_resume(store, "pause", None, actor="cli:ana", reason="a test", seconds=10)
        found = await run_checks(settings, store, service.broker, {})
        (paused,) = [each for each in found["findings"] if each["what"] == "paused"]
        assert (paused["level"], "all, by cli:ana" in paused["have"]) == ("warn", True)


# ---------------------------------------------------------------------------------------------------------- schema


@pytest.mark.parametrize(
    ("change", "what", "level", "have"),
    [
        ("DROP TABLE provisioning_pauses", "tables", "fail", "missing: provisioning_pauses"),
        ("ALTER TABLE pwb_websites DROP COLUMN provisioning_attempt_error", "columns", "fail", "attempt_error"),
        ("DROP INDEX index_pwb_websites_on_provisioning_due_at", "up to date", "fail", "due_at is missing"),
        ("DROP TRIGGER provisioning_moves_along_edges ON pwb_websites", "up to date", "fail", "moves_along_edges"),
        (
            ("CREATE OR REPLACE FUNCTION provisioning_continue_log() RETURNS trigger LANGUAGE plpgsql AS "
             "$$ BEGIN RETURN NEW; END $$"),
            "functions and unique indexes", "fail", "provisioning_continue_log",
        ),
        (
            ("DROP INDEX index_pwb_links_on_website_id_and_slug; "
             "CREATE INDEX index_pwb_links_on_website_id_and_slug ON pwb_links (website_id, slug)"),
            "functions and unique indexes", "fail", "index_pwb_links",
        ),
        (
            "ALTER TABLE pwb_websites DISABLE TRIGGER provisioning_born_pending",
            "triggers and indexes in force", "fail", "trigger provisioning_born_pending",
        ),
        ("ALTER TABLE pwb_websites ALTER provisioning_state SET DEFAULT 'live'", "born pending", "fail", "'live'"),
        (
            ("ALTER TABLE pwb_websites DROP CONSTRAINT provisioning_counters_sane; "
             "ALTER TABLE pwb_websites ADD CONSTRAINT provisioning_counters_sane CHECK (true) NOT VALID"),
            "constraints", "warn", "provisioning_counters_sane",
        ),
        (
            ("CREATE OR REPLACE FUNCTION provisioning_refuse_illegal_change() RETURNS trigger LANGUAGE plpgsql AS "
             "$$ BEGIN RETURN NEW; END $$"),
            "states and edges", "fail", "refused: agency_created -> failed; ",
        ),
    ],
)  # fmt: skip
async def test_a_schema_that_is_not_ours_is_noticed(
    store: Store, change: str, what: str, level: str, have: str
) -> None:
    """What is missing, changed, switched off or not proven, each by its name."""
    async with store.connection() as connection:
        await connection.execute(change)
    found = (await findings_of(store))[f"schema: {what}"]
    assert (found["level"], have in found["have"]) == (level, True), found
    assert found["next"]


# -------------------------------------------------------------------------------------------------------- database


@pytest.mark.usefixtures("durable")
@pytest.mark.parametrize(
    ("change", "what", "expected"),
    [
        ("SET synchronous_commit = off", "durability", ("warn", "synchronous_commit is off")),
        ("SET idle_session_timeout = 5000", "timeouts", ("warn", "idle_session_timeout is 5 s")),
        ("SET transaction_timeout = 9000", "timeouts", ("warn", "transaction_timeout is 9 s")),
        ("SET default_transaction_read_only = on", "writable", ("fail", "default_transaction_read_only")),
        ("CONNECTION LIMIT 2", "connections", ("warn", "2 for everybody")),
    ],
)
async def test_a_server_that_will_not_do_is_noticed(
    store: Store, database_url: str, change: str, what: str, expected: tuple[str, str]
) -> None:
    """Settings of the database that take away a promise, cut connections or leave too little room."""
    connection = await asyncpg.connect(database_url)
    name = database_url.rpartition("/")[2]
    await store.report_worker(WorkerReport(UUID(int=7), "web", 7, "1", 1, 0, False, None), 600)
    await store.close()
    await connection.execute(f"ALTER DATABASE {name} {change}")
    await connection.close()
    found = (await findings_of(store))[f"database: {what}"]
    assert (found["level"], expected[1] in found["have"]) == (expected[0], True), found


async def test_limits_that_a_pooler_swallows_are_noticed(store: Store) -> None:
    """The session's limits are compared with the settings, which this store was not made with."""
    assert (await levels(store, statement_timeout_seconds=7))["database: timeouts"] == "fail"


async def test_a_long_transaction_is_noticed(store: Store, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps locks, and dead rows from being removed."""
    monkeypatch.setattr(database_checks, "LONG_TRANSACTION_SECONDS", 0.0)
    connection = await asyncpg.connect(database_url)
    assert "database: long transactions" not in await levels(store)
    async with connection.transaction():
        await connection.execute("SELECT 1")
        assert (await levels(store))["database: long transactions"] == "warn"
    await connection.close()


@pytest.mark.parametrize(
    ("clock", "level", "have"),
    [
        (100.5, "ok", "as this"),
        (100.0, "ok", "as this"),
        (104.0, "warn", "3.00 s ahead"),
        (97.0, "warn", "3.00 s behi"),
    ],
)
def test_clocks_are_compared_within_what_the_question_took(clock: float, level: str, have: str) -> None:
    """A clock within the time of question and answer is right."""
    found = database_checks._clock_skew(clock, 100.0, 101.0)
    assert (found.level.value, found.have.startswith(have)) == (level, True), found


async def test_rights_that_are_lacking_are_named(store: Store, database_url: str) -> None:
    """A role with less than workers need; column grants suffice, and what cannot be read is not looked at."""
    role = f"doc_{database_url[-8:]}"
    async with store.connection() as connection:
        await connection.execute(f"""CREATE ROLE {role} {with_password(database_url)};
            GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role};
            GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role};
            REVOKE UPDATE ON pwb_websites FROM {role}; GRANT UPDATE (provisioning_state) ON pwb_websites TO {role}""")
    poor = Store(as_role(database_url, role), size=2)
    assert "database: rights" not in await findings_of(poor)
    async with store.connection() as connection:
        await connection.execute(f"""REVOKE DELETE ON provisioning_workers FROM {role};
            REVOKE INSERT ON provisioning_transitions FROM {role};
            REVOKE USAGE ON SEQUENCE pwb_links_id_seq FROM {role}""")
    found = await findings_of(poor)
    have = found["database: rights"]["have"]
    assert "DELETE on provisioning_workers" in have
    assert "INSERT on provisioning_transitions" in have
    assert "pwb_links" in have
    assert "database: role" not in found
    assert "websites: invariants" not in found
    async with store.connection() as connection:
        await connection.execute(f"REVOKE SELECT ON pwb_links FROM {role}")
    assert (await findings_of(poor))["websites: invariants"]["level"] == "unknown"
    await poor.close()
    async with store.connection() as connection:
        await connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


# -------------------------------------------------------------------------------------------------------- websites

BARE = """
SET session_replication_role = replica;
INSERT INTO pwb_websites (id, subdomain, provisioning_state, provisioning_seq, provisioning_published_seq,
                          provisioning_due_at, created_at, updated_at)
VALUES ({id}, 'site-{id}', '{state}', {seq}, {published}, {due}, now() - interval '2 h', now());
INSERT INTO provisioning_transitions (website_id, seq, trigger, from_state, to_state, message_id, occurred_at)
SELECT {id}, n, 'x', CASE n WHEN 1 THEN 'pending' ELSE 'owner_assigned' END,
       CASE n WHEN {seq} THEN '{state}' ELSE 'owner_assigned' END, gen_random_uuid(), now() - interval '1 h'
  FROM generate_series(1, {seq}) AS n;
SET session_replication_role = origin;
"""


FALLEN_BACK = "UPDATE provisioning_transitions SET detail = '{{\"fallback\": {{}}}}' WHERE {seq_2}"
REASON = "UPDATE pwb_websites SET provisioning_failed_at = now(), provisioning_error = 'why' WHERE id = {id}"
CASES: list[tuple[dict[str, Any], str, dict[str, str]]] = [
    ({"state": "terminated"}, "", {}),
    ({"state": "agency_created", "due": "now() - interval '1 min'"}, "",
     {"overdue": "warn", "stalled": "warn", "half-provisioned": "warn"}),
    ({"state": "agency_created"}, "", {"asleep": "fail", "half-provisioned": "warn"}),
    ({"state": "terminated", "published": 1}, "", {"unpublished": "fail"}),
    ({"state": "pending", "seq": 0, "published": 0}, "", {"asleep": "warn"}),
    ({"state": "ready", "seq": 0, "published": 0},
     "UPDATE pwb_websites SET provisioning_auto_go_live = false WHERE id = {id}",
     {}),
    ({"state": "live"}, "", {"live with a guard unmet": "fail"}),
    ({"state": "live"}, FALLEN_BACK, {"live with a guard unmet": "fail", "on defaults": "warn"}),
    ({"state": "live"}, FALLEN_BACK.replace("SET", "SET to_state = 'failed',"),
     {"live with a guard unmet": "fail", "histories": "fail"}),
    ({"state": "live"}, FALLEN_BACK.replace("SET", "SET occurred_at = now() - interval '2 days',"),
     {"live with a guard unmet": "fail"}),
    ({"state": "terminated"}, FALLEN_BACK, {}),
    ({"state": "failed"}, "", {"failed": "warn", "failed without reason": "fail"}),
    ({"state": "failed"}, REASON.replace("why", " "), {"failed": "warn", "failed without reason": "fail"}),
    ({"state": "failed"}, REASON, {"failed": "warn"}),
    *(({"state": "terminated"}, f"{change} WHERE website_id = {{id}} AND seq = {seq}", {"histories": "fail"})
      for change, seq in (
          ("DELETE FROM provisioning_transitions", 2), ("DELETE FROM provisioning_transitions", 3),
          ("UPDATE provisioning_transitions SET from_state = 'ready'", 2),
          ("UPDATE provisioning_transitions SET to_state = 'live'", 3),
      )),
]  # fmt: skip
"""A website as it might be, what somebody did to it, and which invariants do not hold of it then."""


async def test_each_invariant_that_does_not_hold_names_its_websites(store: Store) -> None:
    """With need and what to do; and of no other website."""
    expected: dict[str, tuple[str, list[str]]] = {}
    async with store.connection() as connection:
        await connection.execute("ALTER TABLE pwb_websites DROP CONSTRAINT provisioning_failed_has_error")
        for number, (row, change, wrong) in enumerate(CASES, start=7):
            await connection.execute(BARE.format(**({"id": number, "seq": 3, "published": 3, "due": "NULL"} | row)))
            await connection.execute(change.format(id=number, seq_2=f"website_id = {number} AND seq = 2") or "SELECT 1")
            for what, level in wrong.items():
                expected.setdefault(what, (level, []))[1].append(str(number))
    found = {key: each for key, each in (await findings_of(store)).items() if key.startswith("websites: ")}
    named = {
        key.removeprefix("websites: "): (
            each["level"],
            re.findall(r"\d+", re.split(r" \(|; and|; this", each["have"].partition(": ")[2])[0]),
        )
        for key, each in found.items()
    }
    named = {what: (level, sorted(ids, key=int)) for what, (level, ids) in named.items()}
    assert named == expected
    assert len(expected) == 10
    assert all(each["need"] and each["next"] for each in found.values())


async def test_what_waits_fails_where_somebody_works(store: Store) -> None:
    """With a worker running, a website that stands still is no matter of patience any more."""
    async with store.connection() as connection:
        row = {"id": 7, "state": "agency_created", "seq": 3, "published": 3, "due": "now() - interval '1 min'"}
        await connection.execute(BARE.format(**row))
    await store.report_worker(WorkerReport(UUID(int=7), "web", 7, "1", 1, 0, False, None), 600)
    found = await levels(store)
    assert (found["websites: overdue"], found["websites: stalled"]) == ("fail", "fail")


async def test_a_check_has_a_time_limit_and_says_so(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that takes too long is given up and reported as unknown; facts are reported as far as they were read."""
    slow = "SELECT 1 AS id FROM pg_sleep(20) WHERE $1::int IS NOT NULL AND $2::int IS NULL"
    monkeypatch.setattr(website_checks, "QUERY_SECONDS", 0.05)
    monkeypatch.setitem(website_checks.SQL, "broken_histories", slow.replace("$2::int IS NULL", "$2::int IS NOT NULL"))
    found = await findings_of(store)
    assert found["websites: histories"]["level"] == "unknown"
    assert "not answered within" in found["websites: histories"]["have"]
    monkeypatch.setattr(website_checks, "QUERY_SECONDS", 0.0)
    finding = await website_checks._TimedQueries(store, lambda _text: None, full=False).facts(
        website_checks.Invariant("live", "all", Level.FAIL, "look"), ["live"]
    )
    assert "the newest 0 were looked at" in finding.have


async def test_the_newest_are_checked_and_with_full_all(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The finding says how many, so that nobody takes a part for the whole."""
    monkeypatch.setattr(website_checks, "NEWEST", 4)
    monkeypatch.setattr(website_checks, "PAGE_ROWS", 2)
    async with store.connection() as connection:
        await connection.execute(
            "SET session_replication_role = replica; INSERT INTO pwb_websites (id, provisioning_state, "
            "provisioning_seq, provisioning_due_at, created_at, updated_at) SELECT n, 'live', 1, NULL, now(), now() "
            "FROM generate_series(1, 9) AS n; SET session_replication_role = origin"
        )
    settings = Settings.model_validate({"amqp_url": "inprocess://"})
    part = (await website_checks.check_websites(store, settings, full=False, idle=True))[-2]
    assert part.have == "4 websites: 9, 8, 7, 6 (the newest 4 were looked at; --full looks at all)"
    assert (await website_checks.check_websites(store, settings, full=True, idle=True))[
        -2
    ].have == "9 websites: 9, 8, 7, 6, 5, …"


# ---------------------------------------------------------------------------------------------- broker, settings


def bad(findings: list[Finding]) -> dict[str, str]:
    """Return the levels of what is not well."""
    return {each.what: each.level.value for each in findings if each.level != Level.OK}


async def test_a_rabbitmq_is_asked_over_amqp(amqp_url: str, namespace: str) -> None:
    """Missing queues are not made by looking; a classic one and a dead letter are noticed; the rest is not known."""
    broker, topology = RabbitBroker(amqp_url), Topology(namespace)
    unasked = dict.fromkeys(("user", "policies", "bindings", "replicas"), "unknown")

    async def look(taking: int = 0) -> dict[str, str]:
        found = bad(await broker_checks.check_broker(broker, topology, taking, taking))
        return {what: level for what, level in found.items() if what != "version"}

    nobody = {f"consumers of {queue}": "warn" for queue in (topology.signups, topology.commands)}
    for _ in range(2):
        assert await look() == {"topology": "fail"} | unasked
    await broker.declare(topology)
    assert await look() == nobody | unasked
    assert await look(taking=2) == dict.fromkeys(nobody, "fail") | unasked
    async with publishing(broker) as session:
        await session.publish(Message("1", "x", b"{}", "", topology.dead_letters, mandatory=True))
    assert await look() == nobody | unasked | {"dead letters": "warn"}
    async with await connect(amqp_url) as connection:
        channel = await connection.channel()
        await channel.queue_delete(topology.signups)
        await channel.declare_queue(topology.signups, durable=True)
    found = await broker_checks.check_broker(broker, topology, 0, 0)
    (differs,) = [each for each in found if each.what == "topology"]
    assert (differs.level, f"queue {topology.signups}: " in differs.have) == (Level.FAIL, True)


async def test_a_user_without_rights(rabbitmq: RabbitServer, namespace: str) -> None:
    """How a queue was made is then not known, which is no failure: the engine's own users may have no more."""
    await RabbitBroker(rabbitmq.url).declare(Topology(namespace))
    await asyncio.to_thread(rabbitmq.ctl, "add_user", namespace, "secret")
    await asyncio.to_thread(rabbitmq.ctl, "set_permissions", namespace, "^$", ".*", ".*")
    url = re.sub("//[^@]*@", f"//{namespace}:secret@", rabbitmq.url)
    found = await broker_checks.check_broker(RabbitBroker(url), Topology(namespace), 0, 0)
    (topology,) = [each for each in found if each.what == "topology"]
    assert (topology.level, "may not configure" in topology.have) == (Level.UNKNOWN, True)
    await asyncio.to_thread(rabbitmq.ctl, "delete_user", namespace)


@pytest.mark.parametrize(
    ("version", "level", "counts"),
    [
        ("3.9.1", "fail", "before 4.3"), ("3.10.8", "warn", "before 4.3"), ("4.0.5", "warn", "before 4.3"),
        ("4.2.9", "warn", "before 4.3"), ("4.2.10", "ok", "before 4.3"), ("4.3.4", "warn", "(4.3)"),
        ("4.3.5", "ok", "(4.3)"), ("4.4.0", "ok", "(4.3)"),
    ],
)  # fmt: skip
def test_a_version_says_what_follows(version: str, level: str, counts: str) -> None:
    """Which are too old, which have known holes, and what counts as a delivery."""
    first, guarantees = broker_checks._version(Inspection("RabbitMQ", version, []))
    assert (first.level.value, counts in guarantees.have) == (level, True)


async def test_servers_that_are_away_are_reported_together(store: Store) -> None:
    """One does not hide the other; the report says that they could not be asked."""
    broker = FaultyMemoryBroker()
    broker.refuse_connections = True
    gone = Store("postgresql://nobody@127.0.0.1:1/nowhere", size=1)
    settings = Settings.model_validate({"amqp_url": "inprocess://"})
    found = await run_checks(settings, gone, broker, {"PROVISIONER_CONCURENCY": "2", "PROVISIONER_CONSOLE_PORT": "1"})
    assert found["away"]
    assert [each["area"] for each in found["findings"] if each["away"]] == ["database", "broker"]
    assert "PROVISIONER_CONCURENCY (is PROVISIONER_CONCURRENCY meant?)" in str(found["findings"][0]["have"])
    assert "CONSOLE" not in str(found)


@pytest.mark.parametrize(
    ("changes", "what", "level"),
    [
        ({}, None, None),
        ({"failpoints": "boot=kill9"}, "failpoints", "fail"),
        ({"lock_timeout_seconds": 20}, "lock_timeout_seconds", "warn"),
        ({"statement_timeout_seconds": 20}, "statement_timeout_seconds", "warn"),
        ({"stall_seconds": 20}, "step_timeout_seconds", "warn"),
        ({"drain_seconds": 5}, "drain_seconds", "warn"),
        ({"dispatch_interval_seconds": 100}, "dispatch_interval_seconds", "warn"),
        ({"amqp_url": "amqps://guest:guest@rabbit/"}, "AMQP_URL", "warn"),
        ({"amqp_url": "amqp://own:hunter2@rabbit/"}, "AMQP_URL", "warn"),
    ],
)
def test_settings_that_do_not_go_together(changes: dict[str, Any], what: str | None, level: str | None) -> None:
    """Without the secret, and saying what to set."""
    found = settings_checks.check_settings(Settings.model_validate(changes), {})
    assert bad(found) == ({what: level} if what else {})
    assert "hunter2" not in str(found)


def test_the_worst_counts() -> None:
    """A report's worst is its worst finding's, and unknown is no warning."""
    make: Callable[[Level], Finding] = lambda level: Finding("a", "b", level, "c")  # noqa: E731
    assert doctor_report([make(Level.OK), make(Level.UNKNOWN)], 0)["worst"] == "unknown"
    assert doctor_report([make(Level.FAIL), make(Level.WARN)], 0)["worst"] == "fail"
