"""The broker in memory beyond the contract: the faults of FaultyMemoryBroker, and that a run repeats exactly."""

import asyncio
import random
from dataclasses import replace

import pytest

from consumer.broker.memory.routing import topic_matches
from consumer.broker.protocol import BrokerDownError, BrokerError, NackedError
from consumer.broker.topology import Topology
from tests.contract.faulty_broker import FaultyMemoryBroker
from tests.contract.sessions import Inbox, drain, message
from tests.contract.topologies import ContractTopology


@pytest.fixture
def broker() -> FaultyMemoryBroker:
    return FaultyMemoryBroker()


@pytest.fixture
async def topology(broker: FaultyMemoryBroker) -> ContractTopology:
    topology = ContractTopology("t")
    await broker.declare(topology)
    return topology


async def fill(broker: FaultyMemoryBroker, queue: str, count: int) -> list[str]:
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


async def test_refused_connections(broker, topology) -> None:
    """While connections are refused none is opened; those that are open stay."""
    publisher = await broker.open_publisher()
    broker.refuse_connections = True
    for attempt in (
        broker.open_consumer(), broker.open_publisher(), broker.declare(topology), broker.delete(topology),
        broker.peek(topology.commands, 1),
    ):  # fmt: skip
        with pytest.raises(BrokerDownError):
            await attempt
    await publisher.publish(message(topology.commands))
    broker.refuse_connections = False
    await (await broker.open_consumer()).close()


async def test_swallowed_confirms(broker, topology) -> None:
    """A swallowed confirm stores the message, raises BrokerDownError and ends the session; once a message."""
    publisher = await broker.open_publisher()
    broker.swallow_confirms(1)
    with pytest.raises(BrokerDownError):
        await publisher.publish(message(topology.commands, message_id="s"))
    assert publisher.closed.is_set()
    assert ids(broker.ready(topology.commands)) == ["s"]
    await fill(broker, topology.commands, 1)
    assert ids(broker.ready(topology.commands)) == ["s", "0"]


async def test_nacked_messages_are_not_stored(broker, topology) -> None:
    """The next two messages are refused, and no more."""
    publisher = await broker.open_publisher()
    broker.nack_next(2)
    for _ in range(2):
        with pytest.raises(NackedError):
            await publisher.publish(message(topology.commands))
    await publisher.publish(message(topology.commands, message_id="third"))
    assert ids(broker.ready(topology.commands)) == ["third"]


async def test_duplicate_shuffle_and_purge(broker, topology) -> None:
    """Copies go to the end, a shuffle follows its random generator, and a purge leaves nothing waiting."""
    expected = await fill(broker, topology.commands, 6)
    assert broker.duplicate(topology.commands, lambda item: item.message_id in ("1", "4")) == 2
    assert ids(broker.ready(topology.commands)) == [*expected, "1", "4"]
    broker.shuffle(topology.commands, random.Random(3))
    once = ids(broker.ready(topology.commands))
    assert sorted(once) == sorted([*expected, "1", "4"]) != once
    assert [got.message_id for got in await broker.peek(topology.commands, 9)] == once
    broker.purge(topology.commands)
    assert broker.ready(topology.commands) == ()


async def test_redelivery_keeps_the_order(broker, topology) -> None:
    """What comes back stands where it stood, before what has not been delivered yet."""
    expected = await fill(broker, topology.commands, 6)
    session, inbox = await broker.open_consumer(), Inbox()
    await session.consume(topology.commands, 4, inbox.put)
    got = await inbox.until(4)
    assert ids(broker.unsettled(topology.commands)) == expected[:4]
    await session.stop_consuming()
    await session.nack_all([got[2]])
    broker.drop_connections()
    assert ids(broker.ready(topology.commands)) == expected
    assert [item.message_id for item in await drain(broker, topology.commands)] == expected


async def test_an_ack_on_its_way_is_lost_with_its_connection(broker, topology) -> None:
    """A drop between ack and its arrival makes the message come again."""
    await fill(broker, topology.commands, 1)
    session, inbox = await broker.open_consumer(), Inbox()
    await session.consume(topology.commands, 1, inbox.put)
    await session.ack((await inbox.until(1))[0])
    broker.drop_connections()
    assert ids(broker.ready(topology.commands)) == ["0"]


async def test_a_dead_letter_nobody_takes_is_kept(broker, topology) -> None:
    """Without a queue for it a dead letter is kept, and goes there once it is declared again."""
    await fill(broker, topology.fragile, 1)
    broker.delete_queue(topology.dead_letters)
    session, inbox = await broker.open_consumer(), Inbox()
    await session.consume(topology.fragile, 1, inbox.put)
    for count in range(1, 5):
        await session.nack_all([(await inbox.until(count))[-1]])
    await session.close()
    assert ids(broker.unrouted_dead_letters) == ["0"]
    await broker.declare(topology)
    assert ids(broker.ready(topology.dead_letters)) == ["0"]
    assert broker.unrouted_dead_letters == ()


async def test_a_full_queue_does_not_hold_up_another(broker, topology) -> None:
    """Where one of two queues is full the other stores its copy, and the publisher gets NackedError."""

    class Two(ContractTopology):
        __slots__ = ()

        @property
        def bindings(self):
            first, *_ = [binding for binding in super().bindings if binding.queue == self.subscriber]
            return (*super().bindings, replace(first, queue=self.fragile))

    await broker.declare(Two("t"))
    broker.limit(topology.subscriber, 0)
    publisher = await broker.open_publisher()
    with pytest.raises(NackedError):
        await publisher.publish(message("website.live", exchange=topology.events_exchange, mandatory=False))
    assert (len(broker.ready(topology.subscriber)), len(broker.ready(topology.fragile))) == (0, 1)


async def test_a_binding_to_what_is_missing(broker) -> None:
    """A topology whose bindings name a queue that it has not is refused."""

    class Broken(Topology):
        __slots__ = ()
        queues = ()

    with pytest.raises(BrokerError, match="missing"):
        await broker.declare(Broken("t"))


def test_a_run_repeats_exactly() -> None:
    """A run is a function of the loop alone: twice the same work gives twice the same order of everything."""

    async def run() -> list[str]:
        broker, topology, order = FaultyMemoryBroker(), ContractTopology("t"), []
        await broker.declare(topology)
        publisher = await broker.open_publisher()
        sessions = [await broker.open_consumer() for _ in range(3)]
        for number, session in enumerate(sessions):
            await session.consume(
                topology.commands, 2 + number, lambda got, number=number: order.append(f"{number}:{got.message_id}")
            )
        await asyncio.gather(*(publisher.publish(message(topology.commands, message_id=str(n))) for n in range(12)))
        broker.shuffle(topology.commands, random.Random(5))
        broker.drop_connections()
        order += ids(broker.ready(topology.commands))
        return order

    first, second = asyncio.run(run()), asyncio.run(run())
    assert first == second
    assert len(first) > 12
