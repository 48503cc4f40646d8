"""Failed websites: grouped, forecast, requeued by a canary first, and explained."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from consumer.broker.topology import Topology
from consumer.factories import SHIPPED_PACKS
from consumer.store.database import Store
from consumer.worker.gate import ClosedBy
from ops.errors import NotFoundError
from ops.websites import bulk_requeue, queries
from ops.websites.bulk_requeue import RequeueStoppedError, requeue_websites
from ops.websites.explain import explain_website
from ops.websites.failures import FailureFilter, failed_website_ids, failure_groups
from ops.websites.requeue_forecast import RequeueProspect, forecast_requeue, requeue_summary
from seeders.loading.pack_library import PackLibrary
from statemachine.steps import REQUIREMENTS
from tests.contract.faulty_broker import FaultyMemoryBroker
from tests.factories import before
from tests.service import NAMESPACE, Service, Start, starter, strict_pack

DOOMED = range(1, 5)
OWNERLESS = 5
WHO: dict[str, Any] = {"actor": "cli:ana", "reason": "mended"}


@pytest.fixture
def start(database_url: str, tmp_path: Path) -> Start:
    """Start a service with settings of the test's choice."""
    return starter(database_url, tmp_path)


async def fail_some(service: Service, folder: Path) -> None:
    """Make websites fail: four for want of links, one for want of an owner."""
    strict_pack(folder, 2)
    for website_id in DOOMED:
        await service.created(website_id, seed_pack="strict")
    await service.created(OWNERLESS, owner=None)
    for website_id in (*DOOMED, OWNERLESS):
        await service.reaches(website_id, "failed")


def library(folder: Path) -> PackLibrary:
    """The packs that the service has, read anew."""
    return PackLibrary([folder, SHIPPED_PACKS])


@dataclass(frozen=True, slots=True)
class Kind:
    """A way to have failed: where, with which pack, how many links, whom the signup named, under which name, and
    with which error."""

    failed_from: str
    pack: str = "base"
    links: int = 0
    owner: str | None = '{"email": "ben@example.com"}'
    subdomain: str | None = "sunny"
    error: str = "Links creation failed - need at least 3, have 2"


async def fail_by_hand(service: Service, website_id: int, kind: Kind) -> None:
    """Make a failed website, whatever would have led there."""
    run = service.connection.execute
    await run(
        "INSERT INTO pwb_websites (id, subdomain, seed_pack_name, provisioning_request, created_at, updated_at) "
        "VALUES ($1, $2, $3, jsonb_strip_nulls(jsonb_build_object('owner', $4::jsonb)), now(), now())",
        website_id, kind.subdomain and f"{kind.subdomain}-{website_id}", kind.pack, kind.owner,
    )  # fmt: skip
    await run(
        "INSERT INTO pwb_links (website_id, slug, created_at, updated_at) "
        "SELECT $1, CASE WHEN n = 1 THEN 'link_1' ELSE 'own-' || n END, now(), now() "
        "FROM generate_series(1, $2::int) AS n", website_id, kind.links,
    )  # fmt: skip
    if kind.failed_from == "ready":
        await run(
            "WITH owner AS (INSERT INTO pwb_users (email, created_at, updated_at) "
            "VALUES ('eve@example.com', now(), now()) RETURNING id) "
            "INSERT INTO pwb_user_memberships (user_id, website_id, role, created_at, updated_at) "
            "SELECT id, $1, 'owner', now(), now() FROM owner", website_id,
        )  # fmt: skip
    await run(
        "UPDATE pwb_websites SET provisioning_state = 'failed', provisioning_failed_from = $2, "
        "provisioning_failed_at = now(), provisioning_error = $3 WHERE id = $1",
        website_id, kind.failed_from, kind.error,
    )  # fmt: skip


async def test_groups_forecasts_and_a_canary(start: Start, store: Store, tmp_path: Path) -> None:
    """Two causes are two groups; a canary stops at the first that fails again, and goes on once the pack is mended."""
    async with start() as service:
        await fail_some(service, tmp_path)
        links, owner = await failure_groups(store)
        assert (links["websites"], links["cause"], links["failed_from"]) == (
            4, "Links creation failed - need at least #, have #", {before("links_created"): 4},
        )  # fmt: skip
        assert (owner["websites"], owner["example"]) == (1, OWNERLESS)
        ids = await failed_website_ids(store, FailureFilter(group=links["group"]))
        assert sorted(ids) == list(DOOMED)
        assert await failed_website_ids(store, FailureFilter(error="OWNER", since_seconds=3600)) == [OWNERLESS]
        assert await failed_website_ids(store, FailureFilter(pack="base", group=links["group"])) == []
        assert len(await failed_website_ids(store, FailureFilter(pack="strict", limit=3))) == 3
        with pytest.raises(NotFoundError, match="no failed website is in a group 'nonsense'"):
            await failed_website_ids(store, FailureFilter(group="nonsense"))

        forecasts = await forecast_requeue(store, library(tmp_path), [*ids, OWNERLESS])
        assert requeue_summary(forecasts) == (
            "5 selected: 1 waits for owner membership, 4 will fail again: links (have 2, need 3)"
        )
        with pytest.raises(
            RequeueStoppedError, match=r"failed again: Links creation failed - need at least 3, have 2"
        ) as stopped:
            await requeue_websites(store, service.broker, NAMESPACE, ids, canary_seconds=10, **WHO)
        assert [item["sent"] for item in stopped.value.results] == [True], "one canary, and no second batch"
        with pytest.raises(RequeueStoppedError, match="Owner assignment failed"):
            await requeue_websites(store, service.broker, NAMESPACE, [OWNERLESS], canary_seconds=10, **WHO)

        strict_pack(tmp_path, 3)
        forecasts = await forecast_requeue(store, library(tmp_path), ids)
        assert {item.prospect for item in forecasts} == {RequeueProspect.ADVANCES}
        progress_texts: list[str] = []
        results = await requeue_websites(
            store, service.broker, NAMESPACE, ids, canary_seconds=10, progress=progress_texts.append, **WHO
        )
        assert [item["sent"] for item in results] == [True] * 4
        assert progress_texts[-1] == "4 of 4 have advanced"
        for website_id in DOOMED:
            await service.reaches(website_id, "live")
        history = await service.history(ids[-1])
        (retry,) = [row for row in history if row["trigger"] == "retry_provisioning"]
        assert (retry["actor"], retry["reason"]) == ("guest/cli:ana", "mended")


async def test_requeued_twice_moves_once(start: Start, store: Store, tmp_path: Path) -> None:
    """A tool that died half-way is run again while its commands are still on their way: each website moves once."""
    broker = FaultyMemoryBroker()
    async with start(broker) as service:
        await fail_some(service, tmp_path)
    strict_pack(tmp_path, 3)
    ids = await failed_website_ids(store, FailureFilter(pack="strict"))
    for _ in range(2):
        sent = await requeue_websites(store, broker, NAMESPACE, ids, rate=1000, **WHO)
        assert all(item["sent"] for item in sent), "nobody has carried anything out meanwhile"
    async with start(broker) as service:
        for website_id in DOOMED:
            await service.reaches(website_id, "live")
        await service.settled()
        for website_id in DOOMED:
            triggers = [row["trigger"] for row in await service.history(website_id)]
            assert triggers.count("retry_provisioning") == 1


async def test_one_connection_and_one_read_a_batch(
    store: Store, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many batches a requeue has, it publishes over one connection, and reads each batch's statuses once."""
    connection = await asyncpg.connect(database_url)
    await connection.execute(
        "INSERT INTO pwb_websites (id, created_at, updated_at) SELECT n, now(), now() FROM generate_series(1, 5) AS n;"
        "UPDATE pwb_websites SET provisioning_state = 'failed', provisioning_failed_from = 'pending', "
        "provisioning_failed_at = now(), provisioning_error = 'by hand' WHERE id < 5"
    )
    await connection.close()
    broker, opened, reads = FaultyMemoryBroker(), [], []
    await broker.declare(Topology(NAMESPACE))
    open_publisher, statuses = broker.open_publisher, queries.statuses

    async def counted_open() -> Any:
        opened.append(1)
        return await open_publisher()

    async def counted_statuses(store: Store, ids: Any) -> Any:
        reads.append(list(ids))
        return await statuses(store, ids)

    monkeypatch.setattr(bulk_requeue, "BATCH_SIZE", 2)
    monkeypatch.setattr(broker, "open_publisher", counted_open)
    monkeypatch.setattr(queries, "statuses", counted_statuses)
    results = await requeue_websites(store, broker, NAMESPACE, [5, 1, 2, 3, 4], **WHO)
    assert [result["sent"] for result in results] == [True, False, True, True, True], "by id within a batch"
    assert reads == [[5, 1], [2, 3], [4]]
    assert len(opened) == 1
    assert await requeue_websites(store, broker, NAMESPACE, [5], **WHO)
    assert len(opened) == 1, "nothing to send, no connection"


async def test_what_is_forecast_is_what_happens(start: Start, store: Store, tmp_path: Path) -> None:
    """Each kind of failed website ends as its forecast said: live, held, or failed for that very reason."""
    strict_pack(tmp_path, 2)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "pack.yml").write_text("name: [")
    kinds = {
        1: Kind("pending"),
        2: Kind("pending", owner=None),
        3: Kind("pending", owner='{"user_id": 999999}'),
        4: Kind(before("links_created"), "strict", links=2),
        5: Kind(before("links_created"), "strict", links=1),
        6: Kind(before("links_created"), "broken", error="PostgreSQL 53100: no space"),
        7: Kind("links_created", "missing", links=5),
        8: Kind("ready", links=5, subdomain=None),
    }
    async with start() as service:
        for website_id, kind in kinds.items():
            await fail_by_hand(service, website_id, kind)
        await service.connection.execute("UPDATE pwb_websites SET provisioning_auto_go_live = false WHERE id = 7")
        forecasts = {item.website_id: item for item in await forecast_requeue(store, library(tmp_path), list(kinds))}
        assert {number: (item.prospect.value, item.about) for number, item in forecasts.items()} == {
            1: ("advances", "pending"),
            2: ("waits", "owner membership"),
            3: ("waits", "owner membership"),
            4: ("advances", "pending"),
            5: ("fails_again", "links (have 2, need 3)"),
            6: ("unknown", "pending"),
            7: ("advances", "pending"),
            8: ("waits", "subdomain"),
        }
        await requeue_websites(store, service.broker, NAMESPACE, list(kinds), **WHO)
        ends = {1: "live", 4: "live", 6: "live", 7: "ready"}
        for website_id in kinds:
            await service.reaches(website_id, ends.get(website_id, "failed"))
        errors = {number: (await service.website(number))["provisioning_error"] for number in (2, 3, 5, 8)}
        assert errors == {
            2: "Owner assignment failed - no active owner membership",
            3: "Owner assignment failed - no active owner membership",
            5: "Links creation failed - need at least 3, have 2",
            8: "Cannot go live - missing: subdomain",
        }


async def test_ten_thousand_in_seconds(store: Store, tmp_path: Path, database_url: str) -> None:
    """Ten thousand failed websites, each with an error of its own, are one group, chosen and forecast in seconds."""
    connection = await asyncpg.connect(database_url)
    await connection.execute(
        "INSERT INTO pwb_websites (id, subdomain, created_at, updated_at) "
        "SELECT n, 'site-' || n, now(), now() FROM generate_series(1, 10000) AS n;"
        "UPDATE pwb_websites SET provisioning_state = 'failed', provisioning_failed_from = 'pending', "
        "provisioning_failed_at = now(), provisioning_error = 'PostgreSQL 23514: row ' || id || ' is odd'"
    )
    await connection.close()
    async with asyncio.timeout(30):
        (group,) = await failure_groups(store)
        ids = await failed_website_ids(store, FailureFilter(group=group["group"]))
        forecasts = await forecast_requeue(store, library(tmp_path), ids)
    assert requeue_summary(forecasts) == "10000 selected: 10000 wait for owner membership"


async def test_a_website_is_explained(start: Start, store: Store, tmp_path: Path, database_url: str) -> None:
    """Where it is, what its next step needs, what it waits for, its last error, and what people may do."""
    async with start() as service:
        await fail_some(service, tmp_path)
        explained = await explain_website(store, service.broker, NAMESPACE, 1, library(tmp_path))
        assert explained["waits_for"]["kind"] == "people"
        assert explained["last_error"]["error"] == "Links creation failed - need at least 3, have 2"
        requeued = explained["may"][0]
        assert requeued["would"].endswith("then fail again: links (have 2, need 3)")
        assert [need["key"] for need in explained["requirements"]] == [requirement.key for requirement in REQUIREMENTS]
        unmet = [need["key"] for need in explained["requirements"] if not need["met"]]
        assert unmet == ["links", "field_keys", "properties"]
        (need,) = explained["guard"]["needs"]
        assert (explained["guard"]["trigger"], need["count"], need["minimum"], need["met"]) == (
            "complete_links",
            2,
            3,
            False,
        )
        assert {item["verb"]: item["works"] for item in explained["may"]} == {
            "requeue": True,
            "terminate": True,
            "erase": True,
        }

        await service.created(7, auto_go_live=False)
        await service.reaches(7, "ready")
        held = await explain_website(store, service.broker, NAMESPACE, 7)
        assert "go-live" in held["waits_for"]["why"]

        stranger = await asyncpg.connect(database_url, server_settings={"application_name": "a stranger"})
        async with stranger.transaction():
            await stranger.execute("SELECT FROM pwb_websites WHERE id = 7 FOR UPDATE")
            locked = (await explain_website(store, service.broker, NAMESPACE, 7))["waits_for"]
            assert locked["kind"] == "lock"
            assert f"a stranger, PostgreSQL process {stranger.get_server_pid()}" in locked["why"]
            assert locked["statement"] == "SELECT FROM pwb_websites WHERE id = 7 FOR UPDATE"
        await stranger.close()
        with pytest.raises(NotFoundError, match="there is no website 999"):
            await explain_website(store, service.broker, NAMESPACE, 999)


async def test_explained_on_its_way(start: Start, store: Store, tmp_path: Path) -> None:
    """A website between two steps waits for a message, one whose step did not succeed for its next attempt."""
    async with start(retry_base_seconds=50, retry_cap_seconds=60) as service:
        service.app.gate.close(ClosedBy.PUBLISHING, "nothing is carried out meanwhile")
        await service.connection.execute(
            "INSERT INTO pwb_websites (id, created_at, updated_at) VALUES (8, now(), now()), (9, now(), now())"
        )
        await service.registered()
        waits = (await explain_website(store, None, NAMESPACE, 8))["waits_for"]
        assert waits["kind"] == "message"
        assert waits["why"].startswith("website.created has not come since")
        assert "no worker runs" not in waits["why"]
        await service.connection.execute(
            "INSERT INTO provisioning_pauses (worker, actor, reason) VALUES ('all', 'cli:ana', 'maintenance')"
        )
        waits = (await explain_website(store, None, NAMESPACE, 8))["waits_for"]
        assert "all workers are paused by cli:ana since" in waits["why"]
        await service.connection.execute("DELETE FROM provisioning_pauses")
        service.app.gate.lift(ClosedBy.PUBLISHING)
        await service.publish("website.created", {"website_id": 9})
        await service.settled()
        explained = await explain_website(store, None, NAMESPACE, 9)
        assert explained["waits_for"]["kind"] == "retry"
        assert explained["waits_for"]["why"].startswith("attempt 2 is due at")
        assert explained["last_error"]["attempts"] == 1
        assert explained["dead_letters"] is None
