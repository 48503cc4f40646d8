"""The table of dead letters: one reader at a time writes it, and lists, totals and groups read it, without bodies."""

import asyncio
import json
import os
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from consumer.broker.protocol import BrokerDownError, Message
from consumer.broker.rabbitmq.adapter import RabbitBroker
from consumer.broker.topology import Topology
from consumer.store.database import Store
from ops.audit.trail import AuditTrail
from ops.dead_letters import queue_lease, table_refresh
from ops.dead_letters.actions import discard, redrive
from ops.dead_letters.dead_letter_table import PAGE_ROWS, Digests
from ops.dead_letters.listing import DeadLetterListing, read_listing
from ops.dead_letters.queue_lease import LeaseHeldError, leased, leased_pages
from ops.dead_letters.queue_reader import DeadLetterFilter, find_dead_letters, selection_digest, summarize
from ops.publishing import publish_all, publishing
from tests.contract.faulty_broker import FaultyMemoryBroker
from tests.factories import make_delivery

Anyone = RabbitBroker | FaultyMemoryBroker
QUEUE = Topology("t").dead_letters
FRESH = """UPDATE provisioning_dead_letter_readings SET ended_at = clock_timestamp() - $1 * interval '1 second'"""
ODD_IDS = ("a\0b", "a\ufffdb", "tab\there", "\u202eback", "'quoted'", "None", "x" * 255, "é" * 127)


def letter(queue: str, number: int = 1, **changes: Any) -> Message:
    """A dead letter."""
    headers = {
        "x-reason": "poison", "x-error": f"website {number}: no", "x-source-queue": "t.signups",
        "x-failed-at": f"2026-01-01T00:00:{number % 60:02}+00:00",
    }  # fmt: skip
    body = json.dumps({"website_id": number, "owner": {"email": "ana@example.com"}}).encode()
    made = Message(str(uuid.uuid4()), "website.created", body, "", queue, True, headers)
    return replace(made, **changes)


async def put(broker: Anyone, *letters: Message) -> None:
    """Put dead letters into their queue."""
    async with publishing(broker) as session:
        await publish_all(session, letters)


@pytest.fixture
async def broker() -> FaultyMemoryBroker:
    """A broker in memory, with the queues of namespace `t`."""
    made = FaultyMemoryBroker()
    await made.declare(Topology("t"))
    return made


async def listed(store: Store, broker: Anyone, namespace: str = "t", **options: Any) -> DeadLetterListing:
    """Return the list of dead letters."""
    selection = DeadLetterFilter(**options.pop("wanted", {}))
    return await read_listing(store, broker, namespace, selection, read_by="test", **{"limit": 10_000, **options})


async def age(store: Store, seconds: float) -> None:
    """Make the last reading so old."""
    async with store.connection() as connection:
        await connection.execute(FRESH, seconds)


async def rows(store: Store) -> list[Any]:
    """Return the table."""
    async with store.connection() as connection:
        found: list[Any] = await connection.fetch("SELECT * FROM provisioning_dead_letters ORDER BY place")
    return found


# ---------------------------------------------------------------------------------------------------------------- rows


async def test_a_row_says_what_the_queue_does(store: Store, broker: FaultyMemoryBroker) -> None:
    """Whatever somebody has written into a dead letter, its row says what its summary did, exactly, and has no body."""
    odd = [letter(QUEUE, message_id=each) for each in ODD_IDS]
    headers = {"x-reason": "re\0ason", "x-error": "\ud800 é \0", "x-failed-at": "9999-12-31T23:59:59-12:00"}
    await put(
        broker, *odd, letter(QUEUE, headers={}), letter(QUEUE, headers=headers, type="t\0pe"),
        letter(QUEUE, headers={"x-reason": b"\xff", "x-failed-at": "0001-01-02T00:00:00+00:00"}),
        letter(QUEUE, body=b"\xff\0", message_id="", type=""), letter(QUEUE, body=b'{"website_id": 9e99}'),
        letter(QUEUE, headers={"x-error": "x" * 5000, "deep": {"a": [{"b": b"c"}]}}),
    )  # fmt: skip
    found = await find_dead_letters(broker, "t")
    summaries = [summarize(delivery) for delivery in found.deliveries]
    by_table = await listed(store, broker)
    assert by_table.letters == summaries
    assert by_table.seen == selection_digest(found.deliveries)
    assert all("ana@example.com" not in str(dict(row)) for row in await rows(store))


@pytest.mark.parametrize("message_id", ODD_IDS)
async def test_an_id_is_found_as_it_is_shown(store: Store, broker: FaultyMemoryBroker, message_id: str) -> None:
    """Who copies an id from a list, a log or a page finds the dead letter by it."""
    await put(broker, letter(QUEUE, message_id=message_id), letter(QUEUE, 2))
    shown = message_id if message_id.isprintable() else ascii(message_id)[1:-1]
    for spelling in {message_id, shown}:
        (found,) = (await listed(store, broker, wanted={"message_ids": frozenset({spelling})})).letters
        assert found["message_id"] == message_id


async def test_equal_letters_are_two(store: Store, broker: FaultyMemoryBroker) -> None:
    """Two dead letters that are equal in everything are counted as two, in each reading."""
    twin = letter(QUEUE)
    for _ in range(3):
        await put(broker, twin)
    for _ in range(2):
        assert (await listed(store, broker)).total == 3
        await age(store, 60)


def test_counting_readings_makes_no_new_letter() -> None:
    """What the broker adds with each delivery is no part of the digest; all else is."""
    plain = make_delivery(b"{}", headers={"x-reason": "poison"})
    again = replace(plain, headers={"x-reason": "poison", "x-delivery-count": 3, "x-acquired-count": 4})
    digests = {Digests().digest(each) for each in (plain, again)}
    assert len(digests) == 1
    for changes in ({"body": b"[]"}, {"message_id": "x"}, {"type": "x"}, {"headers": {}}, {"properties": {"a": 1}}):
        assert Digests().digest(replace(plain, **changes)) not in digests, changes


async def test_pages_of_the_table_come_in_order(store: Store, broker: FaultyMemoryBroker) -> None:
    """More rows than a page has, with and without a time, come as the queue's own list has them."""
    letters = [letter(QUEUE, n, **({} if n % 3 else {"headers": {"x-reason": "r"}})) for n in range(1, PAGE_ROWS + 50)]
    for start in range(0, len(letters), 500):
        await put(broker, *letters[start : start + 500])
    in_queue = (await find_dead_letters(broker, "t")).deliveries
    found = await listed(store, broker, grouped=True)
    assert [each["message_id"] for each in found.letters] == [delivery.message_id for delivery in in_queue]
    assert sum(group["letters"] for group in found.groups) == found.total == found.reading.letters == len(letters)


# ------------------------------------------------------------------------------------------------------------ readings


async def test_a_fresh_reading_is_read_by_sql_alone(store: Store, broker: FaultyMemoryBroker) -> None:
    """Within two seconds the broker is not asked, though it is away; later it is, and only changes are written."""
    first, second = letter(QUEUE, 1), letter(QUEUE, 2)
    await put(broker, first, second)
    before = await listed(store, broker)
    assert (before.total, before.reading.note, before.reading.read_by) == (2, None, "test")
    place = {row["digest"]: row["place"] for row in await rows(store)}
    await put(broker, letter(QUEUE, 3))
    broker.refuse_connections = True
    again = await listed(store, broker)
    assert (again.total, again.reading) == (2, before.reading)
    await age(store, 60)
    with pytest.raises(BrokerDownError):
        await listed(store, broker)
    broker.stop_faults()
    assert (await listed(store, broker)).total == 3
    kept = {row["digest"]: row["place"] for row in await rows(store)}
    assert kept.items() > place.items(), "rows that were there are not written again"


async def test_a_purged_queue(store: Store, broker: FaultyMemoryBroker) -> None:
    """What is gone from the queue is gone from the table with the next reading."""
    await put(broker, letter(QUEUE, 1), letter(QUEUE, 2))
    assert (await listed(store, broker)).total == 2
    broker.purge(QUEUE)
    await age(store, 60)
    assert (await listed(store, broker)).total == 0
    assert await rows(store) == []


async def test_an_action_makes_a_reading_outdated(store: Store, broker: FaultyMemoryBroker) -> None:
    """After a redrive, a discard, or a refusal since others are selected by now, the next list reads the queue."""
    trail = AuditTrail(store, "cli:ana", "a test")
    one, two = letter(QUEUE, 1), letter(QUEUE, 2)
    await put(broker, one, two)
    assert (await listed(store, broker)).total == 2
    await discard(broker, "t", DeadLetterFilter(message_ids=frozenset({one.message_id})), trail)
    assert [each["message_id"] for each in (await listed(store, broker)).letters] == [two.message_id]
    await put(broker, letter(QUEUE, 3))
    with pytest.raises(Exception, match="look again"):
        await redrive(broker, "t", DeadLetterFilter(), trail, digest=(await listed(store, broker)).seen)
    assert (await listed(store, broker)).total == 2
    await redrive(broker, "t", DeadLetterFilter(), trail)
    assert (await listed(store, broker)).total == 0


async def test_while_somebody_acts(store: Store, broker: FaultyMemoryBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists show the last reading and why it is no later one; a search in bodies, which no reading has, is refused."""
    monkeypatch.setattr(queue_lease, "GIVE_UP_SECONDS", 0.2)
    await put(broker, letter(QUEUE, 1))
    async with leased(broker, QUEUE):
        with pytest.raises(LeaseHeldError, match="another tool is reading"):
            await listed(store, broker)
    assert (await listed(store, broker)).total == 1
    await age(store, 3600)
    async with leased(broker, QUEUE):
        found = await listed(store, broker)
        assert found.total == 1
        assert "another tool is reading" in str(found.reading.note)
        with pytest.raises(LeaseHeldError):
            await listed(store, broker, wanted={"text": "ana@"})
    for text, count in (("ANA@", 1), ("WEBSITE 1", 1), ("nobody", 0)):
        assert (await listed(store, broker, wanted={"text": text})).total == count, text


async def test_readers_find_nothing_by_an_address(store: Store, broker: FaultyMemoryBroker) -> None:
    """Who sees addresses masked can search neither bodies nor the addresses in errors and ids."""
    headers = {"x-reason": "error", "x-error": "taken by ana@example.com"}
    await put(broker, letter(QUEUE, headers=headers, message_id="ana@example.com"))
    for wanted in ({"text": "ana@"}, {"text": "website_id"}, {"message_ids": frozenset({"ana@example.com"})}):
        assert (await listed(store, broker, whole=False, wanted=wanted)).total == 0, wanted
        assert (await listed(store, broker, wanted=wanted)).total == 1, wanted
    assert (await listed(store, broker, whole=False, wanted={"text": "taken by"})).total == 1


async def test_who_may_not_write(store: Store, broker: FaultyMemoryBroker, database_url: str) -> None:
    """A role that may only read gets the last reading, whatever its age; without one it is told who makes one."""
    name = f"reader_{uuid.uuid4().hex[:8]}"
    admin = await asyncpg.connect(database_url)
    await admin.execute(f"CREATE ROLE {name}")
    await admin.execute(f"GRANT SELECT ON provisioning_dead_letters, provisioning_dead_letter_readings TO {name}")
    url = f"{database_url}{'&' if '?' in database_url else '?'}options=-c%20role%3D{name}"
    reader = Store(url, size=2)
    try:
        await put(broker, letter(QUEUE, 1))
        with pytest.raises(LeaseHeldError, match="as provisioner_ops"):
            await listed(reader, broker)
        await listed(store, broker)
        await age(store, 3600)
        found = await listed(reader, broker)
        assert (found.total, "may not write" in str(found.reading.note)) == (1, True)
        with pytest.raises(LeaseHeldError, match="search without a text"):
            await listed(reader, broker, wanted={"text": "ana@"})
    finally:
        await reader.close()
        await admin.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")
        await admin.close()


async def test_a_reading_that_fails_changes_nothing(
    store: Store, broker: FaultyMemoryBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written of a reading whose connection was lost half-way is not there."""
    await put(broker, letter(QUEUE, 1))
    before = await listed(store, broker)
    await put(broker, *(letter(QUEUE, n) for n in range(2, 20)))
    await age(store, 60)
    monkeypatch.setattr(queue_lease, "PAGE_LETTERS", 4)
    insert = table_refresh.insert_rows

    async def lose(connection: Any, queue: str, rows: Any) -> None:
        await insert(connection, queue, rows)
        broker.drop_connections()

    monkeypatch.setattr(table_refresh, "insert_rows", lose)
    with pytest.raises(BrokerDownError):
        await listed(store, broker)
    assert len(await rows(store)) == 1
    async with store.connection() as connection:
        began_at = await connection.fetchval("SELECT began_at FROM provisioning_dead_letter_readings")
    assert began_at == before.reading.began_at


async def test_a_database_without_the_table(store: Store, broker: FaultyMemoryBroker) -> None:
    """Before `init` has made the table, a list says so; who acts needs no table."""
    await put(broker, letter(QUEUE, 1))
    async with store.connection() as connection:
        await connection.execute("DROP TABLE provisioning_dead_letters, provisioning_dead_letter_readings")
    with pytest.raises(asyncpg.UndefinedTableError):
        await listed(store, broker)
    assert len(await discard(broker, "t", DeadLetterFilter(), AuditTrail(store, "cli:ana", "a test"))) == 1


# -------------------------------------------------------------------------------------------------- on real servers


async def test_readers_at_one_moment(store: Store, namespace: str, amqp_url: str) -> None:
    """Five lists at once on RabbitMQ are all answered, all alike, and one of them has read the queue."""
    broker, queue = RabbitBroker(amqp_url), Topology(namespace).dead_letters
    await broker.declare(Topology(namespace))
    await put(broker, *(letter(queue, n) for n in range(300)))
    found = await asyncio.gather(*(listed(store, broker, namespace) for _ in range(5)))
    assert {(each.total, each.reading.note, each.reading.began_at) for each in found} == {
        (300, None, found[0].reading.began_at)
    }
    (delivery, *_) = (await find_dead_letters(broker, namespace)).deliveries
    assert int(delivery.headers["x-delivery-count"]) == 1, "one reader before this one"


async def test_commands_at_one_moment(database_url: str, namespace: str, amqp_url: str) -> None:
    """Three processes that list at once all end well, with the same list."""
    broker, queue = RabbitBroker(amqp_url), Topology(namespace).dead_letters
    await broker.declare(Topology(namespace))
    letters = [letter(queue, n) for n in range(200)]
    await put(broker, *letters)
    settings = {"DATABASE_URL": database_url, "AMQP_URL": amqp_url, "NAMESPACE": namespace}
    env = os.environ | {f"PROVISIONER_{name}": value for name, value in settings.items()}

    async def command() -> Any:
        line = ("-m", "ops", "dead-letters", "list", "--json", "--limit", "1000")
        tool = await asyncio.create_subprocess_exec(
            sys.executable, *line, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        out, err = await tool.communicate()
        assert (tool.returncode, err) == (0, b""), err
        return json.loads(out)

    answers = await asyncio.gather(*(command() for _ in range(3)))
    assert [sorted(each["message_id"] for each in answer) for answer in answers] == [
        sorted(each.message_id for each in letters)
    ] * 3


@asynccontextmanager
async def counted_bytes(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[[], int]]:
    """Count the bytes of bodies that are held at once: received, and not yet taken, or taken and not yet let go."""
    most = 0
    receive = queue_lease.PagedLease.on_delivery

    def on_delivery(self: queue_lease.PagedLease, delivery: Any) -> None:
        nonlocal most
        receive(self, delivery)
        most = max(most, self._page_bytes)

    monkeypatch.setattr(queue_lease.PagedLease, "on_delivery", on_delivery)
    yield lambda: most


Tool = Callable[[Store, RabbitBroker, str], Awaitable[Any]]


async def _list(store: Store, broker: RabbitBroker, namespace: str) -> int:
    return (await listed(store, broker, namespace)).total


async def _search(store: Store, broker: RabbitBroker, namespace: str) -> int:
    return (await listed(store, broker, namespace, wanted={"text": "nobody has this"})).total + COUNT


async def _show(_: Store, broker: RabbitBroker, namespace: str) -> int:
    nobody = DeadLetterFilter(message_ids=frozenset({"nobody"}))
    return len((await find_dead_letters(broker, namespace, nobody)).deliveries) + COUNT


COUNT, BODY_BYTES = 200, 200_000
SLACK_BYTES = 1 << 20
"""What one read of the socket may bring beyond a full page, and the letter that fills it."""


@pytest.mark.parametrize("tool", [_list, _search, _show])
async def test_memory_has_a_bound(
    store: Store, namespace: str, amqp_url: str, monkeypatch: pytest.MonkeyPatch, tool: Tool
) -> None:
    """Of 40 MB of bodies at most a page is held while another one is worked through, and all are there afterwards."""
    broker, queue = RabbitBroker(amqp_url), Topology(namespace).dead_letters
    await broker.declare(Topology(namespace))
    letters = [letter(queue, n, body=b"x" * BODY_BYTES) for n in range(COUNT)]
    for start in range(0, COUNT, 50):
        await put(broker, *letters[start : start + 50])
    async with counted_bytes(monkeypatch) as most:
        assert await tool(store, broker, namespace) == COUNT
    assert queue_lease.PAGE_BYTES <= most() <= queue_lease.PAGE_BYTES + SLACK_BYTES, most()
    async with leased_pages(broker, queue) as again:
        ids = [delivery.message_id async for page in again.pages() for delivery in page]
    assert sorted(map(str, ids)) == sorted(each.message_id for each in letters)


async def test_a_tool_that_stops_half_way_gives_all_back(namespace: str, amqp_url: str) -> None:
    """An error after the first page, with more on the way, loses none, and the next tool gets all at once."""
    broker, queue = RabbitBroker(amqp_url), Topology(namespace).dead_letters
    await broker.declare(Topology(namespace))
    letters = [letter(queue, n, body=b"x" * 20_000) for n in range(1500)]
    for start in range(0, len(letters), 500):
        await put(broker, *letters[start : start + 500])

    async def stop_half_way() -> None:
        async with leased_pages(broker, queue) as stopped:
            async for page in stopped.pages():
                raise ZeroDivisionError(len(page))

    with pytest.raises(ZeroDivisionError):
        await stop_half_way()
    assert len((await find_dead_letters(broker, namespace)).deliveries) == len(letters)
