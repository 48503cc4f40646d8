"""History of websites at rest is pruned: what deduplication and order need stays, and whoever reads histories knows."""

import uuid
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from consumer.config import Settings
from consumer.store.database import Store
from ops.audit.queries import recent_actions
from ops.dead_letters.redrive_forecast import forecast_redrive
from ops.doctor.website_checks import check_websites
from ops.errors import InvalidInputError
from ops.retention import pruning
from ops.retention.pruning import prune
from ops.websites.event_replay import replay
from ops.websites.queries import website_details
from tests.factories import STEPS, make_delivery
from tests.invariants import check_history
from tests.service import NAMESPACE, Service, Start, starter

DAY = 86_400.0
WHO: dict[str, Any] = {"actor": "cli:ana", "reason": "90 days are over"}
NINETY: dict[str, Any] = {"older_seconds": 90 * DAY, **WHO}
AGED = (
    "UPDATE provisioning_transitions SET occurred_at = now() - interval '100 days' WHERE website_id = $1 AND seq <= $2"
)


@pytest.fixture
def start(database_url: str, tmp_path: Path) -> Start:
    """Start a service with settings of the test's choice."""
    return starter(database_url, tmp_path)


async def aged(service: Service, website_id: int, through: int = 1000) -> None:
    """Let a website's rows up to a seq be a hundred days old."""
    await service.connection.execute(AGED, website_id, through)


async def seqs(service: Service, website_id: int) -> list[int]:
    """Return the seqs of a website's rows."""
    return [row["seq"] for row in await service.history(website_id)]


async def pruned_row(service: Service, website_id: int) -> Any:
    """Return what is kept of a website's pruned rows."""
    return await service.connection.fetchrow("SELECT * FROM provisioning_pruned WHERE website_id = $1", website_id)


async def histories(store: Store) -> tuple[str, str]:
    """Return what the doctor says of the histories."""
    settings = Settings.model_validate({"database_url": "postgresql://x/y", "amqp_url": "inprocess://"})
    (found,) = [
        each for each in await check_websites(store, settings, full=True, idle=True) if each.what == "histories"
    ]
    return found.level, found.have


async def test_old_rows_of_websites_at_rest_go_and_the_last_stays(start: Start, store: Store) -> None:
    """Not those of a website under way, nor young ones, nor one that has an older row before it that stays; a dry run
    counts the same and deletes nothing; a second run finds nothing; it is recorded."""
    async with start() as service:
        for website_id in (1, 2, 3, 4):
            await service.created(website_id, auto_go_live=website_id != 4)
            await service.reaches(website_id, "ready" if website_id == 4 else "live")
        ids = [row["message_id"] for row in await service.history(1)]
        for website_id in (1, 2, 4):
            await aged(service, website_id, 3 if website_id == 2 else 1000)
        await service.created(5, owner=None)
        await service.reaches(5, "failed")
        await aged(service, 5)
        counted = await prune(store, **NINETY, dry_run=True)
        assert counted == {"websites": 3, "rows": STEPS - 1 + 3 + STEPS - 2, "dry_run": True}
        assert await pruned_row(service, 1) is None
        assert await prune(store, **NINETY) == counted | {"dry_run": False}
        assert [await seqs(service, number) for number in (1, 2, 3, 4, 5)] == [
            [STEPS], list(range(4, STEPS + 1)), list(range(1, STEPS + 1)), [STEPS - 1], [1],
        ]  # fmt: skip
        kept = await pruned_row(service, 1)
        assert (kept["through_seq"], kept["to_state"], kept["message_ids"]) == (STEPS - 1, "ready", ids[:-1])
        assert (await prune(store, **NINETY))["rows"] == 0
        action = (await recent_actions(store))[-1]
        assert (action["verb"], action["actor"]) == ("prune", "cli:ana")
        assert action["outcome"] == f"{counted['rows']} rows of 3 websites"
        with pytest.raises(InvalidInputError, match="at least 1d"):
            await prune(store, older_seconds=3600, **WHO)


async def test_it_prunes_in_batches_and_leaves_what_is_locked_or_under_way(
    start: Start, store: Store, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each batch is a transaction of its own; a website that somebody has locked, or one with an event that is not
    published, is left for the next run; one that is deleted keeps its last row."""
    monkeypatch.setattr(pruning, "BATCH_SIZE", 2)
    async with start() as service:
        for website_id in range(1, 6):
            await service.created(website_id)
            await service.reaches(website_id, "live")
            await aged(service, website_id)
        other = await asyncpg.connect(database_url)
        await other.execute("DELETE FROM pwb_websites WHERE id = 5")
        await other.execute("UPDATE pwb_websites SET provisioning_published_seq = provisioning_seq - 1 WHERE id = 3")
        async with other.transaction():
            await other.execute("SELECT FROM pwb_websites WHERE id = 2 FOR NO KEY UPDATE")
            assert (await prune(store, **NINETY))["websites"] == 3
            assert [len(await seqs(service, number)) for number in range(1, 6)] == [1, STEPS, STEPS, 1, 1]
        await other.execute("UPDATE pwb_websites SET provisioning_published_seq = provisioning_seq WHERE id = 3")
        await other.close()
        assert (await prune(store, **NINETY))["websites"] == 2


async def test_a_late_copy_of_a_pruned_message_moves_nothing(start: Start, store: Store) -> None:
    """Of every message that moved it, with a seq or without: a command that has none would suspend it anew, or send it
    round again. Each is already done, without a dead letter; and so is the forecast of a redrive."""
    async with start() as service:
        sent: dict[str, tuple[str, dict[str, Any]]] = {}
        await service.created(1, owner=None)
        await service.reaches(1, "failed")
        owner = {"website_id": 1, "owner": {"email": "ana@example.com"}}
        sent[await service.publish("website.created", owner)] = ("website.created", owner)
        await service.reaches(1, "live")
        for trigger, state in (("suspend", "suspended"), ("reactivate", "live"), ("suspend", "suspended"),
                               ("reactivate", "live"), ("suspend", "suspended"), ("reactivate", "live")):  # fmt: skip
            message_id = await service.command(trigger, 1)
            sent[message_id] = (f"provisioning.{trigger}", {"website_id": 1})
            await service.reaches(1, state)
        rows = await service.history(1)
        for row in rows[:-1]:
            sent.setdefault(str(row["message_id"]), (f"provisioning.{row['trigger']}", {"website_id": 1}))
        await aged(service, 1)
        assert (await prune(store, **NINETY))["rows"] == len(rows) - 1
        # Somebody else is the owner by now: without its id, the copy of the signup would be in conflict.
        await service.connection.execute("UPDATE pwb_users SET email = 'new@example.com'")
        before, events = await service.website(1), service.events()
        for message_id, (name, body) in sent.items():
            await service.publish(name, body, message_id)
        await service.settled()
        assert await service.website(1) == before
        assert await seqs(service, 1) == [len(rows)]
        assert service.letters() == []
        assert service.events()[: len(events)] == events
        assert {event["message_id"] for event in service.events()} == {event["message_id"] for event in events}
        copies = [make_delivery(body, type=name, message_id=message_id) for message_id, (name, body) in sent.items()]
        for each in await forecast_redrive(store, copies):
            assert each["prospect"] == "already_done", each
        # What is no copy goes on as ever.
        await service.command("suspend", 1)
        await service.reaches(1, "suspended")
        assert await seqs(service, 1) == [len(rows), len(rows) + 1]


async def test_a_pruned_website_goes_on_where_it_was(start: Start, store: Store) -> None:
    """A failed one is requeued and goes live, one that is held goes live, and one that is deleted and signs up again
    continues its log; all histories are whole to the doctor and to the invariants."""
    async with start() as service:
        await service.created(1, owner=None)
        await service.reaches(1, "failed")
        await service.publish("website.created", {"website_id": 1, "owner": {"email": "ana@example.com"}})
        await service.reaches(1, "live")
        await service.command("suspend", 1)
        await service.reaches(1, "suspended")
        await service.created(2, auto_go_live=False)
        await service.reaches(2, "ready")
        for website_id in (1, 2):
            await aged(service, website_id)
        assert (await prune(store, **NINETY))["websites"] == 2
        assert await histories(store) == ("ok", "each history has no gap and no jump, and ends where its website is")
        await check_history(service.connection)
        await service.command("reactivate", 1)
        await service.reaches(1, "live")
        await service.command("go_live", 2)
        await service.reaches(2, "live")
        last = (await service.website(1))["provisioning_seq"]
        await aged(service, 1)
        await prune(store, **NINETY)
        await check_history(service.connection)
        await service.connection.execute("DELETE FROM pwb_websites WHERE id = 1")
        await service.created(1, owner={"email": "bob@example.com"}, subdomain="another-one")
        await service.reaches(1, "live")
        assert await seqs(service, 1) == list(range(last, last + STEPS + 1))
        assert (await histories(store))[0] == "ok"


async def test_a_row_that_is_lost_is_still_found(start: Start, store: Store) -> None:
    """What was deleted by hand is no pruned row, above or below one."""
    async with start() as service:
        for website_id in (1, 2, 3):
            await service.created(website_id)
            await service.reaches(website_id, "live")
            await aged(service, website_id, 4)
        await prune(store, **NINETY)
        await service.connection.execute("DELETE FROM provisioning_transitions WHERE website_id = 1 AND seq = 6")
        await service.connection.execute("DELETE FROM provisioning_transitions WHERE website_id = 2 AND seq = 5")
        level, have = await histories(store)
        assert (level, have) == ("fail", "2 websites: 2, 1")


async def test_whoever_reads_a_history_is_told_what_was_pruned(start: Start, store: Store) -> None:
    """Status and timeline name the rows that are gone; a replay says for how many websites it has not all events."""
    async with start() as service:
        for website_id in (1, 2):
            await service.created(website_id)
            await service.reaches(website_id, "live")
        await aged(service, 1)
        await prune(store, **NINETY)
        details = await website_details(store, 1)
        assert [row["seq"] for row in details["history"]] == [STEPS]
        assert details["pruned"]["through_seq"] == STEPS - 1
        assert (await website_details(store, 2))["pruned"] is None
        long_ago: dict[str, Any] = {"since_seconds": 200 * DAY, **WHO}
        result = await replay(store, service.broker, NAMESPACE, website_id=None, **long_ago)
        assert (result["events"], result["pruned_websites"]) == (STEPS + 1, 1)
        result = await replay(store, service.broker, NAMESPACE, website_id=2, **long_ago)
        assert result["pruned_websites"] == 0
        result = await replay(store, service.broker, NAMESPACE, website_id=None, since_seconds=DAY, **WHO, dry_run=True)
        assert (result["events"], result["pruned_websites"]) == (STEPS, 0)


async def test_an_unknown_message_is_looked_for_in_what_was_pruned_of_its_website_alone(
    start: Start, store: Store
) -> None:
    """The id of another website's pruned message is no copy."""
    async with start() as service:
        for website_id in (1, 2):
            await service.created(website_id)
            await service.reaches(website_id, "live")
        shared = uuid.uuid4()
        await service.command("suspend", 1, shared)
        await service.reaches(1, "suspended")
        await service.command("reactivate", 1)
        await service.reaches(1, "live")
        await aged(service, 1)
        await prune(store, **NINETY)
        await service.command("suspend", 2, shared)
        await service.reaches(2, "suspended")
