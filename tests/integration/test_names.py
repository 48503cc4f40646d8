"""Names that collide: subdomains and e-mail addresses compare without case, and the product's pool of names is kept."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

import seeders
from consumer.broker.protocol import Delivery
from consumer.store import schema_lifecycle
from consumer.store.database import Store
from consumer.store.schema_diff import inspect_schema
from ops.dead_letters.redrive_forecast import forecast_redrive
from ops.doctor.incomplete_migrations import schema_remarks
from ops.errors import NotFoundError
from ops.websites.queries import find_website_ids
from tests.factories import make_delivery
from tests.service import SECONDS, Start, starter
from tests.worker_processes import until

PACKS = Path(seeders.__file__).parent / "packs"
MODES = ["guest_url", "database_url"]
INSERT = """INSERT INTO pwb_websites (id, subdomain, owner_email, provisioning_state, created_at, updated_at)
                 VALUES (70, $1, $2, 'pending', now(), now())"""
USER = "INSERT INTO pwb_users (email, created_at, updated_at) VALUES ($1, now(), now()) RETURNING id"
POOL = """INSERT INTO pwb_subdomains (name, aasm_state, reserved_by_email, reserved_at, reserved_until, website_id,
                                      created_at, updated_at)
               VALUES ('sunny', $1, $2, now(), now() AT TIME ZONE 'UTC' + $3 * interval '1 min', $4, now(), now())"""
OTHER = "somebody.else@example.com"
ANA = {"email": "ana@example.com"}


@pytest.fixture(params=MODES)
def url(request: pytest.FixtureRequest) -> str:
    """The URL of a database: the existing product's, and one of the service's own."""
    found: str = request.getfixturevalue(request.param)
    return found


@pytest_asyncio.fixture
async def connection(url: str) -> AsyncIterator[Any]:
    """A connection to it."""
    connection = await asyncpg.connect(url)
    yield connection
    await connection.close()


@pytest.fixture
def start(guest_url: str) -> Start:
    """Start the service at the existing product's database."""
    return starter(guest_url, PACKS)


def dead_letter(body: dict[str, Any]) -> Delivery:
    """Return a dead-lettered website.created."""
    return make_delivery(body, type="website.created", headers={"x-reason": "subdomain_taken"})


# ------------------------------------------------------------------------------------------------------ without case


@pytest.mark.parametrize("exists", [False, True], ids=["no row", "a row without one"])
async def test_a_subdomain_is_taken_in_whatever_case(url: str, connection: Any, *, exists: bool) -> None:
    """A website of the product's that is called Sunny keeps sunny from others, and a redrive foresees it."""
    await connection.execute(INSERT.replace("70", "60"), "Sunny", None)
    if exists:
        await connection.execute(INSERT, None, None)
    body = {"website_id": 70, "subdomain": "sunny", "owner": ANA}
    async with starter(url, PACKS)() as service:
        message_id = await service.publish("website.created", body)
        await service.settled()
        assert service.letters() == [(message_id, "subdomain_taken")]
        assert "choose another one" in service.x_error()
        assert await connection.fetchval("SELECT count(*) FROM pwb_websites WHERE subdomain = 'sunny'") == 0
    store = Store(url, size=2)
    (forecast,) = await forecast_redrive(store, [dead_letter(body)])
    assert (forecast["prospect"], forecast["about"]) == ("subdomain_taken", "its subdomain belongs to website 60")
    assert await find_website_ids(store, ["SUNNY", "sunny"]) == [60, 60]
    for name in ("\udcff\udcfe", "a\0b", ""):  # as Python reads bytes of a shell that are no UTF-8
        with pytest.raises(NotFoundError, match="there is no website with the id or subdomain"):
            await find_website_ids(store, [name])
    await store.close()


async def test_an_owner_is_found_in_whatever_case(url: str, connection: Any) -> None:
    """A user whom the product has as Ana@Example.com is the owner whom a signup calls ana@example.com."""
    user_id = await connection.fetchval(USER, "Ana@Example.com")
    users = await connection.fetchval("SELECT count(*) FROM pwb_users")
    async with starter(url, PACKS)() as service:
        await service.publish("website.created", {"website_id": 70, "subdomain": "sunny", "owner": ANA})
        await service.reaches(70, "live")
        assert service.letters() == []
    owners = await connection.fetch("SELECT user_id FROM pwb_user_memberships WHERE website_id = 70")
    assert [row["user_id"] for row in owners] == [user_id]
    assert await connection.fetchval("SELECT count(*) FROM pwb_users") == users


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (
            """INSERT INTO pwb_users (id, email, created_at, updated_at)
                    VALUES (61, 'A@x.com', {0}), (62, 'a@X.com', {0})""",
            "by id: 61 and 62; keep one of each, or give the others another, then run `provisioner init` again: ",
        ),
        (
            """INSERT INTO pwb_websites (id, subdomain, created_at, updated_at)
                    VALUES (61, 'Sunny', {0}), (62, 'sunny', {0}), (63, NULL, {0}), (64, NULL, {0})""",
            "pwb_websites: rows that are the same in subdomain but for case, by id: 61 and 62; ",
        ),
    ],
)
async def test_rows_that_collide_are_named(product: Any, empty_database_url: str, rows: str, told: str) -> None:
    """What is the same but for case is left to people; with that resolved, the index is made."""
    await product.execute(rows.format("now(), now()"))
    store = Store(empty_database_url, size=3)
    difference = await schema_lifecycle.apply(store)
    (remark,) = await schema_remarks(product, difference)
    assert (remark.undone, told in remark.text) == (True, True), remark
    await product.execute("DELETE FROM pwb_users WHERE id = 62; DELETE FROM pwb_websites WHERE id = 62")
    assert not (await schema_lifecycle.apply(store)).outdated
    await store.close()


@pytest.mark.parametrize(
    ("theirs", "served"),
    [
        ("CREATE UNIQUE INDEX theirs ON pwb_users (lower(email))", True),
        ("CREATE UNIQUE INDEX theirs ON pwb_users (lower(email::text))", True),
        ("CREATE UNIQUE INDEX theirs ON pwb_users (upper(email))", False),
        ("CREATE UNIQUE INDEX theirs ON pwb_users (lower(email || first_names))", False),
        ("CREATE UNIQUE INDEX theirs ON pwb_users (lower(email), id)", False),
        ("CREATE UNIQUE INDEX theirs ON pwb_users (lower(first_names))", False),
        ("CREATE INDEX theirs ON pwb_users (lower(email))", False),
    ],
)
async def test_an_index_without_case_may_be_the_products_own(
    product: Any, empty_database_url: str, theirs: str, *, served: bool
) -> None:
    """One on the same expression will do; ours is built beside one of another expression, column or strength."""
    await product.execute(theirs)
    store = Store(empty_database_url, size=3)
    assert not (await schema_lifecycle.apply(store)).outdated
    await store.close()
    assert (await product.fetchval("SELECT to_regclass('index_pwb_users_on_lower_email') IS NULL")) == served


async def test_the_indexes_of_0_1_0_go_once_none_of_its_workers_runs(empty_database_url: str) -> None:
    """Its workers name them in their statements; in the existing product's database they are that product's."""
    from tests.existing_product import RELEASED

    for guest in (False, True):
        connection = await asyncpg.connect(empty_database_url)
        await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        await connection.execute(RELEASED.read_text())
        if guest:
            await connection.execute("ALTER TABLE pwb_websites ADD COLUMN theme_name varchar")
        store = Store(empty_database_url, size=3)
        there = "SELECT count(to_regclass(name)) FROM unnest($1::text[]) AS name"
        names = ["index_pwb_websites_on_subdomain", "index_pwb_users_on_email"]
        await schema_lifecycle.apply(store)
        assert await connection.fetchval(there, names) == 2
        await schema_lifecycle.finish(store)
        assert await connection.fetchval(there, names) == (2 if guest else 0)
        assert not (await inspect_schema(connection)).outdated
        await store.close()
        await connection.close()


# ---------------------------------------------------------------------------------------------- the product's pool

REFUSED = [
    ("reserved", OTHER, 5, None),
    ("reserved", None, 5, None),
    ("allocated", None, None, 3),
    ("allocated", None, None, None),
]
GRANTED = [
    ("available", None, None, None),
    ("released", None, None, None),
    ("reserved", OTHER, -5, None),
    ("reserved", "Ana@Example.com", 5, None),
]


@pytest.mark.parametrize("exists", [False, True], ids=["no row", "a row without one"])
@pytest.mark.parametrize("pool", REFUSED, ids=str)
async def test_a_name_that_another_has_in_the_pool_is_refused(
    guest: Any, guest_store: Store, start: Start, pool: tuple[Any, ...], *, exists: bool
) -> None:
    """Reserved by another address, or given to another website: it is as taken as if a website had it."""
    await guest.execute(POOL, *pool)
    before = await guest.fetch("SELECT * FROM pwb_subdomains")
    if exists:
        await guest.execute(INSERT, None, "ana@example.com")
    body = {"website_id": 70, "subdomain": "sunny", "owner": ANA}
    async with start() as service:
        message_id = await service.publish("website.created", body)
        await service.settled()
        assert service.letters() == [(message_id, "subdomain_taken")]
        assert "reserved for another owner" in service.x_error()
    assert await guest.fetch("SELECT * FROM pwb_subdomains") == before
    assert await guest.fetchval("SELECT count(*) FROM pwb_websites WHERE subdomain = 'sunny'") == 0
    (forecast,) = await forecast_redrive(guest_store, [dead_letter(body)])
    assert (forecast["prospect"], "reserved for another owner" in forecast["about"]) == ("subdomain_taken", True)


@pytest.mark.parametrize("exists", [False, True], ids=["no row", "a row without one"])
@pytest.mark.parametrize("pool", GRANTED, ids=str)
async def test_a_name_of_the_pool_is_marked_once_it_is_taken(
    guest: Any, guest_store: Store, start: Start, pool: tuple[Any, ...], *, exists: bool
) -> None:
    """Free, no longer reserved, or reserved by the owner: the pool has it as the product's own signup leaves it."""
    await guest.execute(POOL, *pool)
    if exists:
        await guest.execute(INSERT, None, None)
    body = {"website_id": 70, "subdomain": "sunny", "owner": ANA}
    (forecast,) = await forecast_redrive(guest_store, [dead_letter(body)])
    assert forecast["prospect"] == "carried_out"
    async with start() as service:
        await service.publish("website.created", body)
        await service.reaches(70, "live")
        assert service.letters() == []
    row = await guest.fetchrow("SELECT * FROM pwb_subdomains")
    assert (row["aasm_state"], row["website_id"]) == ("allocated", 70)
    assert (row["reserved_by_email"], row["reserved_at"], row["reserved_until"]) == (None, None, None)


@pytest.mark.parametrize("named", ["by id", "by membership"])
async def test_the_owner_may_be_a_user_whom_the_product_has(guest: Any, start: Start, named: str) -> None:
    """Who reserved the name is the user whom the signup names by id, or the owner whom the website has already."""
    await guest.execute(POOL, "reserved", "ana@example.com", 5, None)
    user_id = await guest.fetchval(USER, "Ana@Example.com")
    body: dict[str, Any] = {"website_id": 70, "subdomain": "sunny"}
    if named == "by id":
        body["owner"] = {"user_id": user_id}
    else:
        await guest.execute(INSERT, None, None)
        await guest.execute(
            """INSERT INTO pwb_user_memberships (user_id, website_id, role, created_at, updated_at)
                    VALUES ($1, 70, 'owner', now(), now())""",
            user_id,
        )
    async with start() as service:
        await service.publish("website.created", body)
        await service.reaches(70, "live")
    assert await guest.fetchval("SELECT website_id FROM pwb_subdomains") == 70


async def test_a_product_without_a_pool(guest: Any, guest_store: Store, start: Start) -> None:
    """Nothing asks for the table."""
    await guest.execute("DROP TABLE pwb_subdomains")
    body = {"website_id": 70, "subdomain": "sunny", "owner": ANA}
    (forecast,) = await forecast_redrive(guest_store, [dead_letter(body)])
    assert forecast["prospect"] == "carried_out"
    async with start() as service:
        await service.publish("website.created", body)
        await service.reaches(70, "live")
        assert service.letters() == []


async def test_the_products_own_names_are_its_own(guest: Any) -> None:
    """A website that the product inserts or names itself takes its name from its pool as it sees fit."""
    await guest.execute(POOL, "reserved", OTHER, 5, None)
    before = await guest.fetch("SELECT * FROM pwb_subdomains")
    await guest.execute(INSERT, "sunny", None)
    await guest.execute("UPDATE pwb_websites SET subdomain = NULL, provisioning_request = '{}' WHERE id = 70")
    await guest.execute("UPDATE pwb_websites SET subdomain = 'sunny' WHERE id = 70")
    assert await guest.fetch("SELECT * FROM pwb_subdomains") == before


async def is_live(connection: Any, website_id: int) -> bool:
    """Return whether a website is live."""
    state = await connection.fetchval("SELECT provisioning_state FROM pwb_websites WHERE id = $1", website_id)
    return bool(state == "live")


async def test_a_name_that_the_product_is_reserving_is_waited_for(guest: Any, guest_url: str, start: Start) -> None:
    """While the product holds the name's row, that signup alone waits; what the product commits decides."""
    await guest.execute(POOL, "available", None, None, None)
    product = await asyncpg.connect(guest_url)
    async with start() as service:
        async with product.transaction():
            await product.execute(
                """UPDATE pwb_subdomains SET aasm_state = 'reserved', reserved_by_email = $1,
                                             reserved_until = now() AT TIME ZONE 'UTC' + interval '5 min'""",
                OTHER,
            )
            message_id = await service.publish(
                "website.created", {"website_id": 70, "subdomain": "sunny", "owner": ANA}
            )
            await service.publish("website.created", {"website_id": 71, "subdomain": "cloudy", "owner": ANA})
            await until(lambda: is_live(guest, 71), SECONDS, "the other one live")
            assert service.letters() == []
        await service.settled()
        assert service.letters() == [(message_id, "subdomain_taken")]
    await product.close()
