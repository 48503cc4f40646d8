"""One delivery passes, from receipt to ack, exactly the modules that docs/architecture.md lists, in that order.

The page counts the RabbitMQ package as one place, and lists what only observes apart; every module passed is in one of
its three tables.
"""

import asyncio
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import asyncpg
import pytest
from pydantic import SecretStr

from consumer.app import App
from consumer.broker.memory.broker import MemoryBroker
from consumer.broker.protocol import Broker, ConsumerSession, Delivery, Message
from consumer.config import Settings
from consumer.factories import make_broker
from ops.publishing import publishing
from tests.factories import LIVE

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
ROW = r"^\| {} \| `((?:consumer|seeders|statemachine)/\S+)` \| \S"
LISTED = re.findall(ROW.format(r"\d+"), PAGE, re.MULTILINE)
"""The places that a reader comes past, in the page's order: modules, and RabbitMQ's package."""
INSIDE = re.findall(ROW.format("[a-z]"), PAGE, re.MULTILINE)
"""The modules inside that package."""
OBSERVING = re.findall(ROW.format("–"), PAGE, re.MULTILINE)
"""The modules that only observe."""
MOST = 16
"""So many places a reader comes past; one more is a reason to think again."""
ADAPTER, MEMORY = "consumer/broker/rabbitmq/", "consumer/broker/memory/"
SESSIONS = "consumer/store/sessions/"
"""Passed by a connection's first transaction alone, which prepares what all later ones use; the page says so."""
STEP = "provisioning.complete_links"
WEBSITE = 7
SECONDS = 60


class Trace:
    """Records which modules of ours have a function called between the receipt of one delivery and its ack.

    Counted are the call stack of the receipt, and the task that acks; the loops that run beside it are not.
    """

    def __init__(self, broker: Broker) -> None:
        """Trace the first delivery of a step command that a broker's consuming session receives."""
        self._open_consumer = broker.open_consumer
        broker.open_consumer = self._opened  # type: ignore[method-assign]
        self._delivery: Delivery | None = None
        self._receiving = False
        self._received: dict[str, None] = {}
        self._by_task: dict[Any, dict[str, None]] = {}
        self.modules: list[str] = []
        self.acked = asyncio.Event()

    async def _opened(self) -> ConsumerSession:
        session = await self._open_consumer()
        consume, ack_all = session.consume, session.ack_all

        async def traced_consume(
            queue: str, prefetch: int, on_delivery: Callable[[Delivery], None], **limits: Any
        ) -> None:
            await consume(queue, prefetch, lambda delivery: self._receive(delivery, on_delivery), **limits)

        async def traced_ack_all(deliveries: Sequence[Delivery]) -> None:
            await ack_all(deliveries)
            if self._delivery in deliveries:
                sys.setprofile(None)
                self.modules = list(self._received | self._by_task[asyncio.current_task()])
                self.acked.set()

        session.consume, session.ack_all = traced_consume, traced_ack_all  # type: ignore[method-assign]
        return session

    def _receive(self, delivery: Delivery, on_delivery: Callable[[Delivery], None]) -> None:
        if self._delivery or delivery.type != STEP:
            on_delivery(delivery)
            return
        self._delivery, self._receiving = delivery, True
        callers = []
        frame: FrameType | None = sys._getframe()
        while frame:
            callers.append(frame)
            frame = frame.f_back
        for caller in reversed(callers):
            self._profile(caller, "call", None)
        sys.setprofile(self._profile)
        on_delivery(delivery)
        self._receiving = False

    def _profile(self, frame: FrameType, event: str, _argument: object) -> None:
        """Record a call; this is what sys.setprofile calls."""
        name = frame.f_code.co_filename.removeprefix(f"{ROOT}/")
        if event == "call" and name.startswith(("consumer/", "seeders/", "statemachine/")):
            called = self._received if self._receiving else self._by_task.setdefault(asyncio.current_task(), {})
            called.setdefault(name)


async def insert_website(database_url: str) -> None:
    """Insert a website that is due its links, with the log row of the step before."""
    connection = await asyncpg.connect(database_url)
    await connection.execute(
        "INSERT INTO pwb_websites (id, subdomain, created_at, updated_at) VALUES ($1, 'traced', now(), now())", WEBSITE
    )
    for state in LIVE[: LIVE.index("links_created")]:
        await connection.execute("UPDATE pwb_websites SET provisioning_state = $2 WHERE id = $1", WEBSITE, state)
    await connection.execute(
        "INSERT INTO provisioning_transitions (website_id, seq, trigger, from_state, to_state, message_id) "
        "VALUES ($1, 1, 'complete_agency', 'owner_assigned', 'agency_created', gen_random_uuid())",
        WEBSITE,
    )
    await connection.execute("UPDATE pwb_websites SET provisioning_seq = 1 WHERE id = $1", WEBSITE)
    await connection.close()


async def publish_step(broker: Broker, queue: str) -> None:
    """Publish the step as the engine does, straight to the queue."""
    body = {"website_id": WEBSITE, "expected_seq": 1, "attempt": 0, "actor": None, "reason": None}
    message_id = "0f8fad5b-d9cb-469f-a165-70867728950e"
    async with publishing(broker) as session:
        await session.publish(Message(message_id, STEP, json.dumps(body).encode(), "", queue, mandatory=True))


async def modules_passed(settings: Settings, broker: Broker) -> list[str]:
    """Return which modules one delivery passes in a worker process, by path, in the order of their first calls."""
    trace = Trace(broker)
    app = App(settings, broker=broker)
    await broker.declare(app.topology)
    await insert_website(settings.database_url.get_secret_value())
    running = asyncio.create_task(app.run())
    try:
        await publish_step(broker, app.topology.commands)
        async with asyncio.timeout(SECONDS):
            await trace.acked.wait()
    finally:
        sys.setprofile(None)
        app.stopping.set()
        await running
    return [name for name in trace.modules if not name.startswith(SESSIONS)]


def places(passed: Sequence[str], package: str) -> list[str]:
    """Return where a reader comes past: a package as one place, and without what only observes."""
    named = [package if name.startswith(package) else name for name in passed if name not in OBSERVING]
    return list(dict.fromkeys(named))


async def test_on_rabbitmq(database_url: str, amqp_url: str, namespace: str) -> None:
    """The table is what RabbitMQ's delivery passes, the broker's adapter included."""
    settings = Settings(
        database_url=SecretStr(database_url), amqp_url=SecretStr(amqp_url), namespace=namespace, concurrency=1
    )
    passed = await modules_passed(settings, make_broker(settings))
    others = "\n".join(["docs/architecture.md lists others than these:", *passed])
    assert places(passed, ADAPTER) == LISTED, others
    assert [name for name in passed if name.startswith(ADAPTER)] == INSIDE, others
    assert [name for name in passed if name in OBSERVING] == OBSERVING, others


async def test_on_the_broker_inside_the_process(database_url: str) -> None:
    """With the other broker the delivery passes the same modules, but for the adapter."""
    settings = Settings(database_url=SecretStr(database_url), namespace="t", concurrency=1)
    passed = await modules_passed(settings, MemoryBroker())
    assert places(passed, MEMORY) == [MEMORY if name == ADAPTER else name for name in LISTED]
    assert [name for name in passed if name in OBSERVING] == OBSERVING


def test_the_page_lists_few_modules() -> None:
    """Every module once, each is there, there are not many, and of packages only RabbitMQ's is one place."""
    listed = [*LISTED, *INSIDE, *OBSERVING]
    assert len(listed) == len(set(listed)) > 10
    assert [name for name in listed if not (ROOT / name).is_file()] == [ADAPTER]
    assert len(LISTED) <= MOST


@pytest.mark.parametrize("room", ["consumer", "seeders", "statemachine"])
def test_no_row_of_the_table_is_overlooked(room: str) -> None:
    """Each numbered row names one place."""
    numbers = [int(number) for number in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)]
    assert numbers == list(range(1, len(LISTED) + 1))
    assert any(name.startswith(f"{room}/") for name in LISTED)
