"""What is seeded can be seen: features, pictures, counters and the view that the existing product's search reads."""

import asyncio
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from consumer.domain.outcomes import Advanced, AlreadyDone
from consumer.messages.inbound import Command
from consumer.provisioning.use_case import Policy, ProvisioningUseCase
from consumer.store.database import Store
from consumer.store.properties_view_refresh import refresh_properties
from consumer.store.sessions.prepared_session import find_optional
from consumer.worker import properties_view_refresher
from consumer.worker.gate import Gate
from consumer.worker.properties_view_refresher import RETRY_SECONDS, ViewRefresher
from ops.websites.queries import statuses
from seeders.insert_statements import OPTIONAL
from seeders.loading.pack_library import PackLibrary
from seeders.seeding import Seeders
from seeders.step_bindings import BINDINGS
from seeders.website_to_seed import Tenant
from statemachine import Trigger
from tests.existing_product import IDS, ROLE
from tests.integration.test_plans import SESSION
from tests.unit.test_pack_existing_product import PACKS, write_packs

COUNTED = (
    "pwb_links",
    "pwb_field_keys",
    "assets",
    "pwb_sale_listings",
    "pwb_rental_listings",
    "pwb_features",
    "pwb_prop_photos",
)
BY_ITS_LOADER = {
    "base": (11, 36, 0, 0, 0, 0, 0),
    "spain_luxury": (11, 36, 7, 5, 2, 58, 7),
    "netherlands_urban": (11, 86, 8, 7, 1, 101, 8),
}
"""Rows that the existing product's own loader makes of its packs, table by table: the facts have them."""
OF_WEBSITE = {
    "pwb_links": "website_id = $1",
    "pwb_field_keys": "pwb_website_id = $1",
    "assets": "website_id = $1",
}
OF_ASSETS = "realty_asset_id IN (SELECT id FROM pwb_realty_assets WHERE website_id = $1)"
SAMPLE = {
    "pack.yml": "",
    "properties/1.yml": "reference: A\nsale: {price_cents: 1}\nfeatures: [pool, sauna]\nimage: a.jpg\n",
    "properties/2.yml": "reference: B\nrental: {price_cents: 1}\n",
}


@pytest.fixture
def seeding(tmp_path: Path) -> Seeders:
    """Seeders that find the existing product's packs, and one with a picture."""
    write_packs(tmp_path, PACKS | {"sample": SAMPLE})
    return Seeders(PackLibrary([tmp_path], images_url="https://img.example"))


async def seed(
    store: Store, seeding: Seeders, pack: str, ids: Sequence[int] = (1,), *, careful: bool = False
) -> list[str]:
    """Seed websites as a worker does, in a transaction; return which optional statements could be run."""
    tenants = [Tenant(website_id, "site", None, None, pack) for website_id in ids]
    async with store.transaction() as unit:
        for trigger, binding in BINDINGS.items():
            if binding.seeder and trigger != Trigger.ASSIGN_OWNER:
                found = await seeding.seed(trigger, unit.connection, tenants, careful=careful, optional=unit.optional)
                assert found == {} or (trigger, pack) == (Trigger.COMPLETE_AGENCY, "base") or pack == "sample"
        return sorted(unit.optional)


async def clean(guest: Any) -> None:
    """Take away what the fixture gave the websites, so that a pack's rows are all that they have."""
    await guest.execute("DELETE FROM pwb_links; DELETE FROM pwb_field_keys; DELETE FROM pwb_agencies")


async def count(guest: Any, table: str, website_id: int = 1) -> int:
    name, where = ("pwb_realty_assets" if table == "assets" else table), OF_WEBSITE.get(table, OF_ASSETS)
    found: int = await guest.fetchval(f"SELECT count(*) FROM {name} WHERE {where}", website_id)
    return found


@pytest.mark.parametrize("careful", [False, True])
@pytest.mark.parametrize("pack", BY_ITS_LOADER)
async def test_its_packs_give_what_its_own_loader_gives(
    guest: Any, guest_store: Store, seeding: Seeders, pack: str, careful: bool
) -> None:
    """Table by table, for several websites at once, and no more when they are seeded again; counters are right."""
    await clean(guest)
    for _ in range(2):
        assert await seed(guest_store, seeding, pack, (1, 2), careful=careful) == sorted(OPTIONAL)
        for website_id in (1, 2):
            found = tuple([await count(guest, table, website_id) for table in COUNTED])
            assert found == BY_ITS_LOADER[pack]
            counter = "SELECT realty_assets_count FROM pwb_websites WHERE id = $1"
            assert await guest.fetchval(counter, website_id) == BY_ITS_LOADER[pack][2]
    photos = await guest.fetch("SELECT DISTINCT prop_photos_count FROM pwb_realty_assets")
    assert [record[0] for record in photos] == [1] * bool(BY_ITS_LOADER[pack][2])


async def test_the_values_are_those_of_its_loader(guest: Any, guest_store: Store, seeding: Seeders) -> None:
    """Of features in the pack's order, of pictures, and of a rental that does not say its term."""
    await seed(guest_store, seeding, "spain_luxury")
    features = await guest.fetch(
        """SELECT feature_key FROM pwb_features JOIN pwb_realty_assets AS a ON a.id = realty_asset_id
            WHERE reference = 'ES-002' ORDER BY pwb_features.id"""
    )
    assert [record[0] for record in features] == [f"features.f_{number}" for number in range(8)]
    photos = await guest.fetch("SELECT DISTINCT sort_order, external_url FROM pwb_prop_photos")
    assert [tuple(record) for record in photos] == [(1, "https://img.example/packs/spain_luxury/front.jpg")]
    lets = await guest.fetch("SELECT for_rent_long_term, for_rent_short_term, furnished FROM pwb_rental_listings")
    assert [tuple(record) for record in lets] == [(True, False, False)] * 2


async def test_what_a_file_leaves_out_is_unknown(guest: Any, guest_store: Store, seeding: Seeders) -> None:
    """As by the product's loader: its pages show a plot of 0 m², and leave out one that is NULL."""
    await seed(guest_store, seeding, "sample")
    columns = "count_bedrooms, count_bathrooms, count_garages, constructed_area, plot_area, year_construction"
    assets = await guest.fetch(f"SELECT {columns} FROM pwb_realty_assets WHERE website_id = 1")
    assert [tuple(record) for record in assets] == [(None,) * 6] * 2


async def test_what_people_have_changed_stays(guest: Any, guest_store: Store, seeding: Seeders) -> None:
    """Another picture takes no second one, and a feature of theirs stays; what is missing of the pack's comes back."""
    await seed(guest_store, seeding, "sample")
    await guest.execute(
        """UPDATE pwb_prop_photos SET external_url = 'mine';
           UPDATE pwb_features SET feature_key = 'own' WHERE feature_key = 'pool'"""
    )
    await seed(guest_store, seeding, "sample")
    assert [record[0] for record in await guest.fetch("SELECT external_url FROM pwb_prop_photos")] == ["mine"]
    features = await guest.fetch("SELECT feature_key FROM pwb_features ORDER BY id")
    assert [record[0] for record in features] == ["own", "sauna", "pool"]


class Recording:
    """A connection that remembers which optional statements were run on it."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.run: list[str] = []

    async def fetch(self, query: str, *arguments: Any) -> Any:
        self.run += [name for name, text in OPTIONAL.items() if text == query]
        return await self.connection.fetch(query, *arguments)


@pytest.mark.parametrize(
    ("features", "image", "run"),
    [
        (True, True, ["insert_features", "insert_photos", "count_photos", "count_properties"]),
        (True, False, ["insert_features", "count_properties"]),
        (False, False, ["count_properties"]),
        (None, None, []),
    ],
)
async def test_one_statement_a_table_and_none_for_nothing(
    guest: Any, tmp_path: Path, features: bool | None, image: bool | None, run: list[str]
) -> None:
    """For any number of websites; a pack without properties costs none."""
    text = "reference: A\nsale: {price_cents: 1}\n" + "features: [pool]\n" * bool(features) + "image: a\n" * bool(image)
    write_packs(tmp_path, {"mine": {"pack.yml": ""} | ({"properties/1.yml": text} if features is not None else {})})
    seeding, recording = Seeders(PackLibrary([tmp_path], images_url="https://img.example")), Recording(guest)
    tenants = [Tenant(website_id, None, None, None, "mine") for website_id in (3, 1, 2)]
    async with guest.transaction():
        await seeding.seed(Trigger.SEED_PROPERTIES, recording, tenants, careful=False, optional=OPTIONAL)
    assert recording.run == run


async def test_they_find_their_rows_by_index(guest_url: str) -> None:
    """As a worker's session plans them, on tables with rows: no table is read whole."""
    connection = await asyncpg.connect(guest_url, server_settings=SESSION)
    await connection.execute(
        """INSERT INTO pwb_realty_assets (website_id, reference, slug, created_at, updated_at)
           SELECT 1 + n % 13, 'r' || n, 's' || n, now(), now() FROM generate_series(1, 3000) AS n;
           INSERT INTO pwb_features (realty_asset_id, feature_key, created_at, updated_at)
           SELECT id, 'pool', now(), now() FROM pwb_realty_assets;
           INSERT INTO pwb_prop_photos (realty_asset_id, sort_order, external_url, created_at, updated_at)
           SELECT id, 1, 'x', now(), now() FROM pwb_realty_assets; ANALYZE"""
    )
    for name, text in OPTIONAL.items():
        await connection.execute(f"PREPARE p AS {text}")
        arguments = "'{1}'" if name.startswith("count") else "'{1}', '{1}', '{1}', '{r13}', '{\"[]\"}'"
        plan = "\n".join(record[0] for record in await connection.fetch(f"EXPLAIN EXECUTE p ({arguments})"))
        assert "Seq Scan" not in plan, f"{name}: {plan}"
        await connection.execute("DEALLOCATE p")
    await connection.close()


# --------------------------------------------------------------------------------------- what the database has


async def test_a_database_of_its_own_has_none_of_them(database_url: str, seeding: Seeders) -> None:
    """It is seeded without an error and without a statement more."""
    store = Store(database_url, size=1)
    async with store.connection() as connection:
        await connection.execute("INSERT INTO pwb_websites (created_at, updated_at) VALUES (now(), now())")
    assert await seed(store, seeding, "spain_luxury") == []
    await store.close()


@pytest.mark.parametrize(
    ("change", "gone"),
    [
        ("DROP TABLE pwb_features", {"insert_features"}),
        ("ALTER TABLE pwb_prop_photos DROP COLUMN external_url", {"insert_photos", "count_photos"}),
        ("ALTER TABLE pwb_features ADD COLUMN prop_id integer NOT NULL", {"insert_features"}),
        ("ALTER TABLE pwb_features ADD COLUMN prop_id integer NOT NULL DEFAULT 0", set()),
        ("ALTER TABLE pwb_websites DROP COLUMN realty_assets_count", {"count_properties"}),
        ("REVOKE INSERT ON pwb_features FROM {role}", {"insert_features"}),
        ("REVOKE USAGE ON SEQUENCE pwb_prop_photos_id_seq FROM {role}", {"insert_photos", "count_photos"}),
        ("ALTER TABLE pwb_features RENAME TO old; CREATE VIEW pwb_features AS SELECT * FROM old", {"insert_features"}),
    ],
)
async def test_what_is_not_there_or_not_allowed_is_left_out(guest: Any, change: str, gone: set[str]) -> None:
    """A table, a column, a right; one that demands what we do not have."""
    await guest.execute(f"GRANT UPDATE ON pwb_websites TO {ROLE}")
    await guest.execute(change.format(role=ROLE))
    async with guest.transaction():
        await guest.execute(f"SET LOCAL ROLE {ROLE}")
        assert await find_optional(guest) == OPTIONAL.keys() - gone


async def test_a_table_that_goes_or_comes_while_a_worker_runs(guest: Any, guest_store: Store, seeding: Seeders) -> None:
    """One transaction is rolled back, and the next goes without the table; one that comes is noticed by the probe."""
    await seed(guest_store, seeding, "sample", [1])
    await guest.execute("ALTER TABLE pwb_features RENAME TO hidden")
    with pytest.raises(asyncpg.UndefinedTableError):
        await seed(guest_store, seeding, "sample", [2])
    assert "insert_features" not in await seed(guest_store, seeding, "sample", [2])
    assert await guest.fetchval("SELECT realty_assets_count FROM pwb_websites WHERE id = 2") == 2
    await guest.execute("ALTER TABLE hidden RENAME TO pwb_features")
    await guest_store.probe()
    await seed(guest_store, seeding, "sample", [2])
    assert await count(guest, "pwb_features", 2) == 2


async def test_the_catalogue_is_not_asked_for_each_transaction(
    guest: Any, guest_store: Store, seeding: Seeders
) -> None:
    """A table that is new is found a minute later."""
    async with guest_store.transaction() as unit:
        assert "insert_features" in unit.optional
    await guest.execute("ALTER TABLE pwb_features RENAME TO hidden")
    async with guest_store.transaction() as unit:
        assert "insert_features" in unit.optional
        session = unit.connection
        session.ask_again()
    async with guest_store.transaction() as unit:
        assert "insert_features" not in unit.optional


# ------------------------------------------------------------------------------------------------- the view


async def seen(guest: Any) -> list[str]:
    """What the product's search finds."""
    query = """SELECT reference FROM pwb_properties
                WHERE for_sale OR for_rent AND (for_rent_short_term OR for_rent_long_term)"""
    return sorted(record[0] for record in await guest.fetch(query))


def refresher(store: Store, slept: list[float]) -> ViewRefresher:
    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await store_aged(store, seconds)

    return ViewRefresher(store, Gate(), sleep=sleep)


async def store_aged(store: Store, seconds: float) -> None:
    """Let the database believe that its last refresh is longer ago."""
    async with store.connection() as connection:
        await connection.execute(
            "UPDATE provisioning_refreshes SET ended_at = ended_at - $1 * interval '1 second'", seconds
        )


async def test_the_products_search_finds_what_was_seeded(guest: Any, guest_store: Store, seeding: Seeders) -> None:
    """Each property, also the rental that does not say its term; half a minute passes between two refreshes."""
    slept: list[float] = []
    view = refresher(guest_store, slept)
    await seed(guest_store, seeding, "sample", [1])
    assert await seen(guest) == []
    await view.run_once()
    assert (await seen(guest), slept) == (["A", "B"], [])
    await seed(guest_store, seeding, "sample", [2])
    await view.run_once()
    assert await seen(guest) == ["A", "A", "B", "B"]
    assert len(slept) == 1
    assert 29 < slept[0] <= 30


async def test_one_refresh_serves_all_who_asked_before_it(guest: Any, guest_store: Store) -> None:
    """Whoever asks for what is in the view already does not refresh it again; a later one waits."""
    early = await guest.fetchval("SELECT clock_timestamp()")
    first = await refresh_properties(guest_store, None, 10)
    assert first is not None
    assert first.seconds is None
    again = await refresh_properties(guest_store, early, 10)
    assert again is not None
    assert (again.asked_at, again.seconds) == (early, None)
    later = await refresh_properties(guest_store, None, 10)
    assert later is not None
    assert 29 < (later.seconds or 0) <= 30


async def test_two_do_not_refresh_at_once(guest: Any, guest_url: str, guest_store: Store) -> None:
    """The second is told to ask again in a second, and does not wait."""
    other = await asyncpg.connect(guest_url)
    async with other.transaction():
        await other.execute("SELECT pg_advisory_xact_lock(hashtext('provisioner refresh'))")
        answer = await refresh_properties(guest_store, None, 10)
        assert answer is not None
        assert answer.seconds == 1
    await other.close()


async def test_readers_go_on_meanwhile(guest: Any, guest_url: str, guest_store: Store, seeding: Seeders) -> None:
    """Where the view has a unique index, as the product's has: a transaction that reads it is not in the way."""
    await seed(guest_store, seeding, "sample", [1])
    reader = await asyncpg.connect(guest_url)
    async with reader.transaction():
        await reader.fetch("SELECT * FROM pwb_properties")
        await refresher(guest_store, []).run_once()
    await reader.close()
    assert await seen(guest) == ["A", "B"]


@pytest.mark.parametrize(
    "change",
    [
        "DROP INDEX index_pwb_properties_on_id",
        "DROP INDEX index_pwb_properties_on_id; CREATE UNIQUE INDEX i ON pwb_properties (id) WHERE for_sale",
        "DROP INDEX index_pwb_properties_on_id; CREATE UNIQUE INDEX i ON pwb_properties ((id || reference))",
        "REFRESH MATERIALIZED VIEW pwb_properties WITH NO DATA",
    ],
)
async def test_a_view_that_cannot_be_refreshed_so_is_refreshed(
    guest: Any, guest_store: Store, seeding: Seeders, change: str
) -> None:
    """Without a unique index on columns alone, and before it was first filled."""
    await seed(guest_store, seeding, "sample", [1])
    await guest.execute(change)
    slept: list[float] = []
    await refresher(guest_store, slept).run_once()
    assert (await seen(guest), slept) == (["A", "B"], [])


async def test_a_reader_in_the_way_delays_others_for_two_seconds(
    guest: Any, guest_url: str, guest_store: Store
) -> None:
    """Where readers cannot go on, the refresh gives up its place soon, and tries again later."""
    await guest.execute("DROP INDEX index_pwb_properties_on_id")
    reader = await asyncpg.connect(guest_url)
    await reader.execute("BEGIN; SELECT * FROM pwb_properties")
    began = asyncio.get_running_loop().time()
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await reader.execute("COMMIT")

    await ViewRefresher(guest_store, Gate(), sleep=sleep).run_once()
    assert slept == [RETRY_SECONDS]
    assert asyncio.get_running_loop().time() - began < 30
    await reader.close()


async def test_the_role_of_a_worker_needs_no_right_on_the_view(
    guest: Any, guest_store: Store, seeding: Seeders
) -> None:
    """The function has the rights of whoever ran `init`, and a search path of its own."""
    await seed(guest_store, seeding, "sample", [1])
    await guest.execute(f"REVOKE ALL ON pwb_properties, provisioning_refreshes FROM {ROLE}")
    async with guest.transaction():
        await guest.execute(f"SET LOCAL ROLE {ROLE}; SET LOCAL search_path = pg_temp")
        assert await guest.fetchval("SELECT public.provisioning_refresh_properties(now())") is None
    assert await seen(guest) == ["A", "B"]


async def test_without_the_view_nothing_is_done(
    database_url: str, guest: Any, guest_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a database of its own, and in the product's where the view is gone; it is not asked again for a minute."""
    own = Store(database_url, size=1)
    assert await refresh_properties(own, None, 10) is None
    await own.close()
    await guest.execute("DROP MATERIALIZED VIEW pwb_properties")
    view, asked = refresher(guest_store, []), []
    monkeypatch.setattr(properties_view_refresher, "refresh_properties", lambda *arguments: _noted(asked, arguments))
    await view.run_once()
    await view.run_once()
    assert len(asked) == 1


async def _noted(asked: list[Any], arguments: Any) -> None:
    asked.append(arguments)


# ------------------------------------------------------------------------------------------------ the worker


@pytest.mark.parametrize(("pack", "message"), [("sample", "added"), ("empty", "skipped")])
async def test_a_step_says_what_it_brought_and_has_the_view_refreshed(
    guest: Any, guest_store: Store, tmp_path: Path, pack: str, message: str
) -> None:
    """After its COMMIT, and again where the answer to that was lost; a website without properties asks for nothing."""
    write_packs(tmp_path, {"sample": SAMPLE, "empty": {"pack.yml": ""}})
    website_id, asked = IDS["field_keys_created"], []

    def ask() -> None:
        asked.append(website_id)

    await guest.execute(
        "UPDATE pwb_websites SET provisioning_seq = 4, seed_pack_name = $1 WHERE id = $2", pack, website_id
    )
    provision = ProvisioningUseCase(guest_store, Seeders(PackLibrary([tmp_path])), Policy(), on_properties=ask)
    command = Command(uuid.uuid4(), "provisioning.seed_properties", Trigger.SEED_PROPERTIES, website_id, expected_seq=4)
    (outcome,) = await provision.batch([command])
    assert isinstance(outcome, Advanced)
    assert outcome.row.detail["message"] == f"Sample properties {message}"
    assert len(asked) == (pack == "sample")
    (again,) = await provision.batch([command])
    assert isinstance(again, AlreadyDone)
    assert len(asked) == (pack == "sample") * 2
    [status] = await statuses(guest_store, [website_id])
    assert status["message"] == f"Sample properties {message}"
