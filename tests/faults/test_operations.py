"""Section I: dead letters that people look at, send back and throw away, while others do the same."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import aio_pika
import pytest

import ops.dead_letters.actions
from consumer.broker.protocol import BrokerError, Message, PublisherSession
from consumer.broker.rabbitmq.adapter import RabbitBroker
from ops.dead_letters.actions import redrive
from ops.dead_letters.queue_lease import LeaseHeldError
from ops.dead_letters.queue_reader import peek_dead_letters
from tests.faults.conftest import Scaled
from tests.faults.scene import SECONDS, Scene
from tests.foreign_client import signup
from tests.invariants import check_all
from tests.service import NAMESPACE, Start
from tests.worker_processes import until


class Dying(RabbitBroker):
    """The broker of a tool that dies right after its third publish, before the dead letter is taken away."""

    died = False

    async def open_publisher(self) -> PublisherSession:
        session = await super().open_publisher()
        honest, left = session.publish_all, 3

        async def publish_all(messages: Sequence[Message]) -> list[BrokerError | None]:
            nonlocal left
            answers = await honest(messages)
            left -= 1
            if left == 0:
                self.died = True
                raise KeyboardInterrupt
            return answers

        session.publish_all = publish_all  # type: ignore[method-assign]
        return session


async def strangers(scene: Scene, count: int) -> None:
    """Make dead letters: signups whose owners are not there yet."""
    bodies = [signup(number, owner={"user_id": number}) for number in range(1, count + 1)]
    await scene.publish([("website.created", body) for body in bodies])
    await letters(scene, count)


async def letters(scene: Scene, count: int) -> None:
    """Wait until there are exactly so many dead letters."""

    async def there() -> bool:
        return await scene.waiting(scene.topology.dead_letters) == count

    await until(there, SECONDS, f"{count} dead letters")


async def users(scene: Scene, count: int) -> None:
    """Insert the owners who were missing."""
    async with scene.connection() as connection:
        await connection.execute(
            """INSERT INTO pwb_users (id, email, created_at, updated_at)
               SELECT n, 'late-' || n || '@example.com', now(), now() FROM generate_series(1, $1) AS n""",
            count,
        )


@pytest.mark.fault(103)
async def test_redriven_at_once_and_half(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """One redrive dies in the middle, two more run at once: every signup takes effect, and takes effect once."""
    monkeypatch.setattr(ops.dead_letters.actions, "BATCH_SIZE", 1)
    namespace = scene.topology.namespace
    await scene.start()
    await strangers(scene, 12)
    await users(scene, 12)
    dying = Dying(scene.amqp_url)
    with pytest.raises(KeyboardInterrupt):
        await _interrupted(redrive(dying, namespace))
    assert dying.died
    await letters(scene, 10)
    moved = await asyncio.gather(
        *(redrive(RabbitBroker(scene.amqp_url), namespace) for _ in range(2)), return_exceptions=True
    )
    assert all(isinstance(answer, list | BrokerError | LeaseHeldError) for answer in moved), moved
    assert sum(len(answer) for answer in moved if isinstance(answer, list)) == 10
    await scene.reckon({"live": 12}, charged=True)


async def _interrupted(work: Any) -> None:
    """Await it here: a KeyboardInterrupt in a task would end the whole run."""
    await work


@pytest.mark.fault(104)
async def test_a_poison_redriven(start: Start) -> None:
    """It comes back once for each time that it was sent, and the redrive ends although it comes back meanwhile."""
    async with start() as service:
        for _ in range(5):
            await service.publish("website.created", {"website_id": "poison"})
        await service.settled()
        for _ in range(3):
            async with asyncio.timeout(60):
                assert len(await redrive(service.broker, NAMESPACE)) == 5
            await service.settled()
            assert [reason for _, reason in service.letters()] == ["poison"] * 5
        assert len({message_id for message_id, _ in service.letters()}) == 5


@pytest.mark.fault(105)
async def test_redriven_after_terminate(start: Start) -> None:
    """A command that was dead-lettered finds its website terminated: dead-lettered again, saying so; nothing moves."""
    async with start() as service:
        await service.created(1)
        await service.reaches(1, "live")
        await service.command("retry_provisioning", 1, actor="ana")
        assert [reason for _, reason in service.letters()] == ["illegal"]
        await service.command("suspend", 1)
        await service.command("terminate", 1)
        before = await service.reaches(1, "terminated")
        assert len(await redrive(service.broker, NAMESPACE)) == 1
        await service.settled()
        assert [reason for _, reason in service.letters()] == ["illegal"]
        assert "terminated" in service.x_error()
        assert await service.website(1) == before
        assert await check_all(service.connection, service.events()) == {"terminated": 1}


@pytest.mark.fault(106)
async def test_many_redriven_under_load(scene: Scene, scaled: Scaled) -> None:
    """All dead letters go back at once, and come back at once, while signups come: these are not held up."""
    count, good = int(scaled(300, 10_000)), int(scaled(20, 200))
    await scene.start(concurrency=4, batch_size=16)
    bodies = [("provisioning.complete_links", {"website_id": 900_000 + n}) for n in range(count)]
    for first in range(0, count, 500):
        await scene.publish(bodies[first : first + 500])
    await letters(scene, count)
    work = asyncio.create_task(redrive(RabbitBroker(scene.amqp_url), scene.topology.namespace))
    await scene.sign_up(good)
    await scene.live(good, SECONDS)
    assert len(await work) == count
    await letters(scene, count)
    await scene.reckon({"live": good}, letters=count, charged=True)


@pytest.mark.fault(107)
async def test_looked_at_again_and_again(scene: Scene) -> None:
    """Looked at 25 times, and taken by a reader who dies 25 times: each dead letter is still there, with its reason."""
    await scene.start()
    await scene.publish([("website.created", {"website_id": n}) for n in range(901, 904)])
    await letters(scene, 3)
    broker = RabbitBroker(scene.amqp_url)
    for _ in range(25):
        found = await peek_dead_letters(broker, scene.topology.namespace, 10)
        assert sorted(letter["website_id"] for letter in found) == [901, 902, 903]
    for _ in range(25):
        async with await aio_pika.connect(scene.amqp_url, timeout=60) as connection:
            channel = await connection.channel()
            queue = await channel.get_queue(scene.topology.dead_letters, ensure=False)
            assert await queue.get(fail=False, timeout=60), "the reader has one in its hands"
    await letters(scene, 3)
    left = await scene.drain(scene.topology.dead_letters)
    assert sorted(json.loads(letter.body)["website_id"] for letter in left) == [901, 902, 903]
    assert {letter.headers["x-reason"] for letter in left} == {"unknown_website"}


@pytest.mark.fault(108)
async def test_purged_during_a_redrive(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The dead letters are purged while they are sent back: what was sent is carried out once, the rest is gone."""
    monkeypatch.setattr(ops.dead_letters.actions, "BATCH_SIZE", 1)
    await scene.start()
    await strangers(scene, 10)
    await users(scene, 10)
    namespace, broker = scene.topology.namespace, Purging(scene.amqp_url)
    broker.purged = scene.topology.dead_letters
    moved = await redrive(broker, namespace)
    assert broker.times == 1, "the purge came in the middle"
    await letters(scene, 0)
    await scene.reckon({"live": len(moved)}, charged=True)


class Purging(RabbitBroker):
    """The broker of a tool during whose work somebody else purges a queue."""

    purged = ""
    times = 0

    async def open_publisher(self) -> PublisherSession:
        session = await super().open_publisher()
        honest = session.publish_all

        async def publish_all(messages: Sequence[Message]) -> list[BrokerError | None]:
            answers = await honest(messages)
            if not self.times:
                self.times = 1
                async with await aio_pika.connect(self.url, timeout=60) as connection:
                    await (await (await connection.channel()).get_queue(self.purged, ensure=False)).purge()
            return answers

        session.publish_all = publish_all  # type: ignore[method-assign]
        return session
