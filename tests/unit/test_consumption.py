"""The supervisors of the two connections: what the watchdog notices, and what a client library may do to them."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from consumer import consumption as consumption_module
from consumer.admission import Admission
from consumer.backoff import Backoff
from consumer.broker import BrokerError, QueueCounts
from consumer.consumption import Consumption
from consumer.gate import Gate
from consumer.intake import Intake
from consumer.publisher import Publisher
from tests.factories import TOPOLOGY, FakeSession, make_delivery

PREFETCH = 4


class Counted(FakeSession):
    """A session whose queues hold what a test says."""

    def __init__(self, ready: dict[str, int], arriving: dict[str, int]) -> None:
        super().__init__()
        self._ready, self._arriving = ready, arriving

    async def consume(self, queue: str, prefetch: int, on_delivery: Callable[[Any], None]) -> None:
        """Deliver so many at once."""
        kind = "website.created" if queue == TOPOLOGY.signups else "provisioning.complete_agency"
        for number in range(self._arriving.get(queue, 0)):
            on_delivery(make_delivery(type=kind, tag=number, session=self))

    async def counts(self, queue: str) -> QueueCounts:
        """Say what the test says."""
        return QueueCounts(self._ready.get(queue, 0), 1)


class Scripted:
    """A broker that opens what it is told to, one after the other, and then for ever nothing."""

    def __init__(self, *openings: Any) -> None:
        self.openings, self.opened = list(openings), 0

    async def declare(self, _topology: Any) -> None:
        """Nothing to make."""

    async def open_consumer(self) -> Any:
        """Open the next."""
        self.opened += 1
        if not self.openings:
            await asyncio.Event().wait()
        opening = self.openings.pop(0)
        if isinstance(opening, Exception):
            raise opening
        return opening

    open_publisher = open_consumer


async def none(_ids: Any) -> set[int]:
    """No website is under way."""
    return set()


def make(broker: Any) -> Consumption:
    """Return the supervisor of a consuming connection."""
    intake = Intake(TOPOLOGY.signups, Admission(64, none))
    return Consumption(broker, TOPOLOGY, intake, Backoff(0, 0), prefetch=PREFETCH, watchdog_seconds=0)


@pytest.mark.parametrize(
    ("ready", "arriving", "noticed"),
    [
        pytest.param({}, {}, None, id="nothing waits"),
        pytest.param({TOPOLOGY.commands: 5}, {}, TOPOLOGY.commands, id="messages wait and none comes"),
        pytest.param({TOPOLOGY.commands: 5}, {TOPOLOGY.commands: PREFETCH}, None, id="our window is full"),
        pytest.param(
            {TOPOLOGY.commands: 5, TOPOLOGY.signups: 9},
            {TOPOLOGY.signups: PREFETCH},
            TOPOLOGY.commands,
            id="signups fill their own window only",
        ),
    ],
)
async def test_a_silent_queue_is_noticed_by_itself(
    monkeypatch: pytest.MonkeyPatch, ready: dict[str, int], arriving: dict[str, int], noticed: str | None
) -> None:
    """Each queue has a window of its own: what fills one says nothing of the other."""
    monkeypatch.setattr(consumption_module, "SILENT_LOOKS", -1)
    session = Counted(ready, arriving)
    consumption = make(Scripted(session))
    for queue in (TOPOLOGY.commands, TOPOLOGY.signups):
        consumption._last_arrival[queue] = 0
        await session.consume(queue, PREFETCH, consumption._arrived)
    if noticed is None:
        await consumption._look(session)
    else:
        with pytest.raises(BrokerError, match=f"{noticed} has 5 messages ready and none has come"):
            await consumption._look(session)


@pytest.mark.parametrize("role", ["consumer", "publisher"])
async def test_nonsense_from_a_peer_costs_one_connection(role: str) -> None:
    """An exception that nobody thought of is no end of the process: the next connection is tried."""
    broker: Any = Scripted(IndexError("a frame without an end"), FakeSession())
    supervisor = make(broker) if role == "consumer" else Publisher(broker, Gate(), Backoff(0, 0))
    running = asyncio.create_task(supervisor.run())
    async with asyncio.timeout(5):
        while broker.opened < 2:
            await asyncio.sleep(0)
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
