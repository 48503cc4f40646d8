"""Section B: workers that are told to stop, frozen, cancelled or killed by what they read. See also test_stop.py."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import asyncpg
import pytest

from consumer import failpoints
from consumer.broker.topology import DELIVERY_LIMIT
from consumer.store.database import Store
from consumer.store.provisioning_statements import Transaction
from tests.faults.conftest import Scaled
from tests.faults.scene import SECONDS, Scene
from tests.worker_processes import until

NO_SESSION_BUT_IDLE = """
SELECT count(*) = 0 FROM pg_stat_activity
 WHERE datname = current_database() AND pid <> pg_backend_pid()
   AND state <> 'idle' AND backend_type = 'client backend'"""


@pytest.mark.fault(26)
async def test_a_task_cancelled_at_each_await(scene: Scene, scaled: Scaled) -> None:
    """A worker's task is cancelled at the n-th suspension: rolled back, nothing leaked, nothing lost, for each n."""
    stride = int(scaled(5, 1))
    number, survived = 1, False
    while not survived:
        (website_id,) = await scene.sign_up()
        failpoints.arm(f"await=cancel@{number}")
        async with scene.app(concurrency=1, stall_seconds=60) as app:
            stopped = asyncio.ensure_future(app.stopping.wait())

            async def over(website_id: int = website_id, stopped: asyncio.Future[bool] = stopped) -> bool:
                live = await scene.count(f"id = {website_id} AND provisioning_due_at IS NULL")
                return stopped.done() or bool(live)

            await until(over, SECONDS, f"cancelled or live at await {number}")
            stopped.cancel()
        survived = failpoints.hits.get("await", 0) < number  # it may strike after the last step
        async with scene.connection() as connection:
            # PostgreSQL ends a session whose client is gone when it next looks, not at that moment.
            none_is_left = partial(connection.fetchval, NO_SESSION_BUT_IDLE)
            await until(none_is_left, SECONDS, f"no session in a transaction after await {number}")
        number += stride
    failpoints.arm("")
    assert number > 60, "the way to live has more awaits than that"
    # Twenty deaths in a row, as at full length, are the broker's own limit for what was in the dying worker's hands.
    letters = await scene.drain(scene.topology.dead_letters)
    assert all(letter.headers["x-first-death-reason"] == "delivery_limit" for letter in letters)
    await scene.put_back(letters)
    async with scene.app():
        await scene.reckon({"live": scene.signed_up}, seconds=3 * SECONDS)  # the clock of the cancelled is a minute


@pytest.mark.fault(27)
async def test_frozen_and_thawed(scene: Scene, scaled: Scaled) -> None:
    """Two workers freeze, before and after COMMIT; others do their work, and what the zombies still hold harms none."""
    zombies = [await scene.start("pre_commit=stop@3"), await scene.start("post_commit=stop@3")]
    await scene.sign_up(20)
    await scene.said(2, event="failpoint")
    began = asyncio.get_running_loop().time()
    healthy = await scene.start()
    await scene.live(20)
    await asyncio.sleep(max(0.0, began + scaled(3, 60) - asyncio.get_running_loop().time()))
    for pid in zombies:
        os.kill(pid, signal.SIGCONT)
    await scene.consumers(3)
    await scene.zygote.kill(healthy)
    # The thawed ones are as good as new.
    await scene.sign_up(10)
    await scene.reckon({"live": 30})


async def test_where_timeouts_do_not_run(scene: Scene) -> None:
    """Why the next test matters: PostgreSQL lets a session between Parse and Bind keep its locks."""
    timeouts = {"statement_timeout": "500", "idle_in_transaction_session_timeout": "500"}
    after_parse = await asyncpg.connect(scene.database_url, server_settings=timeouts)
    await after_parse.execute("BEGIN; SELECT pg_advisory_xact_lock(1)")
    await after_parse.prepare("SELECT 1")
    between_statements = await asyncpg.connect(scene.database_url, server_settings=timeouts)
    await between_statements.execute("BEGIN; SELECT pg_advisory_xact_lock(2)")
    async with scene.connection() as other:
        second_lock_is_free = partial(other.fetchval, "SELECT pg_try_advisory_lock(2)")
        await until(second_lock_is_free, SECONDS, "the end of the later session, by its timeout")
        assert not await other.fetchval("SELECT pg_try_advisory_lock(1)"), "the earlier session outlives its timeouts"
    after_parse.terminate()
    between_statements.terminate()


async def test_nothing_is_prepared_in_a_transaction(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that freezes in a transaction holds row locks for no longer than the timeouts of its sessions."""
    transaction, found, transactions = Store.transaction, [], 0
    asking = "SELECT statement FROM pg_prepared_statements WHERE prepare_time > now()"

    @asynccontextmanager
    async def watched(store: Store) -> AsyncIterator[Transaction]:
        nonlocal transactions
        async with transaction(store) as unit:
            yield unit
            transactions += 1
            found.extend([row["statement"] for row in await unit.connection.fetch(asking)])

    monkeypatch.setattr(Store, "transaction", watched)
    async with scene.app():
        await scene.sign_up(5)
        await scene.sign_up(1, owner={"email": "no address"})
        await scene.live(5)
    assert transactions >= 6
    assert set(found) <= {asking}


@pytest.mark.fault(28)
async def test_a_message_that_kills_its_reader(scene: Scene) -> None:
    """It is thrown out after so many deaths, innocents beside it survive or can be redriven, and the others go live."""
    poison, *_ = await scene.sign_up(1, owner={"email": "deadly@example.com"})
    await scene.sign_up(9)
    deaths = 0
    while True:
        pid = await scene.start(killed_by="deadly@example.com")
        ended = asyncio.create_task(scene.zygote.wait(pid))

        async def over(ended: asyncio.Task[int] = ended) -> bool:
            return ended.done() or bool(await scene.waiting(scene.topology.dead_letters))

        await until(over, SECONDS, "the death of a worker, or the fuse")
        if not ended.done():
            os.kill(pid, signal.SIGKILL)
            await ended
            break
        assert ended.result() == 137
        deaths += 1
    assert deaths == DELIVERY_LIMIT + 1
    letters = await scene.drain(scene.topology.dead_letters)
    assert b"deadly@example.com" in b"".join(letter.body for letter in letters)
    assert all("x-death" in letter.headers and "x-reason" not in letter.headers for letter in letters)
    await scene.start()
    await scene.put_back([letter for letter in letters if b"deadly" not in letter.body])
    await scene.reckon({"live": 9})
    assert await scene.count(f"id = {poison}") == 0


@pytest.mark.fault(29)
async def test_the_loop_stands_still(scene: Scene, scaled: Scaled) -> None:
    """The broker gives up a worker whose loop is blocked; freed, it connects anew and goes on."""
    async with scene.app() as app:
        await scene.sign_up(3)
        await scene.live(3)
        lost = app.subscriber._session
        assert lost
        time.sleep(scaled(4, 40))

        async def anew() -> bool:
            return app.subscriber.connected and app.subscriber._session is not lost

        await until(anew, SECONDS, "a new consuming connection")
        assert lost.closed.is_set(), "the broker gave the connection up"
        await scene.sign_up(3)
        await scene.reckon({"live": 6})
