"""The overview read from a real database and a broker: what it counts, and what it says where a server is away."""

import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from consumer.broker.protocol import Message
from consumer.broker.topology import Topology
from consumer.config import Settings
from consumer.store.database import Store
from ops.dead_letters.queue_lease import leased
from ops.doctor import overview
from ops.doctor.overview import OverviewReader
from ops.doctor.run import SharedReport
from ops.publishing import publish_all, publishing
from ops.workers.pause import pause_or_resume
from tests.contract.faulty_broker import FaultyMemoryBroker

NAMES = Topology("t")
PORT_OF_NOBODY = "postgresql://nobody@127.0.0.1:1/nothing"
MakeReader = Callable[..., OverviewReader]


@pytest_asyncio.fixture
async def broker() -> FaultyMemoryBroker:
    """A broker with the queues."""
    made = FaultyMemoryBroker()
    await made.declare(NAMES)
    return made


@pytest_asyncio.fixture
async def reader_of(store: Store, broker: FaultyMemoryBroker) -> AsyncIterator[MakeReader]:
    """Makes readers, of the test's database or of another."""
    made: list[OverviewReader] = []

    def make(database: Store = store) -> OverviewReader:
        settings = Settings(namespace="t")
        made.append(OverviewReader(database, broker, NAMES, SharedReport(settings, database, broker)))
        return made[-1]

    yield make
    for reader in made:
        await reader.close()


async def add_failed(store: Store, count: int) -> None:
    async with store.connection() as db:
        await db.execute(
            "INSERT INTO pwb_websites (id, created_at, updated_at)"
            " SELECT n, now(), now() FROM generate_series(1, $1) AS n",
            count,
        )
        await db.execute(
            "UPDATE pwb_websites SET provisioning_state = 'failed', provisioning_failed_at = now(), "
            "provisioning_attempts = 8, provisioning_error = 'no agency'"
        )


async def add_messages(broker: FaultyMemoryBroker, queue: str, count: int) -> None:
    async with publishing(broker) as session:
        made = (Message(str(uuid.uuid4()), "x", b"{}", "", queue, mandatory=True) for _ in range(count))
        await publish_all(session, list(made))


def texts(read: dict[str, Any]) -> dict[str, str]:
    return {item["name"]: f"{item['level']} {item['text']}" for item in read["items"]}


async def test_it_counts_what_there_is(store: Store, broker: FaultyMemoryBroker, reader_of: MakeReader) -> None:
    """Failed websites, dead letters, messages that wait, who paused the workers, and the doctor's worst finding."""
    await add_failed(store, 12)
    await add_messages(broker, NAMES.dead_letters, 3)
    await add_messages(broker, NAMES.commands, 2)
    await pause_or_resume(store, "pause", None, actor="cli:ana", reason="maintenance", seconds=0)
    reader = reader_of()
    read = await reader.read(doctor_seconds=30)
    assert (read["failed"], read["dead_letters"], read["queues"]) == (12, 3, {"signups": 0, "commands": 2})
    assert (read["away"], read["oldest"], read["on_defaults"]) == ({}, None, 0)
    assert read["workers"]["pauses"][0]["actor"] == "cli:ana"
    assert all(read["read_at"].values())
    assert texts(read)["workers"] == "warn none, all paused by cli:ana: maintenance"
    assert read["doctor"]["finding"]["next"]
    assert 0 < reader.cost_seconds < 30


async def test_the_doctor_names_failed_websites(store: Store, reader_of: MakeReader) -> None:
    """How many, the newest five, and the command that groups them; none is well."""
    reader = reader_of()

    async def finding() -> dict[str, Any]:
        report = await SharedReport(Settings(namespace="t"), store, reader._broker).report()
        (found,) = [each for each in report["findings"] if (each["area"], each["what"]) == ("websites", "failed")]
        return found  # type: ignore[no-any-return]

    assert (await finding())["level"] == "ok"
    await add_failed(store, 12)
    found = await finding()
    assert (found["level"], found["have"]) == ("warn", "12 websites: 12, 11, 10, 9, 8, …")
    assert found["next"] == "`provisioner failures list` groups them by cause"
    async with store.connection() as db:
        await db.execute("UPDATE pwb_websites SET provisioning_attempts = 0 WHERE id > 2")
    assert (await finding())["have"] == "2 websites: 2, 1; 10 more were never provisioned by this service"
    assert texts(await reader.read())["failed"] == "fail 2, and 10 never provisioned here"


async def test_dead_letters_that_a_tool_reads_are_still_counted(
    broker: FaultyMemoryBroker, reader_of: MakeReader
) -> None:
    """The last count stays with its time; whoever has counted none yet says why it is not known."""
    await add_messages(broker, NAMES.dead_letters, 3)
    before = reader_of()
    first = await before.read()
    async with leased(broker, NAMES.dead_letters):
        again, new = await before.read(), await reader_of().read()
    assert (again["dead_letters"], again["read_at"]["dead_letters"]) == (3, first["read_at"]["dead_letters"])
    assert (new["dead_letters"], new["read_at"]["dead_letters"]) == (None, None)
    assert "another tool is reading them" in new["away"]["dead_letters"]
    assert texts(new)["dead_letters"] == "unknown not known"


async def test_a_broker_that_is_away_hides_no_failed_website(
    store: Store, broker: FaultyMemoryBroker, reader_of: MakeReader
) -> None:
    """Its figures are null with the reason, the database's are there; and all are once it is back."""
    await add_failed(store, 1)
    broker.refuse_connections = True
    reader = reader_of()
    read = await reader.read()
    assert (read["failed"], read["dead_letters"], read["queues"], read["read_at"]["queues"]) == (1, None, None, None)
    assert "cannot connect" in read["away"]["broker"]
    assert texts(read)["broker"].startswith("fail cannot connect")
    broker.refuse_connections = False
    assert (await reader.read())["dead_letters"] == 0


async def test_a_database_that_is_away_hides_no_dead_letter(broker: FaultyMemoryBroker, reader_of: MakeReader) -> None:
    """Its figures are null with the reason, the broker's are there."""
    await add_messages(broker, NAMES.dead_letters, 3)
    nobody = Store(PORT_OF_NOBODY, size=1)
    read = await reader_of(nobody).read()
    assert (read["failed"], read["workers"], read["dead_letters"], read["read_at"]["database"]) == (None, None, 3, None)
    assert read["away"]["database"].startswith("PostgreSQL: ")
    assert texts(read)["failed"] == "unknown not known"
    await nobody.close()


async def test_the_doctor_checks_once_a_minute(reader_of: MakeReader, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often the overview is read; and again when its report is old."""
    reader = reader_of()
    first = (await reader.read(doctor_seconds=30))["doctor"]
    checking = reader._checking
    assert (await reader.read())["doctor"] == first
    assert reader._checking is checking
    monkeypatch.setattr(overview, "DOCTOR_SECONDS", 0.0)
    monkeypatch.setattr(overview, "COST_FACTOR", 0.0)
    await reader.read()
    assert reader._checking is not checking


async def test_an_error_of_the_doctor_is_told(reader_of: MakeReader, monkeypatch: pytest.MonkeyPatch) -> None:
    """The overview comes without its verdict, and says why."""
    reader = reader_of()

    async def broken() -> dict[str, Any]:
        raise RuntimeError("a defect")

    monkeypatch.setattr(reader._doctor, "report", broken)
    read = await reader.read(doctor_seconds=30)
    assert read["doctor"] is None
    assert texts(read)["doctor"].startswith("unknown RuntimeError at test_overview_reader.py")
