"""The due time: when it is cleared, how far it is put off, and what proves an event published."""

import uuid
from pathlib import Path

import seeders
from consumer.broker.topology import Topology
from consumer.domain.outcomes import Advanced, Attempted
from consumer.domain.records import LogRow
from consumer.messages.inbound import Command, decode
from consumer.messages.inbound_contracts import WebsiteCreated
from consumer.messages.outbound import next_command
from consumer.provisioning.use_case import Policy, ProvisioningUseCase
from consumer.store.database import Store
from consumer.worker.due_dispatcher import UNCONFIRMED_SECONDS, Dispatcher
from consumer.worker.gate import Gate
from consumer.worker.publishing_connection import Publisher
from consumer.worker.reconnect_backoff import Backoff
from seeders.loading.pack_library import PackLibrary
from seeders.seeding import Seeders
from statemachine import Trigger
from tests.contract.faulty_broker import FaultyMemoryBroker
from tests.factories import SEQ

PACKS = Path(seeders.__file__).parent / "packs"
STALL = 120.0
TOPOLOGY = Topology("clock")


def provision(store: Store) -> ProvisioningUseCase:
    """Return the use case."""
    return ProvisioningUseCase(store, Seeders(PackLibrary([PACKS])), Policy(stall_seconds=STALL, retry_base_seconds=50))


async def walk(store: Store, until: str, **said: object) -> LogRow:
    """Provision website 1 up to a state, command by command, as the engine would; return its last row."""
    created = WebsiteCreated.model_validate({"website_id": 1, "owner": {"email": "ana@example.com"}, **said})
    command = Command(uuid.uuid4(), "website.created", Trigger.ASSIGN_OWNER, 1, created=created)
    while True:
        (outcome,) = await provision(store).batch([command])
        assert isinstance(outcome, Advanced), outcome
        if outcome.row.to_state == until:
            return outcome.row
        command = engine_command(outcome.row)


def engine_command(row: LogRow) -> Command:
    """Return the command that the engine publishes after a row."""
    message = next_command(row, TOPOLOGY)
    assert message
    return Command(
        uuid.UUID(message.message_id), message.type, row.next_trigger or Trigger.GO_LIVE, row.website_id, row.seq
    )


async def value(store: Store, expression: str) -> object:
    """Return something of website 1."""
    async with store.connection() as connection:
        return await connection.fetchval(f"SELECT {expression} FROM pwb_websites WHERE id = 1")


async def test_a_late_clear_does_not_stop_an_asked_go_live(store: Store) -> None:
    """A website held at ready was asked to go live and waits for its subdomain: a clear still in flight spares it."""
    row = await walk(store, "ready", auto_go_live=False)
    asked = Command(uuid.uuid4(), "provisioning.go_live", Trigger.GO_LIVE, 1)
    (outcome,) = await provision(store).batch([asked])
    assert isinstance(outcome, Attempted)
    await store.mark_published([(1, row.seq, row.seq - 1)])
    assert await value(store, "provisioning_due_at IS NOT NULL")


async def test_a_late_clear_leaves_a_later_event_owed(store: Store) -> None:
    """A website that rested, and rests again one transition further on: the clear for the first spares the second."""
    row = await walk(store, "ready", subdomain="sunny-meadow-1", auto_go_live=False)
    asked = Command(uuid.uuid4(), "provisioning.go_live", Trigger.GO_LIVE, 1)
    (outcome,) = await provision(store).batch([asked])
    assert isinstance(outcome, Advanced)
    await store.mark_published([(1, row.seq, row.seq - 1)])
    assert await value(store, "provisioning_due_at IS NOT NULL")
    assert await value(store, "provisioning_published_seq < provisioning_seq")
    await store.mark_published([(1, outcome.row.seq, row.seq - 1)])
    assert await value(store, "provisioning_due_at IS NULL"), "only the seq stood in the way"


async def test_a_clear_is_for_websites_at_rest(store: Store) -> None:
    """A website that moves by itself keeps its clock whoever clears; one at rest loses it."""
    row = await walk(store, "links_created", subdomain="sunny-meadow-1")
    await store.mark_published([(1, row.seq, row.seq - 1)])
    assert await value(store, "provisioning_due_at IS NOT NULL")


async def test_an_old_website_is_not_put_off_for_long(store: Store) -> None:
    """A claim puts a website off by its age, an hour at most; one with attempts by the stall alone."""
    await walk(store, "links_created", subdomain="sunny-meadow-1")
    async with store.connection() as connection:
        await connection.execute("UPDATE provisioning_transitions SET occurred_at = now() - interval '30 days'")
        await connection.execute("UPDATE pwb_websites SET provisioning_due_at = now()")
    assert len(await store.claim(10, STALL)) == 1
    waits = "extract(epoch FROM provisioning_due_at - now())::float8"
    assert 3500 < float(str(await value(store, waits))) <= 3600
    async with store.connection() as connection:
        await connection.execute("UPDATE pwb_websites SET provisioning_due_at = now(), provisioning_attempts = 1")
    assert len(await store.claim(10, STALL)) == 1
    assert float(str(await value(store, waits))) <= STALL


async def test_what_the_broker_did_not_take_is_due_soon(store: Store) -> None:
    """A dispatcher whose publishes are not answered makes its websites due again in seconds, not in an hour."""
    await walk(store, "links_created", subdomain="sunny-meadow-1")
    async with store.connection() as connection:
        await connection.execute("UPDATE provisioning_transitions SET occurred_at = now() - interval '30 days'")
        await connection.execute("UPDATE pwb_websites SET provisioning_due_at = now()")
    gate = Gate()
    publisher = Publisher(FaultyMemoryBroker(), gate, Backoff(1, 1))  # never connected
    dispatcher = Dispatcher(store, publisher, TOPOLOGY, gate, stall_seconds=STALL, interval_seconds=1)
    assert await dispatcher.run_once() == 1
    waits = await value(store, "extract(epoch FROM provisioning_due_at - now())::float8")
    assert 0 < float(str(waits)) <= UNCONFIRMED_SECONDS


async def test_a_lost_log_row_stops_no_other_website(store: Store) -> None:
    """A website whose last log row is gone is still sent its command, and so are its neighbours."""
    await walk(store, "links_created", subdomain="sunny-meadow-1")
    async with store.connection() as connection:
        await connection.execute("DELETE FROM provisioning_transitions WHERE seq = 3")
        await connection.execute("UPDATE pwb_websites SET provisioning_due_at = now()")
    broker, gate = FaultyMemoryBroker(), Gate()
    await broker.declare(TOPOLOGY)
    session = await broker.open_publisher()
    publisher = Publisher(broker, gate, Backoff(1, 1))
    publisher._session = session
    dispatcher = Dispatcher(store, publisher, TOPOLOGY, gate, stall_seconds=STALL, interval_seconds=1)
    assert await dispatcher.run_once() == 1
    (sent,) = await broker.peek(TOPOLOGY.commands, 10)
    assert decode(sent).trigger == Trigger.COMPLETE_FIELD_KEYS


async def test_only_the_engines_own_command_proves_an_event(store: Store) -> None:
    """A go_live of ops with the seq it saw moves the website, and leaves the ready event owed."""
    await walk(store, "ready", subdomain="sunny-meadow-1", auto_go_live=False)
    before = await value(store, "provisioning_published_seq")
    asked = Command(uuid.uuid4(), "provisioning.go_live", Trigger.GO_LIVE, 1, expected_seq=SEQ["ready"])
    (outcome,) = await provision(store).batch([asked])
    assert isinstance(outcome, Advanced)
    assert before == SEQ["ready"] - 1, "the engine's mark_ready has proven the events before it"
    assert await value(store, "provisioning_published_seq") == before


async def test_an_event_that_nobody_answered_for_stays_owed(store: Store) -> None:
    """Ops fail a website whose last event was lost: neither that event's clear nor a later command of the engine's
    counts the lost one as published (found by simulation, seed 516)."""
    lost = await walk(store, "links_created", subdomain="sunny-meadow-1")
    asked = Command(uuid.uuid4(), "provisioning.fail_provisioning", Trigger.FAIL_PROVISIONING, 1, actor="ops")
    (failed,) = await provision(store).batch([asked])
    assert isinstance(failed, Advanced)
    await store.mark_published([(1, failed.row.seq, failed.row.seq - 1)])
    assert await value(store, "provisioning_published_seq") == lost.seq - 1
    assert await value(store, "provisioning_due_at IS NOT NULL")

    retry = Command(uuid.uuid4(), "provisioning.retry_provisioning", Trigger.RETRY_PROVISIONING, 1, actor="ops")
    (retried,) = await provision(store).batch([retry])
    assert isinstance(retried, Advanced)
    (moved,) = await provision(store).batch([engine_command(retried.row)])
    assert isinstance(moved, Advanced)
    assert await value(store, "provisioning_published_seq") == lost.seq - 1, "its event is still to be sent"


async def test_a_dispatcher_clears_what_it_has_sent_from_the_first_on(store: Store) -> None:
    """Whoever published every event above the published ones may clear the website."""
    await walk(store, "links_created", subdomain="sunny-meadow-1")
    asked = Command(uuid.uuid4(), "provisioning.fail_provisioning", Trigger.FAIL_PROVISIONING, 1, actor="ops")
    (failed,) = await provision(store).batch([asked])
    assert isinstance(failed, Advanced)
    await store.mark_published([(1, failed.row.seq, 2)])
    assert await value(store, "provisioning_published_seq") == failed.row.seq
    assert await value(store, "provisioning_due_at IS NULL")
