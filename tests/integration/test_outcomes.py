"""Every outcome of a command, on a worker in this process, a real PostgreSQL and the in-process broker."""

from pathlib import Path
from typing import Any

import asyncpg
import pytest

from consumer.broker.protocol import BrokerError, Message
from consumer.domain.outcomes import Held
from tests.contract.faulty_broker import FaultyMemoryBroker
from tests.factories import LIVE, SEQ, STEPS, before
from tests.foreign_client import signup
from tests.invariants import check_all
from tests.service import SECONDS, Start, starter, strict_pack
from tests.worker_processes import until


@pytest.fixture
def start(database_url: str, tmp_path: Path) -> Start:
    """Start a service with settings of the test's choice; `before` is published before it runs."""
    return starter(database_url, tmp_path)


@pytest.mark.fault(73)
async def test_duplicates_do_nothing(start: Start) -> None:
    """A copy of what was carried out changes nothing; its event is repeated only while its row is the last."""
    async with start() as service:
        first = await service.created(1)
        await service.reaches(1, "live")
        history = await service.history(1)
        assert [row["to_state"] for row in history] == LIVE
        assert str(history[0]["message_id"]) == first
        assert len(service.events()) == STEPS
        await service.publish("website.created", signup(1), first)
        await service.settled()
        await service.command("complete_links", 1, history[SEQ["links_created"] - 1]["message_id"], expected_seq=2)
        assert len(service.events()) == STEPS, "a row that is not the last is not told again"
        await service.command("go_live", 1, history[-1]["message_id"], expected_seq=SEQ["ready"])
        assert len(service.events()) == STEPS + 1
        assert service.events()[-1] == service.events()[-2], "the last row's event again, with the same id"
        assert await service.history(1) == history
        assert service.letters() == []
        assert await check_all(service.connection, service.events()) == {"live": 1}


@pytest.mark.fault(75, 77)
async def test_stale_and_ahead_do_nothing(start: Start) -> None:
    """A command for a seq that has passed or not come, a step that is done, a second signup: acked, nothing else."""
    async with start() as service:
        await service.created(1)
        before = await service.reaches(1, "live")
        for seq in (0, 3, STEPS - 1, STEPS + 1, 99, 2**31 - 1):
            await service.command("suspend", 1, expected_seq=seq)
        for trigger in (
            "assign_owner",
            "complete_agency",
            "complete_links",
            "skip_properties",
            "mark_ready",
            "go_live",
        ):
            await service.command(trigger, 1)
        await service.command("complete_links", 1, attempt=5)
        await service.created(1, seed_pack="another-pack", auto_go_live=False)
        await service.settled()
        assert await service.website(1) == before
        assert len(await service.history(1)) == STEPS
        assert len(service.events()) == STEPS
        assert service.letters() == []
        await service.command("suspend", 1, expected_seq=STEPS)
        assert (await service.website(1))["provisioning_state"] == "suspended", "only the seq stood in the way"


async def test_ways_of_people(start: Start) -> None:
    """suspend, reactivate, terminate, fail, retry and go-live go their ways, each with its event, its who and why."""
    async with start() as service:
        await service.created(1)
        await service.reaches(1, "live")
        ways = [("suspend", "suspended"), ("reactivate", "live"), ("suspend", "suspended"), ("terminate", "terminated")]
        for seq, (trigger, state) in enumerate(ways, start=STEPS):
            who = {"actor": f"actor {seq}", "reason": f"reason {seq}"}
            await service.command(trigger, 1, expected_seq=seq, **who)
            await service.reaches(1, state)
            row = (await service.history(1))[-1]
            assert (row["seq"], row["trigger"], row["to_state"]) == (seq + 1, trigger, state)
            claimed = f"claimed: {who['actor']}"
            assert (row["actor"], row["reason"]) == (claimed, who["reason"])
            event = service.events()[-1]
            assert event["type"] == f"website.{state}"
            assert (event["body"]["seq"], event["body"]["actor"]) == (seq + 1, claimed)

        await service.created(2, auto_go_live=False)
        held = await service.reaches(2, "ready")
        assert held["provisioning_completed_at"] is not None
        await service.command("fail_provisioning", 2, actor="ops", reason="Paused by the customer")
        failed = await service.reaches(2, "failed")
        assert (failed["provisioning_error"], failed["provisioning_failed_from"]) == ("Paused by the customer", "ready")
        assert service.events()[-1]["body"]["error"] == "Paused by the customer"
        await service.command("retry_provisioning", 2)
        back = await service.reaches(2, "ready")
        assert (back["provisioning_error"], back["provisioning_failed_at"]) == (None, None)
        await service.command("go_live", 2)
        await service.reaches(2, "live")

        await service.created(3, auto_go_live=False)
        await service.reaches(3, "ready")
        await service.command("suspend", 3)
        await service.command("terminate", 3)
        await service.reaches(3, "terminated")
        assert service.letters() == []
        assert await check_all(service.connection, service.events()) == {"terminated": 2, "live": 1}


async def test_a_held_website_waits_for_go_live(start: Start) -> None:
    """A website that is not to go live by itself rests at ready until somebody says so; its event carries the URL."""
    async with start(stall_seconds=0.2) as service:
        await service.created(1, auto_go_live=False, skip_properties=True)
        await service.reaches(1, "ready")
        assert (await service.history(1))[SEQ["properties_seeded"] - 1]["trigger"] == "skip_properties"
        await service.command("go_live", 1, expected_seq=SEQ["ready"], actor="ana")
        await service.reaches(1, "live")
        assert (await service.history(1))[-1]["actor"] == "claimed: ana"
        assert service.events()[-1]["body"]["url"] == "https://sunny-meadow-1.propertywebbuilder.com"


@pytest.mark.fault(102)
async def test_reactivate_needs_its_guards(start: Start) -> None:
    """A suspended website that lost its links stays suspended, and its reactivate is dead-lettered as refused."""
    async with start() as service:
        await service.created(1)
        await service.reaches(1, "live")
        await service.command("suspend", 1)
        before = await service.reaches(1, "suspended")
        await service.lose_links(1, keep=1)
        message_id = await service.command("reactivate", 1)
        assert service.letters() == [(message_id, "refused")]
        assert "links (have 1, need 3)" in service.x_error()
        assert await service.website(1) == before
        assert len(await service.history(1)) == STEPS + 1


async def test_an_owner_who_comes_late(start: Start) -> None:
    """Without an owner attempts are counted with backoff, then it fails; a later signup naming one brings it live."""
    base = 60
    async with start(retry_base_seconds=base, retry_cap_seconds=100) as service:
        await service.publish("website.created", {"website_id": 1, "subdomain": "no-owner-yet"})
        sql = """SELECT provisioning_attempts AS attempts, provisioning_attempt_error AS error,
                        provisioning_state AS state,
                        extract(epoch FROM provisioning_due_at - now()) AS waits FROM pwb_websites WHERE id = 1"""
        error = "Owner assignment failed - no active owner membership"
        for attempt in (1, 2):

            async def counted(attempt: int = attempt) -> Any:
                row = await service.connection.fetchrow(sql)
                return row if row and row["attempts"] >= attempt else None

            row = await until(counted, SECONDS, f"attempt {attempt} counted")
            assert (row["attempts"], row["error"], row["state"]) == (attempt, error, "pending")
            assert row["waits"] <= min(100, base * 2 ** (attempt - 1))
            await service.settled()
            assert await service.history(1) == []
            await service.connection.execute("UPDATE pwb_websites SET provisioning_due_at = now() WHERE id = 1")
        failed = await service.reaches(1, "failed")
        assert (failed["provisioning_error"], failed["provisioning_failed_from"]) == (error, "pending")
        assert failed["provisioning_attempts"] == 0
        assert service.events()[-1]["body"]["error"] == error
        assert service.events()[-1]["body"]["missing"][0] == "owner membership"
        await service.publish("website.created", {"website_id": 1, "owner": {"email": "Late@Example.com"}})
        await service.reaches(1, "live")
        triggers = [row["trigger"] for row in await service.history(1)]
        assert triggers[:3] == ["fail_provisioning", "retry_provisioning", "assign_owner"]
        emails = await service.connection.fetch(
            """SELECT u.email FROM pwb_users u JOIN pwb_user_memberships m ON m.user_id = u.id
                WHERE m.website_id = 1 AND m.role = 'owner'"""
        )
        assert [record["email"] for record in emails] == ["late@example.com"]
        assert await check_all(service.connection, service.events()) == {"live": 1}


async def test_a_subdomain_that_is_missing(start: Start) -> None:
    """A website without a subdomain fails at ready with what is missing; with one, its retry goes live from ready."""
    async with start() as service:
        await service.created(1, subdomain=...)
        failed = await service.reaches(1, "failed")
        assert failed["provisioning_error"] == "Cannot go live - missing: subdomain"
        assert failed["provisioning_failed_from"] == "ready"
        assert service.events()[-1]["body"]["missing"] == ["subdomain"]
        await service.connection.execute("UPDATE pwb_websites SET subdomain = 'found-one' WHERE id = 1")
        await service.command("retry_provisioning", 1)
        await service.reaches(1, "live")
        assert [row["to_state"] for row in await service.history(1)] == [*LIVE[:-1], "failed", "ready", "live"]
        assert await check_all(service.connection, service.events()) == {"live": 1}


@pytest.mark.fault(97, 101)
async def test_a_strict_pack_with_two_links(start: Start, tmp_path: Path) -> None:
    """It fails by name and number, keeps its two links, and after the cure resumes where it is proven to be."""
    strict_pack(tmp_path, links=2)
    async with start() as service:
        await service.created(1, seed_pack="strict", skip_properties=True)
        failed = await service.reaches(1, "failed")
        assert failed["provisioning_error"] == "Links creation failed - need at least 3, have 2"
        assert failed["provisioning_failed_from"] == before("links_created")
        assert await service.links(1) == 2, "what was seeded stays"
        assert [row["to_state"] for row in await service.history(1)] == [*LIVE[: SEQ["links_created"] - 1], "failed"]
        assert "links (have 2, need 3)" in service.events()[-1]["body"]["missing"]

        strict_pack(tmp_path, links=4)
        await service.command("retry_provisioning", 1)

        async def retried_until_live() -> bool:
            # The mended files are looked at a few times a second: one retry may still meet the old ones.
            row = await service.website(1)
            if row["provisioning_state"] == "failed" and row["provisioning_due_at"] is None:
                await service.command("retry_provisioning", 1, expected_seq=row["provisioning_seq"])
            return row["provisioning_state"] == "live"

        await until(retried_until_live, SECONDS, "live after the cure")
        await service.reaches(1, "live")
        retries = [row for row in await service.history(1) if row["trigger"] == "retry_provisioning"]
        assert {row["to_state"] for row in retries} == {before("links_created")}
        assert await service.links(1) == 4
        assert await check_all(service.connection, service.events()) == {"live": 1}


@pytest.mark.fault(96)
async def test_a_link_lost_at_ready(start: Start) -> None:
    """go_live looks at what is there now: a website that lost its links at ready fails, saying so."""
    async with start() as service:
        await service.created(1, auto_go_live=False)
        await service.reaches(1, "ready")
        await service.lose_links(1, keep=2)
        await service.command("go_live", 1)
        failed = await service.reaches(1, "failed")
        assert failed["provisioning_error"] == "Cannot go live - missing: links (have 2, need 3)"
        await service.command("retry_provisioning", 1)
        await service.settled()
        states = [row["to_state"] for row in await service.history(1)]
        assert states[SEQ["ready"] :][:2] == ["failed", before("links_created")], "back to what is proven"
        assert service.letters() == []


async def test_a_refused_go_live_is_remembered(start: Start) -> None:
    """A held website that was asked to go live and failed goes live by itself once it is requeued (decision 5)."""
    async with start() as service:
        await service.created(1, auto_go_live=False)
        await service.reaches(1, "ready")
        await service.lose_links(1, keep=2)
        await service.command("go_live", 1)
        await service.reaches(1, "failed")
        await service.command("retry_provisioning", 1)
        await service.reaches(1, "live")
        assert await check_all(service.connection, service.events()) == {"live": 1}


async def test_the_row_wins(start: Start) -> None:
    """Where a website's row is there, its options stand; its website.created fills in only what it leaves open."""
    async with start() as service:
        await service.connection.execute(
            """INSERT INTO pwb_websites (id, subdomain, site_type, provisioning_skip_properties, created_at, updated_at)
               VALUES (1, 'row-wins', 'commercial', true, now(), now())"""
        )
        await service.created(
            1, subdomain="row-wins", site_type="residential", auto_go_live=False, skip_properties=False
        )
        row = await service.reaches(1, "live")
        assert (row["subdomain"], row["site_type"], row["provisioning_auto_go_live"]) == (
            "row-wins",
            "commercial",
            True,
        )
        assert row["owner_email"] == "owner-1@example.com"
        assert "skip_properties" in [step["trigger"] for step in await service.history(1)]
        assert await check_all(service.connection, service.events()) == {"live": 1}


@pytest.mark.fault(78)
async def test_a_deleted_website(start: Start) -> None:
    """A command for a website that was deleted is dead-lettered as such; deleting it fails for nobody."""
    async with start() as service:
        await service.created(1, auto_go_live=False)
        await service.created(2)
        await service.reaches(1, "ready")
        await service.reaches(2, "live")
        await service.connection.execute("DELETE FROM pwb_websites WHERE id IN (1, 2)")
        letters = [
            await service.command("go_live", 1, expected_seq=SEQ["ready"]),
            await service.command("suspend", 2),
            await service.publish("website.created", {"website_id": 2}),
        ]
        await service.settled()
        assert service.letters() == [(message_id, "unknown_website") for message_id in letters]
        assert len(await service.history(1)) == SEQ["ready"], "its history stays"


class Losing(FaultyMemoryBroker):
    """A broker that confirms the first command of one kind, and loses it."""

    lost = 0

    def accept(self, message: Message) -> BrokerError | None:
        if message.type == "provisioning.complete_links" and not self.lost:
            self.lost += 1
            return None
        return super().accept(message)


async def test_a_lost_command_is_rescued(start: Start) -> None:
    """A command that the broker lost is sent again by the clock, and nothing is done twice."""
    broker = Losing()
    async with start(broker, stall_seconds=0.3) as service:
        await service.created(1)
        await service.reaches(1, "live")
        assert broker.lost == 1, "the fault fired"
        assert [row["to_state"] for row in await service.history(1)] == LIVE
        assert await check_all(service.connection, service.events()) == {"live": 1}


async def test_the_default_due_time_wakes_a_row(start: Start) -> None:
    """A website that was only inserted is due after ten minutes, and goes live without its website.created."""
    async with start() as service:
        due = await service.connection.fetchval(
            """WITH added AS (
                   INSERT INTO pwb_websites (id, subdomain, created_at, updated_at)
                   VALUES (1, 'silent-signup', now(), now()) RETURNING id, provisioning_due_at),
               person AS (
                   INSERT INTO pwb_users (email, created_at, updated_at)
                   VALUES ('ana@example.com', now(), now()) RETURNING id),
               membership AS (
                   INSERT INTO pwb_user_memberships (user_id, website_id, role, created_at, updated_at)
                   SELECT person.id, added.id, 'owner', now(), now() FROM person, added)
               SELECT extract(epoch FROM provisioning_due_at - now()) FROM added"""
        )
        assert due == 600
        await service.connection.execute("UPDATE pwb_websites SET provisioning_due_at = now() WHERE id = 1")
        await service.reaches(1, "live")
        assert [row["to_state"] for row in await service.history(1)] == LIVE
        assert await check_all(service.connection, service.events()) == {"live": 1}


async def test_one_culprit_fails_alone(start: Start, database_url: str) -> None:
    """One of sixteen breaks a rule of the database: found by halving, it alone fails, and fifteen go live."""
    connection = await asyncpg.connect(database_url)
    await connection.execute(
        "ALTER TABLE pwb_agencies ADD CONSTRAINT no_such_agency CHECK (email_primary <> 'owner-11@example.com')"
    )
    await connection.close()
    bodies = [signup(n) for n in range(1, 17)]
    async with start(before=bodies, concurrency=1, batch_size=16) as service:
        for website_id in range(1, 17):
            await service.reaches(website_id, "failed" if website_id == 11 else "live")
        culprit = await service.website(11)
        assert culprit["provisioning_failed_from"] == "owner_assigned"
        assert "23514" in culprit["provisioning_error"]
        assert "no_such_agency" in culprit["provisioning_error"]
        assert "@" not in culprit["provisioning_error"]
        raised = [len(ids) for ids, outcomes in service.batches if not outcomes]
        assert raised[0] > 1, "it was one of a batch"
        assert raised[-1] == 1, "it was found by halving"
        assert all(11 in ids for ids, outcomes in service.batches if not outcomes), "nobody else's batch was undone"
        assert len(await service.history(11)) == 2
        assert all([len(await service.history(n)) == STEPS for n in range(1, 17) if n != 11])
        assert service.letters() == []
        assert await check_all(service.connection, service.events()) == {"live": 15, "failed": 1}


@pytest.mark.fault(52)
async def test_a_stranger_holds_the_lock(start: Start, database_url: str) -> None:
    """A website whose row another session holds for 3 s neither fails nor is charged an attempt; then it goes on."""
    stranger = await asyncpg.connect(database_url)
    async with start() as service:
        await service.connection.execute(
            """INSERT INTO pwb_websites (id, subdomain, created_at, updated_at)
               VALUES (1, 'locked-up', now(), now())"""
        )
        async with stranger.transaction():
            await stranger.execute("SELECT id FROM pwb_websites WHERE id = 1 FOR UPDATE")
            await service.created(1, subdomain="locked-up")
            await service.created(2)
            # The server's clock: the lock is held for as long as an impatient service would need to give up.
            await stranger.execute("SELECT pg_sleep(3)")
            row = await service.website(1)
            assert (row["provisioning_state"], row["provisioning_attempts"]) == ("pending", 0)
            assert (await service.website(2))["provisioning_state"] == "live", "its neighbour does not wait"
        held = [ids for ids, outcomes in service.batches if 1 in ids and (not outcomes or _held(outcomes))]
        assert len(held) > 2, "the lock stood in its way"
        await service.reaches(1, "live")
        assert [row["to_state"] for row in await service.history(1)] == LIVE
        assert service.letters() == []
        assert await check_all(service.connection, service.events()) == {"live": 2}
    await stranger.close()


def _held(outcomes: list[Any]) -> bool:
    return any(isinstance(outcome, Held) for outcome in outcomes)


async def test_a_command_that_never_gets_the_lock(start: Start, database_url: str) -> None:
    """A command of ops that meets the lock again and again is dead-lettered as held; its website is left as it was."""
    stranger = await asyncpg.connect(database_url)
    async with start(lock_timeout_seconds=0.05) as service:
        await service.created(1)
        before = await service.reaches(1, "live")
        async with stranger.transaction():
            await stranger.execute("SELECT id FROM pwb_websites WHERE id = 1 FOR UPDATE")
            message_id = await service.command("suspend", 1, expected_seq=STEPS)
            assert service.letters() == [(message_id, "held")]
        assert await service.website(1) == before
        await service.command("suspend", 1, expected_seq=STEPS)
        await service.reaches(1, "suspended")
        assert await check_all(service.connection, service.events()) == {"suspended": 1}
    await stranger.close()
