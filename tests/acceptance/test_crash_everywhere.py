"""A worker dies at each await between receipt and ack, and at each named failpoint; then another one heals.

Each death is a real SIGKILL of a real process. A run whose fault did not fire fails the test, or proves that there
is no later await to die at.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from consumer.broker.rabbitmq.adapter import RabbitBroker
from consumer.broker.topology import Topology
from consumer.failpoints import NAMES
from tests.conftest import Scaled
from tests.factories import STEPS
from tests.foreign_client import ForeignClient, foreign_client, signup
from tests.invariants import check_all
from tests.service import strict_pack
from tests.worker_processes import until
from tests.zygote import Zygote, zygote

KILLED = -9
FAULTS: dict[str, tuple[int, ...]] = {
    "received": (1,), "registered": (2,), "locked": (3,), "planned": (3,), "step": (3,), "stepped": (5,),
    "judged": (6,), "written": (7,), "pre_commit": (8,), "post_commit": (10,), "events_sent": (14,),
    "commands_sent": (14,), "settled": (14,), "acked": (11,), "attempt_written": (16,), "claimed": (12, 17),
    "dispatched": (17,), "cleared": (14,),
}  # fmt: skip
"""Which numbered fault a death at each failpoint is; the names are not the catalogue's, the places are."""
FEWEST_AWAITS_TO_FAILED = 25
FEWEST_AWAITS_TO_A_LETTER = 5
FEWEST_AWAITS = 60
"""A website's way has more suspensions than this; a test that found fewer would not have looked where the work is."""


@dataclass
class Scene:
    """Everything a crash needs."""

    connection: Any
    client: ForeignClient
    zygote: Zygote
    websites: int = 0

    async def sign_up(self, **changes: Any) -> int:
        """Publish one more signup; return its id."""
        self.websites += 1
        await self.client.publish("website.created", signup(self.websites, **changes))
        return self.websites

    async def at_rest(self, website_id: int) -> bool:
        """Say whether a website rests and is owed nothing."""
        found: bool = await self.connection.fetchval(
            """SELECT count(*) = 1 FROM pwb_websites
                WHERE id = $1 AND provisioning_state IN ('live', 'failed') AND provisioning_due_at IS NULL""",
            website_id,
        )
        return found

    async def dies(self, website_id: int, number: int, **settings: str) -> bool:
        """Let a worker die at an await, by its number; say whether it did, or the website came to rest before."""
        before = self.fired()
        # A stall far away: no rescue may do the work of the redelivery while this worker still lives.
        pid = await self.zygote.start(
            PROVISIONER_FAILPOINTS=f"await=kill9@{number}", PROVISIONER_STALL_SECONDS="60", **settings
        )

        async def over() -> bool:
            return self.fired() > before or await self.at_rest(website_id)

        await until(over, 60, f"death or survival at await {number}")
        if self.fired() == before:
            await self.zygote.kill(pid)
            return False
        assert await self.zygote.wait(pid) == KILLED
        return True

    async def heal(self, website_id: int, **settings: str) -> None:
        """Let a healthy worker finish what a dead one left."""
        pid = await self.zygote.start(**settings)
        await until(lambda: self.at_rest(website_id), 60, f"website {website_id} at rest after its worker died")
        await self.zygote.kill(pid)

    def fired(self) -> int:
        """Return how many faults have fired so far."""
        return self.zygote.log.read_text().count('"event": "failpoint"') if self.zygote.log.exists() else 0


@pytest_asyncio.fixture
async def scene(database_url: str, amqp_url: str, namespace: str, tmp_path: Path) -> AsyncIterator[Scene]:
    """A namespace with queues, a foreign client, and a zygote for workers of one at a time."""
    await RabbitBroker(amqp_url).declare(Topology(namespace))
    connection = await asyncpg.connect(database_url)
    environment = {
        "PROVISIONER_DATABASE_URL": database_url,
        "PROVISIONER_AMQP_URL": amqp_url,
        "PROVISIONER_NAMESPACE": namespace,
        "PROVISIONER_CONCURRENCY": "1",
        "PROVISIONER_STALL_SECONDS": "0.5",
        "PROVISIONER_DISPATCH_INTERVAL_SECONDS": "0.1",
        "PROVISIONER_RETRY_BASE_SECONDS": "0.01",
    }
    async with foreign_client(amqp_url, namespace) as client, zygote(tmp_path, environment) as nursery:
        yield Scene(connection, client, nursery)
    await connection.close()


@pytest.mark.fault(4, 9, 11, 13, 15)
async def test_death_at_each_await(scene: Scene, scaled: Scaled) -> None:
    """For each await between receipt and ack on the way to live, a worker that dies exactly there harms nothing.

    Each second one in `make test`; all of them in `make faults`.
    """
    survived = 0
    for number in range(1, 1000, int(scaled(2, 1))):
        website_id = await scene.sign_up()
        if not await scene.dies(website_id, number):
            survived = number
            break
        await scene.heal(website_id)
    assert survived > FEWEST_AWAITS, "the way to live has more awaits than that"
    await scene.client.until_events(scene.websites * STEPS, 60)
    assert await check_all(scene.connection, scene.client.events) == {"live": scene.websites}
    assert await scene.client.drain(f"{scene.client.namespace}.dead-letters") == []


async def test_death_at_each_await_to_failed(scene: Scene, tmp_path: Path) -> None:
    """The same on the way to failed, by a strict pack with two links: it fails, once, with its rows kept."""
    pack = tmp_path / "packs" / "strict"
    pack.mkdir(parents=True)
    strict_pack(pack.parent, 2)
    packs = {"PROVISIONER_PACKS_DIR": str(pack.parent)}
    survived = 0
    for number in range(1, 1000):
        website_id = await scene.sign_up(seed_pack="strict")
        if not await scene.dies(website_id, number, **packs):
            survived = number
            break
        await scene.heal(website_id, **packs)
    assert survived > FEWEST_AWAITS_TO_FAILED, "the way to failed has more awaits than that"
    await scene.client.until_events(scene.websites * 3, 60)
    assert await check_all(scene.connection, scene.client.events) == {"failed": scene.websites}


async def test_death_at_each_await_to_a_dead_letter(scene: Scene) -> None:
    """The same on the way to the dead letters: each message that cannot be carried out is among them, whoever died."""
    website_id = await scene.sign_up()
    await scene.heal(website_id)
    queue, sent, letters = f"{scene.client.namespace}.dead-letters", set(), set()

    async def dead() -> bool:
        # By their ids: whoever dies between a letter and its ack leaves two of it.
        letters.update(letter["message_id"] for letter in await scene.client.drain(queue))
        return sent <= letters

    survived = 0
    for number in range(1, 1000):
        sent.add(await scene.client.publish("provisioning.terminate", {"website_id": website_id}))
        before = scene.fired()
        pid = await scene.zygote.start(PROVISIONER_FAILPOINTS=f"await=kill9@{number}", PROVISIONER_STALL_SECONDS="60")

        async def over(before: int = before) -> bool:
            return scene.fired() > before or await dead()

        await until(over, 60, f"death or survival at await {number}")
        if scene.fired() == before:
            await scene.zygote.kill(pid)
            survived = number
            break
        assert await scene.zygote.wait(pid) == KILLED
        pid = await scene.zygote.start()
        await until(dead, 60, "a dead letter")
        await scene.zygote.kill(pid)
    assert survived > FEWEST_AWAITS_TO_A_LETTER, "the way to the dead letters has more awaits than that"
    assert await dead(), f"{len(sent - letters)} of {len(sent)} messages are no dead letters"
    assert letters == sent
    assert await check_all(scene.connection, scene.client.events) == {"live": 1}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.fault(*FAULTS[name])) for name in NAMES if name not in ("await", "boot")],
)
async def test_death_at_each_failpoint(scene: Scene, name: str) -> None:
    """At each named failpoint, a worker that dies there harms nothing, whichever step it was at."""
    for time in (1, 2, 4, 7):
        # Without an owner the website fails after its attempts: the ways of retry and failure are walked as well.
        failing = name in ("attempt_written", "claimed", "dispatched") or time == 4
        website_id = await scene.sign_up(**({"owner": ...} if failing else {}))
        before = scene.fired()
        defect = "step=raise," if name == "attempt_written" else ""
        pid = await scene.zygote.start(PROVISIONER_FAILPOINTS=f"{defect}{name}=kill9@{time}")

        async def over(pid: int = pid, before: int = before, website_id: int = website_id) -> bool:
            return scene.fired() > before or await scene.at_rest(website_id)

        await until(over, 60, f"death at {name}")
        if scene.fired() == before:
            await scene.zygote.kill(pid)
        else:
            assert await scene.zygote.wait(pid) == KILLED
            await scene.heal(website_id)
    assert scene.fired() >= 1, f"{name} was never reached: this test proved nothing"
    rows = await scene.connection.fetchval("SELECT count(*) FROM provisioning_transitions")
    await scene.client.until_events(rows, 60)
    states = await check_all(scene.connection, scene.client.events)
    assert set(states) <= {"live", "failed"}
    assert states.total() == scene.websites


@pytest.mark.fault(18)
async def test_death_at_boot(scene: Scene) -> None:
    """A worker that dies while it starts leaves nothing that stops the next one."""
    pid = await scene.zygote.start(PROVISIONER_FAILPOINTS="boot=kill9")
    assert await scene.zygote.wait(pid) == KILLED
    assert scene.fired() == 1
    website_id = await scene.sign_up()
    await scene.heal(website_id)
    await scene.client.until_events(STEPS, 60)
    assert await check_all(scene.connection, scene.client.events) == {"live": 1}
