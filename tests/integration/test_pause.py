"""Pausing: a paused worker takes nothing, hoards nothing, finishes what was started, and says so; nothing is lost."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
import structlog

from consumer.app import App
from consumer.broker.rabbitmq.adapter import RabbitBroker
from consumer.config import Settings
from consumer.domain.records import WorkerReport
from consumer.store.database import Store
from consumer.worker.gate import ClosedBy
from ops.audit.queries import action_details, recent_actions
from ops.errors import InvalidInputError
from ops.publishing import publish_all, publishing, website_created
from ops.workers import pause as pausing
from ops.workers.pause import pause_or_resume
from ops.workers.queries import UnknownWorkerError, known_workers
from tests.factories import STEPS
from tests.service import Service, Start, starter
from tests.worker_processes import until

WHO: dict[str, Any] = {"actor": "cli:ana", "reason": "a test", "seconds": 10}


@pytest.fixture(autouse=True)
def _polls_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pausing, "POLL_SECONDS", 0.03)


@pytest.fixture
def start(database_url: str, tmp_path: Path) -> Start:
    """Start a service that says twenty times a second that it is there."""
    running = starter(database_url, tmp_path)
    return lambda **changes: running(**({"presence_seconds": 0.05} | changes))


@pytest_asyncio.fixture
async def service(start: Start) -> AsyncIterator[Service]:
    """One worker process."""
    async with start() as running:
        yield running


def held_up(app: App) -> tuple[asyncio.Event, asyncio.Event]:
    """Let every batch of an app wait before it begins; return what is set when one does, and what lets it go on."""
    begun, go_on = asyncio.Event(), asyncio.Event()
    for worker in app.workers:
        batch: Callable[..., Any] = worker.use_case.batch

        async def slow(commands: Any, *, alone: bool = False, batch: Callable[..., Any] = batch) -> Any:
            begun.set()
            await go_on.wait()
            return await batch(commands, alone=alone)

        worker.use_case.batch = slow  # type: ignore[method-assign]
    return begun, go_on


async def there(store: Store, count: int) -> list[dict[str, Any]]:
    """Wait until so many workers are known."""

    async def known() -> Any:
        found = (await known_workers(store))["workers"]
        return (found,) if len(found) == count else None

    found: list[dict[str, Any]]
    (found,) = await until(known, 60, f"{count} workers known")
    return found


async def test_signups_wait_at_the_broker_until_all_resume(service: Service, store: Store) -> None:
    """Paused, nothing is taken and nothing sent; resumed, everything goes live. Both are recorded."""
    await there(store, 1)
    result = await pause_or_resume(store, "pause", None, **WHO)
    assert (result["answered"], result["outcome"]) == (True, "1 of 1 workers answered")
    for website_id in range(1, 6):
        await service.created(website_id)
    assert len(service.broker.ready(service.topology.signups)) == 5
    assert ClosedBy.OPERATOR in service.app.gate.reasons
    assert service.app.subscriber.at_rest
    (worker,) = (await known_workers(store))["workers"]
    assert worker["pause"]["reason"] == "a test"
    assert await service.website(1) is None
    assert (await pause_or_resume(store, "resume", None, **WHO))["answered"]
    for website_id in range(1, 6):
        await service.reaches(website_id, "live")
    told = [(act["verb"], act["actor"], act["reason"], act["outcome"]) for act in await recent_actions(store)]
    assert told == [(verb, "cli:ana", "a test", "1 of 1 workers answered") for verb in ("resume", "pause")]

    async def told_of_it() -> bool:
        (worker,) = (await known_workers(store))["workers"]
        return (worker["paused"], bool(worker["last_delivery_at"]), worker["in_flight"]) == (False, True, 0)

    await until(told_of_it, 60, "it works, has nothing in its hands, and says when the last delivery came")


async def test_it_is_recorded_before_it_takes_effect(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tool that fails while it pauses leaves the action, and of its item no outcome."""
    monkeypatch.setitem(pausing.SQL, "pause", "SELECT 1/0, $1::text[], $2::text, $3::text")
    with pytest.raises(asyncpg.DivisionByZeroError):
        await pause_or_resume(store, "pause", None, **WHO)
    (act,) = await recent_actions(store)
    assert (act["verb"], act["result"], act["detail"]) == ("pause", "failure", {"worker": "all"})
    (item,) = (await action_details(store, act["id"]))["results"]
    assert item["outcome"] is None


async def test_what_was_started_is_finished_and_the_rest_given_back(service: Service, store: Store) -> None:
    """A batch in a worker's hands is carried out and settled; what waits for a worker goes back to the broker at once.
    Until then the worker has not answered, and whoever asked is told."""
    for website_id in range(1, 41):
        await service.created(website_id)
    for website_id in range(1, 41):
        await service.reaches(website_id, "live")
    begun, go_on = held_up(service.app)
    for website_id in range(1, 41):
        await service.publish("provisioning.suspend", {"website_id": website_id})
    await begun.wait()
    result = await pause_or_resume(store, "pause", None, **WHO | {"seconds": 0.3})
    assert not result["answered"]
    started = service.app.buffer.in_flight
    assert 0 < started < 40
    assert f"{started} deliveries in flight" in result["outcome"]
    assert len(service.broker.ready(service.topology.commands)) == 40 - started
    go_on.set()
    await until(lambda: paused(store), 60, "the worker says that it is paused")
    states = await service.connection.fetch("SELECT provisioning_state FROM pwb_websites")
    assert sum(row["provisioning_state"] == "suspended" for row in states) == started
    assert service.broker.unsettled(service.topology.commands) == ()
    await pause_or_resume(store, "resume", None, **WHO)
    for website_id in range(1, 41):
        await service.reaches(website_id, "suspended")


async def paused(store: Store) -> bool:
    """Say whether every worker has said that it is paused."""
    return all(worker["paused"] for worker in (await known_workers(store))["workers"])


async def test_a_delivery_that_goes_round_is_given_back_too(service: Service, store: Store, database_url: str) -> None:
    """A website that somebody has locked keeps no delivery in a paused worker."""
    await service.created(1)
    await service.reaches(1, "live")
    other = await asyncpg.connect(database_url)
    async with other.transaction():
        await other.execute("SELECT FROM pwb_websites WHERE id = 1 FOR UPDATE")
        await service.publish("provisioning.suspend", {"website_id": 1})
        await until(lambda: _true(len(service.batches) > 8), 60, "it goes round")
        assert (await pause_or_resume(store, "pause", None, **WHO))["answered"]
        assert len(service.broker.ready(service.topology.commands)) == 1
    await other.close()
    await pause_or_resume(store, "resume", None, **WHO)
    await service.reaches(1, "suspended")


async def _true(answer: object) -> object:
    return answer


async def test_one_is_paused_and_the_other_does_the_work(start: Start, store: Store) -> None:
    """By the beginning of its id; the other one gets everything, and a single one cannot go on while all are paused."""
    async with start() as first, start(broker=first.broker) as second:
        await there(store, 2)
        chosen = str(first.app.heartbeat.id)
        result = await pause_or_resume(store, "pause", [chosen[:8]], **WHO)
        assert [answer["id"] for answer in result["workers"]] == [chosen]
        assert result["answered"]
        for website_id in range(1, 21):
            await second.created(website_id)
        for website_id in range(1, 21):
            await second.reaches(website_id, "live")
        assert first.batches == []
        assert second.batches
        await pause_or_resume(store, "pause", None, **WHO)
        with pytest.raises(InvalidInputError, match="none goes on alone"):
            await pause_or_resume(store, "resume", [chosen], **WHO)
        assert (await pause_or_resume(store, "resume", None, **WHO))["answered"]
        assert await store_pauses(second) == 0
    assert await there(store, 0) == []


async def store_pauses(service: Service) -> int:
    """Count what is wanted."""
    found: int = await service.connection.fetchval("SELECT count(*) FROM provisioning_pauses")
    return found


async def test_who_starts_while_all_are_paused_starts_paused(start: Start, store: Store) -> None:
    """It never consumes, says so in its log and in its row, and goes on when all resume."""
    result = await pause_or_resume(store, "pause", None, **WHO)
    assert result["outcome"] == "no worker runs; those that start will be paused"
    with structlog.testing.capture_logs() as lines:
        async with start() as service:
            await service.created(1)
            (worker,) = await there(store, 1)
            await until(lambda: paused(store), 60, "it says that it is paused")
            assert worker["pause"]["actor"] == "cli:ana"
            assert service.broker.queue(service.topology.signups).counts.consumers == 0
            told = [line["error"] for line in lines if line["event"] == "paused" and line["what"] == ClosedBy.OPERATOR]
            assert any("all workers are paused by cli:ana since" in error for error in told)
            await pause_or_resume(store, "resume", None, **WHO)
            await service.reaches(1, "live")


async def test_a_worker_that_cannot_ask_takes_nothing(start: Start, database_url: str) -> None:
    """Whether it is paused it does not know, so it waits and says why; what it knew once holds while it cannot ask."""
    connection = await asyncpg.connect(database_url)
    # Refused when it is said, not when it is prepared: a session that cannot be prepared pauses everything by itself.
    refuse = "ALTER TABLE provisioning_workers ADD CONSTRAINT nobody CHECK (false) NOT VALID"
    await connection.execute(refuse)
    async with start() as service:
        await service.created(1)
        asked = "not known yet: PostgreSQL 23514"
        await until(lambda: _true(asked in service.app.gate.reasons[ClosedBy.OPERATOR]), 60, "it says why")
        assert len(service.broker.ready(service.topology.signups)) == 1
        await connection.execute("ALTER TABLE provisioning_workers DROP CONSTRAINT nobody")
        await service.reaches(1, "live")
        await connection.execute(refuse)
        with pytest.raises(asyncpg.CheckViolationError):
            await service.app.heartbeat.run_once()
        await service.created(2)
        await service.reaches(2, "live")
    await connection.close()


async def test_the_dead_are_marked_and_then_forgotten(service: Service, store: Store) -> None:
    """Not seen for 15 s a worker is stale and is not waited for; after ten minutes the others delete its row."""
    (mine,) = await there(store, 1)
    dead = WorkerReport(service.app.heartbeat.id.__class__(int=7), "gone", 7, "0", 60, 3, False, None)
    await store.report_worker(dead, 600)
    await service.connection.execute("UPDATE provisioning_workers SET seen_at = now() - interval '1 min' WHERE pid = 7")
    result = await pause_or_resume(store, "pause", None, **WHO)
    assert (result["answered"], "gone:7 (no answer: not seen for 60 s)" in result["outcome"]) == (True, True)
    named = await pause_or_resume(store, "pause", ["gone:7"], **WHO)
    assert not named["answered"]
    with pytest.raises(UnknownWorkerError, match="no worker 'nobody'"):
        await pause_or_resume(store, "pause", ["nobody"], **WHO)
    with pytest.raises(InvalidInputError, match="say why"):
        await pause_or_resume(store, "pause", None, **WHO | {"reason": ""})
    await service.connection.execute("UPDATE provisioning_workers SET seen_at = now() - interval '1 h' WHERE pid = 7")
    assert [worker["id"] for worker in await there(store, 1)] == [mine["id"]]


@asynccontextmanager
async def on_rabbitmq(settings: Settings) -> AsyncIterator[App]:
    """Run an app in this process."""
    app = App(settings)
    running = asyncio.create_task(app.run())
    try:
        yield app
    finally:
        app.stopping.set()
        async with asyncio.timeout(60):
            await running


async def test_on_rabbitmq_a_paused_worker_holds_nothing(
    store: Store, database_url: str, amqp_url: str, namespace: str
) -> None:
    """While a batch is held up and the window is full, a pause gives everything else back; another worker does it."""
    settings = Settings.model_validate(
        {"database_url": database_url, "amqp_url": amqp_url, "namespace": namespace, "presence_seconds": 0.1,
         "batch_size": 8}
    )  # fmt: skip
    broker = RabbitBroker(amqp_url)
    async with on_rabbitmq(settings) as first:
        begun, go_on = held_up(first)
        await there(store, 1)
        await until(lambda: _true(first.subscriber.connected), 60, "it is connected")
        signups = [website_created(first.topology, {"website_id": n, "owner": {"email": "a@example.com"}, "subdomain":
                   f"site-{n}"}) for n in range(1, 101)]  # fmt: skip
        async with publishing(broker) as session:
            await publish_all(session, signups)
        await begun.wait()
        await until(lambda: _true(len(first.buffer) > 0), 60, "its window fills")
        asking = asyncio.create_task(
            pause_or_resume(store, "pause", [str(first.heartbeat.id)], **WHO | {"seconds": 20})
        )
        await until(lambda: _true(not len(first.buffer)), 60, "it gives back what waits")
        assert not asking.done()
        go_on.set()
        assert (await asking)["answered"]
        session_of_ours = await broker.open_consumer()
        started = await store_count(store)
        assert 0 < started <= 16

        async def all_back() -> bool:
            counts = [await session_of_ours.counts(q) for q in (first.topology.signups, first.topology.commands)]
            return sum(count.ready for count in counts) == 100 and not any(count.consumers for count in counts)

        await until(all_back, 60, "what was started goes on as commands, the rest as signups")
        await session_of_ours.close()
        async with on_rabbitmq(settings):
            await until(lambda: all_live(store), 60, "the other one does it all")


async def store_count(store: Store) -> int:
    """Count websites."""
    async with store.connection() as connection:
        found: int = await connection.fetchval("SELECT count(*) FROM pwb_websites")
        return found


async def all_live(store: Store) -> bool:
    """Say whether a hundred websites are live, each after all its transitions."""
    async with store.connection() as connection:
        sql = "SELECT count(*) FROM pwb_websites WHERE provisioning_state = 'live' AND provisioning_seq = $1"
        return bool(await connection.fetchval(sql, STEPS) == 100)


def test_an_answer_can_be_printed() -> None:
    """A sentence names who has not answered, and why."""
    answer = {"name": "web-1:7", "answered": False, "stale": False, "in_flight": 3, "unseen_seconds": 0.0}
    told = pausing.answers_summary("pause", [answer, answer | {"answered": True}])
    assert told == "1 of 2 workers answered; not: web-1:7 (no answer yet: 3 deliveries in flight)"
    assert json.dumps(answer)
