"""The database in memory is no kinder than PostgreSQL: the same calls on both, with the same answers."""

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any, Protocol

import asyncpg
import pytest
import pytest_asyncio

from consumer.domain.outcomes import Advanced, AlreadyDone, Stale
from consumer.domain.records import PRODUCT, Attempt, Claim, Locked, LogRow, Move, Pause, WorkerReport
from consumer.error_classification import (
    CommitUnconfirmedError,
    Conflict,
    LockedElsewhere,
    Permanent,
    Transient,
    classify,
)
from consumer.messages.inbound import Command
from consumer.messages.inbound_contracts import WebsiteCreated
from consumer.messages.outbound import command_id, next_command
from consumer.provisioning.planning import is_proven, is_under_way
from consumer.provisioning.use_case import Policy, ProvisioningUseCase
from consumer.store.database import Store
from consumer.store.provisioning_statements import SQL as STORE_SQL
from consumer.store.provisioning_statements import Transaction
from ops.audit.trail import ActionItem, AuditTrail
from ops.websites.queries import statuses
from ops.websites.start_asleep import asleep_website_ids
from seeders.owners import insert_owner_memberships, insert_users
from seeders.seeding import STATEMENTS as SEEDERS_SQL
from seeders.seeding import Seeders
from seeders.website_to_seed import NamedOwner
from statemachine import State, Trigger
from tests.simulation.database import BEGINNING, Database
from tests.simulation.statements import BY_TEXT
from tests.simulation.store import Server, SimulatedStore
from tests.simulation.world import TOPOLOGY, SimulatedPacks
from tests.worker_processes import until

LOCK_SECONDS = 0.2
PATIENCE_SECONDS = 15.0
STALL = 120.0
COLUMNS = (
    "id", "subdomain", "site_type", "seed_pack_name", "owner_email", "provisioning_skip_properties",
    "provisioning_auto_go_live", "provisioning_state", "provisioning_failed_from", "provisioning_seq",
    "provisioning_published_seq",
    "provisioning_attempts", "provisioning_attempt_error", "provisioning_error",
)  # fmt: skip
TIMES = ("provisioning_started_at", "provisioning_completed_at", "provisioning_failed_at")


class Lab(Protocol):
    """A store, and a look behind it."""

    store: Store

    async def row(self, website_id: int) -> dict[str, Any]: ...

    async def age(self, seconds: float) -> None: ...

    async def change(self, website_id: int, column: str, value: object) -> None: ...

    async def pause(self, worker: str) -> None: ...

    async def waits(self) -> bool: ...

    async def close(self) -> None: ...


class PostgresLab:
    def __init__(self, url: str, lock_seconds: float = LOCK_SECONDS) -> None:
        self.store = Store(url, size=5, lock_timeout_seconds=lock_seconds)

    async def row(self, website_id: int) -> dict[str, Any]:
        async with self.store.connection() as connection:
            record = await connection.fetchrow(
                "SELECT *, extract(epoch FROM provisioning_due_at - now())::float8 AS due "
                "FROM pwb_websites WHERE id = $1",
                website_id,
            )
        return _told(record, record["due"])

    async def age(self, seconds: float) -> None:
        past = timedelta(seconds=seconds)
        async with self.store.connection() as connection:
            await connection.execute(
                "UPDATE pwb_websites SET provisioning_due_at = provisioning_due_at - $1::interval, "
                "created_at = created_at - $1::interval",
                past,
            )
            await connection.execute(
                "UPDATE provisioning_transitions SET occurred_at = occurred_at - $1::interval", past
            )

    async def change(self, website_id: int, column: str, value: object) -> None:
        async with self.store.connection() as connection:
            await connection.execute(f"UPDATE pwb_websites SET {column} = $2 WHERE id = $1", website_id, value)

    async def pause(self, worker: str) -> None:
        async with self.store.connection() as connection:
            sql = "INSERT INTO provisioning_pauses (worker, actor, reason, since) VALUES ($1, $1, 'because', $2)"
            await connection.execute(sql, worker, BEGINNING)

    async def waits(self) -> bool:
        async with self.store.connection() as connection:
            return bool(
                await connection.fetchval(
                    """SELECT count(*) > 0 FROM pg_stat_activity
                        WHERE datname = current_database() AND wait_event_type = 'Lock'"""
                )
            )

    async def close(self) -> None:
        await self.store.close()


class MemoryLab:
    def __init__(self, lock_seconds: float = LOCK_SECONDS) -> None:
        self.database = Database(asyncio.get_running_loop().time)
        server = Server(self.database, random.Random(0))
        server.lock_timeout_seconds = lock_seconds
        self.store = SimulatedStore(server, size=5)

    async def row(self, website_id: int) -> dict[str, Any]:
        row = self.database.tables["websites"][website_id]
        due = row["provisioning_due_at"]
        return _told(row, due and (due - self.database.now()).total_seconds())

    async def age(self, seconds: float) -> None:
        self.database.offset += seconds

    async def change(self, website_id: int, column: str, value: object) -> None:
        self.database.tables["websites"][website_id][column] = value

    async def pause(self, worker: str) -> None:
        wish = {"worker": worker, "actor": worker, "reason": "because", "since": BEGINNING}
        self.database.tables["pauses"][worker] = wish

    async def waits(self) -> bool:
        return bool(self.database.waiting)

    async def close(self) -> None:
        assert not self.database.locks, "a lock outlived its transaction"
        assert self.database.now() > BEGINNING
        await self.store.close()


def _told(record: Any, due: float | None) -> dict[str, Any]:
    return {
        **{name: record[name] for name in COLUMNS},
        **{name: record[name] is not None for name in TIMES},
        "due": due and round(due, -1),
    }


@pytest_asyncio.fixture
async def labs(database_url: str) -> AsyncIterator[Sequence[Lab]]:
    """PostgreSQL, and the database in memory."""
    both: Sequence[Lab] = PostgresLab(database_url), MemoryLab()
    yield both
    for lab in both:
        await lab.close()


@pytest.fixture
def lock_seconds() -> float:
    """For how long a lock is waited for; a test that needs patience has a number of its own."""
    return LOCK_SECONDS


@pytest_asyncio.fixture(params=["postgres", "memory"])
async def lab(request: pytest.FixtureRequest, database_url: str, lock_seconds: float) -> AsyncIterator[Lab]:
    """One of the two."""
    memory = request.param == "memory"
    lab: Lab = MemoryLab(lock_seconds) if memory else PostgresLab(database_url, lock_seconds)
    yield lab
    await lab.close()


def signup(website_id: int = 1, **said: Any) -> WebsiteCreated:
    return WebsiteCreated.model_validate(
        {"website_id": website_id, "subdomain": f"website-{website_id}", "owner": {"email": "a@example.com"}, **said}
    )


async def register(lab: Lab, *signups: WebsiteCreated) -> None:
    async with lab.store.transaction() as unit:
        await unit.register(signups or [signup()])


def move(seq: int = 1, *, message_id: uuid.UUID | None = None, to: State = State.OWNER_ASSIGNED, **more: Any) -> Move:
    fields: dict[str, Any] = {
        "website_id": 1, "seq": seq, "trigger": Trigger.ASSIGN_OWNER, "from_state": State.PENDING, "to_state": to,
        "message_id": message_id or uuid.uuid4(), "actor": None, "reason": None, "detail": {"next": None},
        "error": None, "published_seq": 0, "asked_live": False,
    }  # fmt: skip
    return Move(**(fields | more))


async def lock(
    unit: Transaction, *ids: int, message_id: uuid.UUID | None = None, waiting: bool = True
) -> dict[int, Locked]:
    """Lock websites for a message, new unless the test has one, and return them."""
    locked, _ = await unit.lock(dict.fromkeys(ids, message_id or uuid.uuid4()), waiting=waiting)
    return locked


def test_every_statement_is_there() -> None:
    """What the service can say to the database, the simulation understands."""
    ours = {**STORE_SQL, **SEEDERS_SQL}
    assert not {name for name, text in ours.items() if text not in BY_TEXT}


async def test_a_row_that_is_there_wins(lab: Lab) -> None:
    """A second signup changes nothing, and one whose subdomain is taken makes no row."""
    await register(lab)
    before = await lab.row(1)
    await register(lab, signup(site_type="commercial"), signup(2, subdomain="website-1"), signup(3))
    assert await lab.row(1) == before
    assert before["provisioning_state"] == "pending"
    assert before["due"] == 600
    async with lab.store.transaction() as unit:
        assert await unit.known_websites([1, 2, 3]) == {1, 3}
        assert await unit.register([signup(), signup(4), signup(5, subdomain="website-1")]) == {4}


async def test_owners_with_whom_signups_are_compared(lab: Lab) -> None:
    """Active owners by website, and the addresses of those who are named by id; nobody else."""
    await register(lab, signup(), signup(2))
    async with lab.store.transaction() as unit:
        await insert_users(unit.connection, [NamedOwner(1, "a@example.com")])
        await insert_owner_memberships(unit.connection, [NamedOwner(1, "a@example.com")])
        ((user_id, email),) = (await unit.stored_owners([1, 2], [])).active[1]
        assert email == "a@example.com"
        owners = await unit.stored_owners([2], [user_id, user_id + 100])
        assert (owners.active, owners.addresses) == ({}, {user_id: "a@example.com"})


async def test_nothing_is_seen_before_it_is_committed(lab: Lab) -> None:
    """What a transaction wrote is its own until COMMIT, and nobody's after a rollback."""
    async with lab.store.transaction() as other:
        with pytest.raises(LookupError):
            async with lab.store.transaction() as unit:
                await unit.register([signup()])
                assert await unit.known_websites([1]) == {1}
                assert await other.known_websites([1]) == set()
                raise LookupError
        assert await other.known_websites([1]) == set()
        await register(lab)
        assert await other.known_websites([1]) == {1}


async def test_locks(lab: Lab) -> None:
    """What another has is left out or waited for, for a limited time; and had once the other is done."""
    await register(lab, signup(), signup(2))
    async with lab.store.transaction() as holder:
        assert set(await lock(holder, 1, waiting=False)) == {1}
        async with lab.store.transaction() as other:
            assert set(await lock(other, 1, 2, waiting=False)) == {2}
            assert set(await lock(holder, 1)) == {1}
        with pytest.raises(asyncpg.PostgresError) as caught:
            async with lab.store.transaction() as other:
                await lock(other, 1)
        assert isinstance(classify(caught.value), LockedElsewhere)
        waiting = asyncio.create_task(_lock(lab))
        await asyncio.sleep(LOCK_SECONDS / 4)
        await holder.write([move()], STALL)
    assert (await waiting) == State.OWNER_ASSIGNED, "it sees what was written while it waited"


async def _lock(lab: Lab) -> State:
    async with lab.store.transaction() as unit:
        return (await lock(unit, 1))[1].website.state


@pytest.mark.parametrize("lock_seconds", [PATIENCE_SECONDS])
async def test_the_log_is_seen_as_it_was_before_the_wait(lab: Lab) -> None:
    """A locking statement returns the website of now and the log of before, and two seqs that say so."""
    await register(lab)
    message_id = uuid.uuid4()

    async def statement() -> Any:
        async with lab.store.transaction() as unit:
            (record,) = await unit.connection.fetch(STORE_SQL["lock_waiting"], [1], [message_id])
        return record

    async with lab.store.transaction() as holder:
        await lock(holder, 1)
        waiting = asyncio.create_task(statement())
        await until(lab.waits, PATIENCE_SECONDS, "the statement before a lock")
        await holder.write([move(message_id=message_id)], STALL)
    names = "provisioning_state", "provisioning_seq", "seen_seq", "done_seq", "last_message_id"
    before = await waiting
    assert [before[name] for name in names] == ["owner_assigned", 1, 0, None, None]
    after = await statement()
    assert [after[name] for name in names] == ["owner_assigned", 1, 1, 1, message_id]


SAME = uuid.UUID(int=1)
NEXT = command_id(website_id=1, trigger=Trigger.COMPLETE_AGENCY, seq=1, attempt=0, last_message_id=SAME)


@pytest.mark.parametrize("lock_seconds", [PATIENCE_SECONDS])
@pytest.mark.parametrize(
    ("command", "outcome"),
    [
        (Command(SAME, "provisioning.assign_owner", Trigger.ASSIGN_OWNER, 1), AlreadyDone),
        (Command(SAME, "provisioning.assign_owner", Trigger.ASSIGN_OWNER, 1, expected_seq=0), AlreadyDone),
        (Command(uuid.UUID(int=2), "provisioning.assign_owner", Trigger.ASSIGN_OWNER, 1), Stale),
        (Command(uuid.UUID(int=2), "provisioning.assign_owner", Trigger.ASSIGN_OWNER, 1, expected_seq=0), Stale),
        (Command(NEXT, "provisioning.complete_agency", Trigger.COMPLETE_AGENCY, 1, expected_seq=1), Advanced),
    ],
    ids=["its copy", "its copy with a seq", "the same step", "the same step with a seq", "what follows"],
)
async def test_what_moved_during_the_wait_is_known(lab: Lab, command: Command, outcome: type) -> None:
    """A command waits for its website, which somebody moves meanwhile: it is judged by all that the log says then."""
    await register(lab)
    provision = ProvisioningUseCase(lab.store, Seeders(SimulatedPacks()), Policy())  # type: ignore[arg-type]
    async with lab.store.transaction() as holder:
        await lock(holder, 1)
        waiting = asyncio.create_task(provision.batch([command], alone=True))
        await until(lab.waits, PATIENCE_SECONDS, "the command before the lock")
        (row,) = await holder.write([move(message_id=SAME)], STALL)
    (found,) = await waiting
    assert isinstance(found, outcome)
    if isinstance(found, AlreadyDone):
        assert found.row == row, "its row, which is told again"
    published = (await lab.row(1))["provisioning_published_seq"]
    assert published == isinstance(found, Advanced), (
        "what follows is known by the row's message, and proves its event out"
    )


async def test_an_insert_waits_for_the_same_key(lab: Lab) -> None:
    """Two signups with one subdomain: the second has it only if the first is rolled back."""
    for website_id, first_ends, taken in ((1, False, False), (3, True, True)):
        first = signup(website_id, subdomain=f"same-{website_id}")
        second = signup(website_id + 1, subdomain=f"same-{website_id}")
        waiting: asyncio.Task[None] | None = None
        try:
            async with lab.store.transaction() as unit:
                await unit.register([first])
                waiting = asyncio.create_task(register(lab, second))
                await asyncio.sleep(LOCK_SECONDS / 4)
                assert not waiting.done()
                if not first_ends:
                    raise LookupError
        except LookupError:
            pass
        assert waiting
        await waiting
        async with lab.store.transaction() as unit:
            assert (website_id + 1 in await unit.known_websites([website_id + 1])) is not taken


async def test_one_message_has_one_row(lab: Lab) -> None:
    """A second row for a message, and a seq that is passed, are refused; the inbox knows what was done."""
    await register(lab)
    message_id = uuid.uuid4()
    async with lab.store.transaction() as unit:
        (row,) = await unit.write([move(message_id=message_id)], STALL)
    async with lab.store.transaction() as unit:
        found = (await lock(unit, 1, message_id=message_id))[1]
        assert found.website.seq == 1
        assert (found.done, found.last_message_id) == (row, message_id)
        found = (await lock(unit, 1))[1]
        assert (found.done, found.last_message_id) == (None, message_id)
    with pytest.raises(RuntimeError, match="could be written"):
        async with lab.store.transaction() as unit:
            await unit.write([move(message_id=uuid.uuid4())], STALL)
    again = move(2, message_id=message_id, from_state=State.OWNER_ASSIGNED, to=State.AGENCY_CREATED)
    with pytest.raises(asyncpg.PostgresError) as caught:
        async with lab.store.transaction() as unit:
            await unit.write([again], STALL)
    assert isinstance(classify(caught.value), Conflict)
    assert (await lab.row(1))["provisioning_seq"] == 1


async def test_who_moved_a_website_is_known(lab: Lab) -> None:
    """Nothing is under way for a website that the product moved by itself, or that has no due time; its guards are
    unproven until a transition of ours led to its state."""

    async def facts() -> tuple[State, bool, bool]:
        async with lab.store.transaction() as unit:
            website = (await lock(unit, 1))[1].website
            for again in (False, True):
                message_id = last if again and last else uuid.uuid4()
                found = (await lock(unit, 1, message_id=message_id))[1].website
                assert found == website, "the locking statement and the one after it say the same"
        return website.state, is_under_way(website), is_proven(website)

    last: uuid.UUID | None = None
    await register(lab)
    assert await facts() == (State.PENDING, False, True)
    await lab.change(1, "provisioning_state", "owner_assigned")
    assert await facts() == (State.OWNER_ASSIGNED, False, False)
    last = uuid.uuid4()
    trigger = Trigger.COMPLETE_AGENCY
    step = move(message_id=last, trigger=trigger, from_state=State.OWNER_ASSIGNED, to=State.AGENCY_CREATED, actor="ops")
    async with lab.store.transaction() as unit:
        await unit.write([step], STALL)
    assert await facts() == (State.AGENCY_CREATED, True, True)
    await lab.change(1, "provisioning_due_at", None)
    assert await facts() == (State.AGENCY_CREATED, False, True)
    async with lab.store.transaction() as unit:
        await unit.write_attempts([Attempt(1, 1, "no owner", 2.0, asked_live=False)])
    await lab.change(1, "provisioning_state", "links_created")
    assert await facts() == (State.LINKS_CREATED, True, False)


async def test_a_row_that_the_database_wrote_for_the_product_proves_nothing(lab: Lab) -> None:
    """Where the product moved a website of ours, the log row is the product's: its guards are proven again."""
    await register(lab)
    async with lab.store.transaction() as unit:
        await unit.write([move(actor=PRODUCT)], STALL)
        website = (await lock(unit, 1))[1].website
    assert (is_under_way(website), is_proven(website)) == (True, False)


async def test_the_database_refuses_what_the_machine_does_not_know(lab: Lab) -> None:
    """An edge that is none, and a failure without a reason, roll back."""
    await register(lab)
    for wrong in (move(to=State.LIVE), move(to=State.FAILED)):
        with pytest.raises(asyncpg.PostgresError) as caught:
            async with lab.store.transaction() as unit:
                await unit.write([wrong], STALL)
        assert isinstance(classify(caught.value), Permanent)
    assert (await lab.row(1))["provisioning_state"] == "pending"


async def test_a_failed_statement_spoils_its_transaction(lab: Lab) -> None:
    """After an error nothing works but a rollback, and a COMMIT is answered with one."""
    await register(lab)
    with pytest.raises(CommitUnconfirmedError):
        async with lab.store.transaction() as unit:
            with pytest.raises(asyncpg.PostgresError):
                await unit.write([move(to=State.LIVE)], STALL)
            with pytest.raises(asyncpg.InFailedSQLTransactionError):
                await unit.known_websites([1])
    async with lab.store.transaction() as unit:
        await unit.connection.execute("SAVEPOINT pack")
        with pytest.raises(asyncpg.PostgresError):
            await unit.write([move(to=State.LIVE)], STALL)
        await unit.connection.execute("ROLLBACK TO SAVEPOINT pack")
        await unit.connection.execute("RELEASE SAVEPOINT pack")
        await unit.write([move()], STALL)
    assert (await lab.row(1))["provisioning_seq"] == 1


async def test_a_deadlock_has_one_victim(lab: Lab) -> None:
    """Two that wait for each other: one is told, the other goes on."""
    await register(lab, signup(), signup(2))
    both = asyncio.Barrier(2)

    async def cross(first: int, second: int) -> Exception | None:
        try:
            async with lab.store.transaction() as unit:
                # PostgreSQL looks for deadlocks after a second, and must not time out before.
                if isinstance(lab, PostgresLab):
                    await unit.connection.execute("SET LOCAL lock_timeout = '5s'")
                await lock(unit, first)
                await both.wait()
                await lock(unit, second)
        except asyncpg.PostgresError as error:
            return error
        return None

    answers = await asyncio.gather(cross(1, 2), cross(2, 1))
    (error,) = filter(None, answers)
    assert isinstance(classify(error), Transient)


async def test_a_signup_fills_what_is_empty(lab: Lab) -> None:
    """What the row says stays; a subdomain that is another's is a violation with its name."""
    await register(lab, signup(1), signup(2, subdomain=None, site_type="commercial"))
    async with lab.store.transaction() as unit:
        await unit.fill([signup(2, subdomain="website-2", site_type="residential", seed_pack="short")])
    row = await lab.row(2)
    assert (row["subdomain"], row["site_type"], row["seed_pack_name"]) == ("website-2", "commercial", "short")
    await register(lab, signup(3, subdomain=None))
    with pytest.raises(asyncpg.PostgresError) as caught:
        async with lab.store.transaction() as unit:
            await unit.fill([signup(3, subdomain="website-1")])
    fault = classify(caught.value)
    assert isinstance(fault, Permanent)
    assert fault.constraint == "index_pwb_websites_on_lower_subdomain"


async def test_the_clock(lab: Lab) -> None:
    """Claims: who is due, by how much it is put off, whom somebody else has; and what makes it due soon or never."""
    await register(lab)
    assert await lab.store.claim(10, STALL) == []
    await lab.age(700)
    async with lab.store.transaction() as holder:
        await lock(holder, 1)
        assert await lab.store.claim(10, STALL) == []
    assert await lab.store.claim(10, STALL) == [
        Claim(1, State.PENDING, 0, 0, 0, skip_properties=False, auto_go_live=True)
    ]
    assert (await lab.row(1))["due"] == 700, "as long as it has waited already"
    async with lab.store.transaction() as unit:
        await unit.write_attempts([Attempt(1, 2, "why", 40, asked_live=False)])
    row = await lab.row(1)
    assert (row["due"], row["provisioning_attempts"], row["provisioning_attempt_error"]) == (40, 2, "why")
    async with lab.store.queries() as queries:
        assert await queries.under_way([1]) == set()
    await lab.age(50)
    assert len(await lab.store.claim(10, STALL)) == 1
    assert (await lab.row(1))["due"] == STALL, "no longer than the stall, where an attempt is due"
    async with lab.store.transaction() as unit:
        await unit.write([move()], STALL)
    (claim,) = [Claim(1, State.OWNER_ASSIGNED, 1, 0, 0, skip_properties=False, auto_go_live=True)]
    async with lab.store.queries() as queries:
        assert await queries.under_way([1, 2]) == {1}
        assert [row.seq for row in (await queries.unpublished([claim]))[1]] == [1]
    await lab.store.make_due_soon([claim], 20)
    assert (await lab.row(1))["due"] == 20
    await lab.store.mark_published([(1, 1, 0)])
    assert (await lab.row(1))["due"] == 20, "it does not rest"
    failed = move(2, to=State.FAILED, from_state=State.OWNER_ASSIGNED, trigger=Trigger.FAIL_PROVISIONING, error="why")
    async with lab.store.transaction() as unit:
        await unit.write([failed], STALL)
    await lab.store.mark_published([(1, 1, 0)])
    await lab.store.mark_published([(1, 2, 1)])
    assert (await lab.row(1))["due"] == STALL, "another seq, or an event before it, is still owed"
    await lab.store.mark_published([(1, 2, 0)])
    row = await lab.row(1)
    assert (row["due"], row["provisioning_published_seq"], row["provisioning_failed_from"]) == (
        None,
        2,
        "owner_assigned",
    )
    await lab.store.make_due_soon([claim], 20)
    assert (await lab.row(1))["due"] is None


@pytest.mark.parametrize("pack", [None, "short", "strict", "missing"])
@pytest.mark.parametrize("careful", [False, True])
async def test_a_website_walks_the_same_way(labs: Sequence[Lab], pack: str | None, careful: bool) -> None:
    """The use case, from signup to rest: the same rows, outcomes and facts on both, step by step."""
    told: list[Any] = []
    for lab in labs:
        created = signup(seed_pack=pack)
        command: Command | None = Command(uuid.UUID(int=1), "website.created", Trigger.ASSIGN_OWNER, 1, created=created)
        provision = ProvisioningUseCase(lab.store, Seeders(SimulatedPacks()), Policy())  # type: ignore[arg-type]
        story: list[Any] = []
        while command:
            (outcome,) = await provision.batch([command], alone=careful)
            row: LogRow = outcome.row  # type: ignore[union-attr]
            story.append((type(outcome), row.seq, row.trigger, row.to_state, row.message_id, row.detail))
            async with lab.store.transaction() as unit:
                story.append(await unit.facts({1: "website-1"}))
            story.append(await lab.row(1))
            (again,) = await provision.batch([command], alone=careful)
            story.append(type(again))
            following = next_command(row, TOPOLOGY)
            command = following and Command(
                uuid.UUID(following.message_id), following.type, row.next_trigger or Trigger.GO_LIVE, 1, row.seq
            )
        told.append(story)
    assert told[0] == told[1]
    assert told[0][0][0] is Advanced


async def test_a_worker_hears_what_is_wanted_of_it(lab: Lab) -> None:
    """Of it alone, or of all, which comes first; of others it hears nothing."""
    mine = uuid.UUID(int=7)
    here = WorkerReport(mine, "web", 7, "1", 60, 2, paused=False, since_delivery_seconds=None)
    await lab.pause(str(uuid.UUID(int=8)))
    assert await lab.store.report_worker(here, 600) is None
    await lab.pause(str(mine))
    assert await lab.store.report_worker(here, 600) == Pause(all_workers=False, actor=str(mine), since=BEGINNING)
    await lab.pause("all")
    assert await lab.store.report_worker(here, 600) == Pause(all_workers=True, actor="all", since=BEGINNING)
    await lab.store.forget_worker(mine)
    await lab.store.forget_worker(mine)


async def test_what_is_asleep(lab: Lab) -> None:
    """What tools read of a website is the same: whose it is, whether something is under way, and whether it sleeps."""

    async def seen() -> tuple[list[int], dict[str, Any]]:
        (status,) = await statuses(lab.store, [1, 1])
        names = ("ours", "under_way", "asleep", "next_attempt_at")
        return await asleep_website_ids(lab.store), {name: bool(status[name]) for name in names if status[name]}

    await register(lab)
    assert await seen() == ([], {"ours": True})
    await lab.change(1, "provisioning_request", None)
    await lab.change(1, "provisioning_due_at", None)
    assert await seen() == ([1], {"asleep": True})
    await lab.change(1, "provisioning_state", "owner_assigned")
    assert await seen() == ([1], {"asleep": True})
    async with lab.store.transaction() as unit:
        step = move(trigger=Trigger.COMPLETE_AGENCY, from_state=State.OWNER_ASSIGNED, to=State.AGENCY_CREATED)
        await unit.write([step], STALL)
    assert await seen() == ([], {"ours": True, "under_way": True})
    async with lab.store.transaction() as unit:
        await unit.write_attempts([Attempt(1, 1, "no owner", 2.0, asked_live=False)])
    assert await seen() == ([], {"ours": True, "under_way": True, "next_attempt_at": True})
    await lab.change(1, "provisioning_due_at", None)
    assert await seen() == ([1], {"ours": True, "asleep": True})
    audit = AuditTrail(lab.store, "cli:ana")
    async with audit.action("start") as action:
        recorded = await action.record([ActionItem("m", 1), ActionItem("n", 2)])
        assert recorded == [1, 2]
        await action.settle(dict.fromkeys(recorded, "published"))
