"""What the broker inside the process has beyond the contract: its fault switches, and nothing left to chance."""

import asyncio
import random
from dataclasses import replace

import pytest

from consumer.broker import BrokerDown, BrokerError, Nacked
from consumer.broker_inprocess import InProcessBroker, topic_matches
from consumer.topology import Topology
from tests.contract.workbench import Inbox, Workbench, drain, message


@pytest.fixture
def broker() -> InProcessBroker:
    return InProcessBroker()


@pytest.fixture
async def bench(broker: InProcessBroker) -> Workbench:
    bench = Workbench("t")
    await broker.declare(bench)
    return bench


async def fill(broker: InProcessBroker, queue: str, count: int) -> list[str]:
    publisher = await broker.open_publisher()
    for number in range(count):
        await publisher.publish(message(queue, message_id=str(number)))
    await publisher.close()
    return [str(number) for number in range(count)]


def ids(messages) -> list[str]:
    return [item.message_id for item in messages]


@pytest.mark.parametrize(
    ("pattern", "key", "taken"),
    [
        ("provisioning.*", "provisioning.go_live", True),
        ("provisioning.*", "provisioning", False),
        ("provisioning.*", "provisioning.a.b", False),
        ("website.created", "website.created", True),
        ("#", "", True),
        ("#", "a.b.c", True),
        ("a.#", "a", True),
        ("a.#.z", "a.b.c.z", True),
        ("a.#.z", "a.b.c", False),
        ("*", "", True),
        ("*.b", "a.b", True),
    ],
)
def test_topics(pattern: str, key: str, *, taken: bool) -> None:
    """A star is one word, which may be empty; a hash is any number of words."""
    assert topic_matches(pattern, key) == taken


async def test_refused_connections(broker, bench) -> None:
    """While connections are refused nobody gets one; who has one keeps it."""
    publisher = await broker.open_publisher()
    broker.refuse_connections = True
    for attempt in (
        broker.open_consumer(), broker.open_publisher(), broker.declare(bench), broker.delete(bench),
        broker.peek(bench.commands, 1),
    ):  # fmt: skip
        with pytest.raises(BrokerDown):
            await attempt
    await publisher.publish(message(bench.commands))
    broker.refuse_connections = False
    await (await broker.open_consumer()).close()


async def test_swallowed_confirms(broker, bench) -> None:
    """A swallowed confirm stores the message, tells BrokerDown and ends the session; once per message asked for."""
    publisher = await broker.open_publisher()
    broker.swallow_confirms(1)
    with pytest.raises(BrokerDown):
        await publisher.publish(message(bench.commands, message_id="s"))
    assert publisher.closed.is_set()
    assert ids(broker.ready(bench.commands)) == ["s"]
    await fill(broker, bench.commands, 1)
    assert ids(broker.ready(bench.commands)) == ["s", "0"]


async def test_nacked_messages_are_not_stored(broker, bench) -> None:
    """The next so many are refused, and no more."""
    publisher = await broker.open_publisher()
    broker.nack_next(2)
    for _ in range(2):
        with pytest.raises(Nacked):
            await publisher.publish(message(bench.commands))
    await publisher.publish(message(bench.commands, message_id="third"))
    assert ids(broker.ready(bench.commands)) == ["third"]


async def test_duplicate_shuffle_and_purge(broker, bench) -> None:
    """Copies go to the end, a shuffle follows its dice, and a purge leaves nothing waiting."""
    expected = await fill(broker, bench.commands, 6)
    assert broker.duplicate(bench.commands, lambda item: item.message_id in ("1", "4")) == 2
    assert ids(broker.ready(bench.commands)) == [*expected, "1", "4"]
    broker.shuffle(bench.commands, random.Random(3))
    once = ids(broker.ready(bench.commands))
    assert sorted(once) == sorted([*expected, "1", "4"]) != once
    assert [got.message_id for got in await broker.peek(bench.commands, 9)] == once
    broker.purge(bench.commands)
    assert broker.ready(bench.commands) == ()


async def test_redelivery_keeps_the_order(broker, bench) -> None:
    """What comes back stands where it stood, before what has not been delivered yet."""
    expected = await fill(broker, bench.commands, 6)
    session, inbox = await broker.open_consumer(), Inbox()
    await session.consume(bench.commands, 4, inbox.put)
    got = await inbox.until(4)
    assert ids(broker.unsettled(bench.commands)) == expected[:4]
    await session.stop_consuming()
    await session.hand_back([got[2]])
    broker.drop_connections()
    assert ids(broker.ready(bench.commands)) == expected
    assert [item.message_id for item in await drain(broker, bench.commands)] == expected


async def test_an_ack_on_its_way_is_lost_with_its_connection(broker, bench) -> None:
    """A drop between ack and its arrival makes the message come again."""
    await fill(broker, bench.commands, 1)
    session, inbox = await broker.open_consumer(), Inbox()
    await session.consume(bench.commands, 1, inbox.put)
    await session.ack((await inbox.until(1))[0])
    broker.drop_connections()
    assert ids(broker.ready(bench.commands)) == ["0"]


async def test_a_dead_letter_nobody_takes_is_kept(broker, bench) -> None:
    """Without a queue for it a dead letter is stranded, and goes there once it is declared again."""
    await fill(broker, bench.fragile, 1)
    broker.delete_queue(bench.dead_letters)
    session, inbox = await broker.open_consumer(), Inbox()
    await session.consume(bench.fragile, 1, inbox.put)
    for count in range(1, 5):
        await session.hand_back([(await inbox.until(count))[-1]])
    await session.close()
    assert ids(broker.stranded) == ["0"]
    await broker.declare(bench)
    assert ids(broker.ready(bench.dead_letters)) == ["0"]
    assert broker.stranded == ()


async def test_a_full_queue_does_not_hold_up_another(broker, bench) -> None:
    """Where one of two queues is full the other stores its copy, and the publisher is told no."""

    class Two(Workbench):
        __slots__ = ()

        @property
        def bindings(self):
            first, *_ = [binding for binding in super().bindings if binding.queue == self.subscriber]
            return (*super().bindings, replace(first, queue=self.fragile))

    await broker.declare(Two("t"))
    broker.limit(bench.subscriber, 0)
    publisher = await broker.open_publisher()
    with pytest.raises(Nacked):
        await publisher.publish(message("website.live", exchange=bench.events_exchange, mandatory=False))
    assert (len(broker.ready(bench.subscriber)), len(broker.ready(bench.fragile))) == (0, 1)


async def test_a_binding_to_what_is_missing(broker) -> None:
    """A topology whose bindings name a queue that it has not is refused."""

    class Broken(Topology):
        __slots__ = ()
        queues = ()

    with pytest.raises(BrokerError, match="missing"):
        await broker.declare(Broken("t"))


def test_the_same_dice_the_same_run() -> None:
    """A run is a function of the loop alone: twice the same work gives twice the same order of everything."""

    async def run() -> list[str]:
        broker, bench, told = InProcessBroker(), Workbench("t"), []
        await broker.declare(bench)
        publisher = await broker.open_publisher()
        sessions = [await broker.open_consumer() for _ in range(3)]
        for number, session in enumerate(sessions):
            await session.consume(
                bench.commands, 2 + number, lambda got, number=number: told.append(f"{number}:{got.message_id}")
            )
        await asyncio.gather(*(publisher.publish(message(bench.commands, message_id=str(n))) for n in range(12)))
        broker.shuffle(bench.commands, random.Random(5))
        broker.drop_connections()
        told += ids(broker.ready(bench.commands))
        return told

    first, second = asyncio.run(run()), asyncio.run(run())
    assert first == second
    assert len(first) > 12
