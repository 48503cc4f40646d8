"""Seeding out of packs on a real PostgreSQL: idempotent, completing, in one statement a table, falling back aloud."""

import asyncio
import json
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

import seeders
from seeders.loading.pack_library import PackLibrary
from seeders.owners import insert_users
from seeders.pack_problems import PackError
from seeders.seeding import Fallback, Seeders, pack_name, read_facts
from seeders.website_to_seed import NamedOwner, Tenant
from statemachine import STEPS as MACHINE
from statemachine import Trigger, unmet
from statemachine.steps import guard_of

SHIPPED = Path(seeders.__file__).parent / "packs"
FOUR_LINKS = ["home", "properties", "about", "contact"]
SEVEN_KEYS = [
    "types.house", "types.apartment", "types.villa", "states.good", "states.new", "features.pool", "features.garage",
]  # fmt: skip
STEPS = (Trigger.COMPLETE_AGENCY, Trigger.COMPLETE_LINKS, Trigger.COMPLETE_FIELD_KEYS, Trigger.SEED_PROPERTIES)
TABLES = (
    "pwb_agencies",
    "pwb_links",
    "pwb_field_keys",
    "pwb_realty_assets",
    "pwb_sale_listings",
    "pwb_rental_listings",
)


class Counting:
    """A connection that remembers the statements it was asked to run."""

    def __init__(self, connection):
        self.connection = connection
        self.statements = []

    async def execute(self, query, *args):
        self.statements.append(query)
        return await self.connection.execute(query, *args)

    async def fetch(self, query, *args):
        self.statements.append(query)
        return await self.connection.fetch(query, *args)


class Failing(Counting):
    """A connection on which every insert fails as it is told to."""

    def __init__(self, connection, error):
        super().__init__(connection)
        self.error = error

    async def fetch(self, query, *args):
        if "INSERT" in query:
            self.statements.append(query)
            raise self.error
        return await super().fetch(query, *args)


class RaisingLibrary(PackLibrary):
    """Packs whose code has a defect."""

    async def get(self, name):
        raise ZeroDivisionError(name)


@pytest_asyncio.fixture
async def connection(database_url):
    """A session as a worker's, with websites 1 to 9, all pending."""
    opened = await asyncpg.connect(database_url)
    await opened.execute(
        "INSERT INTO pwb_websites (id, subdomain, created_at, updated_at)"
        " SELECT n, 'site-' || n, now(), now() FROM generate_series(1, 9) AS n"
    )
    yield opened
    await opened.close()


@pytest.fixture
def write(tmp_path):
    """Writes a pack and returns the seeders that find it before those that ship."""

    def write_pack(name, **files):
        (tmp_path / name / "properties").mkdir(parents=True, exist_ok=True)
        for file, text in {"pack": "", **files}.items():
            path = tmp_path / name / (f"properties/{file}.yml" if file.startswith("property") else f"{file}.yml")
            path.write_text(text, encoding="utf-8")
        return Seeders(PackLibrary([tmp_path, SHIPPED]))

    return write_pack


SHIPPING = Seeders(PackLibrary([SHIPPED]))


def tenant(website_id=1, **fields):
    told = {"subdomain": f"site-{website_id}", "owner_email": None, "site_type": None, "seed_pack": None}
    return Tenant(website_id, **(told | fields))


async def seed_all(seeding, connection, *tenants, careful=False):
    """Run the four steps in a transaction, and return what each told."""
    async with connection.transaction():
        return [await seeding.seed(step, connection, tenants, careful=careful) for step in STEPS]


async def counts(connection):
    return [await connection.fetchval(f"SELECT count(*) FROM {table}") for table in TABLES]


async def column(connection, query, *args):
    return [record[0] for record in await connection.fetch(query, *args)]


async def slugs(connection, website_id=1):
    return await column(connection, "SELECT slug FROM pwb_links WHERE website_id = $1 ORDER BY id", website_id)


async def global_keys(connection, website_id=1):
    query = "SELECT global_key FROM pwb_field_keys WHERE pwb_website_id = $1 ORDER BY id"
    return await column(connection, query, website_id)


# ------------------------------------------------------------------------------------------------ a good pack


@pytest.mark.parametrize("site_type", ["residential", "commercial", "vacation_rental"])
async def test_a_shipped_pack_is_seeded_whole(connection, site_type):
    """Every row of the pack is there, in the pack's order, and nothing is told."""
    pack = await PackLibrary([SHIPPED]).get(site_type)
    assert await seed_all(SHIPPING, connection, tenant(site_type=site_type)) == [{}, {}, {}, {}]
    assert await slugs(connection) == [link.slug for link in pack.links]
    assert await global_keys(connection) == [key.global_key for key in pack.field_keys]
    references = await column(connection, "SELECT reference FROM pwb_realty_assets ORDER BY reference")
    assert references == sorted(entry.reference for entry in pack.properties)
    sale = sum(entry.sale is not None for entry in pack.properties)
    rental = sum(entry.rental is not None for entry in pack.properties)
    assert (await counts(connection))[4:] == [sale, rental]
    assert sale >= 1
    assert rental >= 1


async def test_translations_have_the_shapes_of_the_existing_product(connection):
    """By locale: link_title, label, and title with description."""
    await seed_all(SHIPPING, connection, tenant(site_type="residential"))
    link = json.loads(await connection.fetchval("SELECT translations FROM pwb_links WHERE slug = 'top_nav_buy'"))
    assert link == {"en": {"link_title": "Buy"}, "es": {"link_title": "Comprar"}, "de": {"link_title": "Kaufen"}}
    key = json.loads(await connection.fetchval("SELECT translations FROM pwb_field_keys WHERE global_key = 'house'"))
    assert key == {"en": {"label": "House"}, "es": {"label": "Casa"}, "de": {"label": "Haus"}}
    for table in ("pwb_sale_listings", "pwb_rental_listings"):
        for text in await column(connection, f"SELECT translations FROM {table}"):
            told = json.loads(text)
            assert set(told) == {"en", "es", "de"}
            assert all(set(texts) == {"title", "description"} for texts in told.values())


async def test_an_asset_and_its_listing_stand_as_the_pack_has_them(connection, write):
    """Each column where it belongs: slug of reference and website, price of a month, active and visible."""
    seeding = write(
        "mine",
        pack="website: {currency: CHF}\n",
        field_keys="types: {villa: {en: Villa}}\nstates: {new: {en: New}}\n",
        property_a="reference: Ático 1\nprop_type: types.villa\nprop_state: states.new\naddress: Weg 1\ncity: Chur\n"
        "region: GR\ncountry: CH\npostal_code: 03724\nlatitude: 46.85\nlongitude: 9.53\nbedrooms: 3\nbathrooms: 1.5\n"
        "garages: 1\nconstructed_area: 80.5\nplot_area: 200\nyear_built: 1999\n"
        "rental: {price_cents: 150000, long_term: true, furnished: yes, highlighted: true, title: {de: Haus}}\n",
    )
    assert await seeding.seed(Trigger.SEED_PROPERTIES, connection, [tenant(seed_pack="mine")], careful=False) == {}
    asset = dict(await connection.fetchrow("SELECT * FROM pwb_realty_assets"))
    for name in ("id", "created_at", "updated_at"):
        assert asset.pop(name) is not None
    assert asset == {
        "website_id": 1, "reference": "Ático 1", "slug": "atico-1-1", "prop_type_key": "types.villa",
        "prop_state_key": "states.new", "street_address": "Weg 1", "city": "Chur", "region": "GR", "country": "CH",
        "postal_code": "03724", "latitude": 46.85, "longitude": 9.53, "count_bedrooms": 3, "count_bathrooms": 1.5,
        "count_garages": 1, "constructed_area": 80.5, "plot_area": 200.0, "year_construction": 1999,
        "translations": "{}",
    }  # fmt: skip
    listing = dict(await connection.fetchrow("SELECT * FROM pwb_rental_listings"))
    for name in ("id", "realty_asset_id", "created_at", "updated_at"):
        assert listing.pop(name) is not None
    assert listing == {
        "active": True, "visible": True, "highlighted": True, "for_rent_long_term": True, "for_rent_short_term": False,
        "furnished": True, "price_rental_monthly_current_cents": 150000, "price_rental_monthly_current_currency": "CHF",
        "translations": '{"de": {"title": "Haus"}}',
    }  # fmt: skip
    assert await connection.fetchval("SELECT count(*) FROM pwb_sale_listings") == 0


async def test_a_batch_takes_one_statement_a_table(connection, write):
    """Nine websites, four packs: agency, links, field keys, and three for properties; nothing is counted."""
    seeding = write(
        "mine", pack="inherits_from: base\n", links="- slug: own\n", property_a="reference: A\nsale: {price_cents: 1}\n"
    )
    packs = [None, "residential", "commercial", "mine"]
    tenants = [tenant(number, seed_pack=packs[number % 4]) for number in range(1, 10)]
    for step, expected in zip(STEPS, (1, 1, 1, 3), strict=True):
        counting = Counting(connection)
        assert await seeding.seed(step, counting, tenants, careful=False) == {}
        assert len(counting.statements) == expected, step
        assert all("INSERT" in statement for statement in counting.statements)


async def test_two_packs_in_one_statement_stay_apart(connection, write):
    """Each website has its own pack's rows and none of its neighbour's."""
    write("one", links="".join(f"- slug: one_{n}\n" for n in range(3)))
    seeding = write("two", links="".join(f"- slug: two_{n}\n" for n in range(4)))
    tenants = [tenant(2, seed_pack="two"), tenant(1, seed_pack="one"), tenant(3, seed_pack="two")]
    counting = Counting(connection)
    assert await seeding.seed(Trigger.COMPLETE_LINKS, counting, tenants, careful=False) == {}
    assert len(counting.statements) == 1
    assert await slugs(connection, 1) == ["one_0", "one_1", "one_2"]
    assert await slugs(connection, 2) == await slugs(connection, 3) == ["two_0", "two_1", "two_2", "two_3"]
    assert await column(connection, "SELECT DISTINCT ON (website_id) website_id FROM pwb_links") == [1, 2, 3]
    assert await column(connection, "SELECT website_id FROM pwb_links ORDER BY id") == [1] * 3 + [2] * 4 + [3] * 4


@pytest.mark.parametrize("careful", [False, True])
async def test_seeding_twice_changes_nothing(connection, careful):
    """Every table has as many rows as after the first time, and they are the same rows."""
    tenants = [tenant(1, site_type="residential"), tenant(2, seed_pack="nobody_has_this")]
    await seed_all(SHIPPING, connection, *tenants, careful=careful)
    before = [await connection.fetch(f"SELECT * FROM {table} ORDER BY id") for table in TABLES]
    assert all(before)
    await seed_all(SHIPPING, connection, *tenants, careful=careful)
    assert [await connection.fetch(f"SELECT * FROM {table} ORDER BY id") for table in TABLES] == before


async def test_a_half_seeded_set_is_completed(connection):
    """What is missing comes, in each table; what people changed stays as they left it."""
    mine = tenant(site_type="residential")
    await seed_all(SHIPPING, connection, mine)
    whole = await counts(connection)
    await connection.execute("DELETE FROM pwb_links WHERE slug NOT IN ('top_nav_buy', 'footer_buy')")
    await connection.execute("UPDATE pwb_links SET link_path = 'changed'")
    await connection.execute("DELETE FROM pwb_field_keys WHERE global_key <> 'villa'")
    await connection.execute("DELETE FROM pwb_realty_assets WHERE reference = 'RES-S1'")
    await connection.execute("DELETE FROM pwb_sale_listings")
    await connection.execute("DELETE FROM pwb_rental_listings")
    kept = await column(connection, "SELECT id FROM pwb_realty_assets ORDER BY id")
    assert await seed_all(SHIPPING, connection, mine) == [{}, {}, {}, {}]
    assert await counts(connection) == whole
    assert await column(connection, "SELECT slug FROM pwb_links WHERE link_path = 'changed' ORDER BY slug") == [
        "footer_buy",
        "top_nav_buy",
    ]
    assert set(kept) < set(await column(connection, "SELECT id FROM pwb_realty_assets"))


async def test_a_listing_that_people_switched_off_is_not_doubled(connection):
    """An active one is added once, and a second run adds none: at most one active listing an asset."""
    mine = tenant(site_type="residential")
    await seed_all(SHIPPING, connection, mine)
    await seed_all(SHIPPING, connection, mine)
    active = "SELECT max(n) FROM (SELECT count(*) AS n FROM pwb_sale_listings WHERE active GROUP BY realty_asset_id) x"
    assert await connection.fetchval(active) == 1


async def test_references_that_look_alike_have_slugs_of_their_own(connection, write):
    """They differ in nothing that a slug can show, and both go in; so do those without a Latin letter."""
    seeding = write(
        "alike",
        property_a="reference: A 1\n", property_b="reference: a-1\n",
        property_c="reference: 東京\n", property_d="reference: 大阪\n",
    )  # fmt: skip
    tenants = [tenant(1, seed_pack="alike"), tenant(2, seed_pack="alike")]
    assert await seeding.seed(Trigger.SEED_PROPERTIES, connection, tenants, careful=False) == {}
    found = await column(connection, "SELECT slug FROM pwb_realty_assets ORDER BY slug")
    assert len(set(found)) == 8
    assert all(slug.isascii() and slug == slug.lower() and not slug.startswith("-") for slug in found)


async def test_two_connections_seed_one_website_at_once(connection, database_url):
    """Neither fails, and each row is there once: the second waits for the first and adds nothing."""
    mine = tenant(site_type="residential")
    other = await asyncpg.connect(database_url)
    try:
        first, second = connection.transaction(), other.transaction()
        await first.start()
        await second.start()
        pid = other.get_server_pid()
        for step in STEPS:
            assert await SHIPPING.seed(step, connection, [mine], careful=False) == {}
        waiting = asyncio.create_task(SHIPPING.seed(Trigger.COMPLETE_LINKS, other, [mine], careful=False))
        watcher = await asyncpg.connect(database_url)
        async with asyncio.timeout(60):
            while not await watcher.fetchval("SELECT cardinality(pg_blocking_pids($1)) > 0", pid):
                await asyncio.sleep(0)
        await watcher.close()
        assert not waiting.done()
        await first.commit()
        assert await waiting == {}
        for step in STEPS:
            assert await SHIPPING.seed(step, other, [mine], careful=False) == {}
        await second.commit()
    finally:
        await other.close()
    pack = await PackLibrary([SHIPPED]).get("residential")
    assert (await counts(connection))[:4] == [1, len(pack.links), len(pack.field_keys), len(pack.properties)]


async def test_many_connections_at_once_do_not_deadlock(connection, database_url):
    """Eight sessions seed the same nine websites in different orders; each row is there once."""
    tenants = [tenant(number, site_type="residential") for number in range(1, 10)]

    async def one(turn):
        session = await asyncpg.connect(database_url)
        try:
            await seed_all(SHIPPING, session, *(tenants[turn:] + tenants[:turn]))
        finally:
            await session.close()

    async with asyncio.timeout(60):
        await asyncio.gather(*(one(turn) for turn in range(8)))
    pack = await PackLibrary([SHIPPED]).get("residential")
    expected = [1, len(pack.links), len(pack.field_keys), len(pack.properties)]
    assert (await counts(connection))[:4] == [9 * count for count in expected]


async def test_no_websites_are_no_statements(connection):
    """An empty batch asks nothing of the database."""
    counting = Counting(connection)
    for step in STEPS:
        assert await SHIPPING.seed(step, counting, [], careful=False) == {}
    assert counting.statements == []


# ------------------------------------------------------------------------------------------------ the agency


async def agency(connection, website_id=1):
    query = "SELECT display_name, email_primary, phone_number_primary FROM pwb_agencies WHERE website_id = $1"
    return tuple(await connection.fetchrow(query, website_id))


async def test_an_agency_is_the_packs(connection, write):
    """Name, e-mail address and telephone number."""
    seeding = write("mine", pack="agency: {display_name: Costa, email: hi@example.com, phone: 034 1}\n")
    mine = tenant(seed_pack="mine", owner_email="owner@example.com")
    assert await seeding.seed(Trigger.COMPLETE_AGENCY, connection, [mine], careful=False) == {}
    assert await agency(connection) == ("Costa", "hi@example.com", "034 1")


async def test_what_a_packs_agency_leaves_out_is_the_websites(connection, write):
    """Its name from the subdomain, its address from the owner; that is no fallback."""
    seeding = write("mine", pack="agency: {phone: '1'}\n")
    mine = tenant(subdomain="sunny-meadow-42", seed_pack="mine", owner_email="owner@example.com")
    assert await seeding.seed(Trigger.COMPLETE_AGENCY, connection, [mine], careful=False) == {}
    assert await agency(connection) == ("Sunny Meadow 42", "owner@example.com", "1")


async def test_a_pack_without_an_agency_falls_back_to_the_titleized_subdomain(connection, write):
    """And says that it has none."""
    seeding = write("mine", links="- slug: a\n")
    mine = tenant(subdomain="sunny-meadow-42", seed_pack="mine", owner_email="owner@example.com")
    told = await seeding.seed(Trigger.COMPLETE_AGENCY, connection, [mine], careful=False)
    assert told == {1: Fallback("mine", "agency", "mine has no agency, need 1", defaults=True)}
    assert await agency(connection) == ("Sunny Meadow 42", "owner@example.com", None)


@pytest.mark.parametrize("pack", ["base", "nobody_has_this"])
async def test_an_agency_without_a_subdomain_is_named_after_its_website_aloud(connection, pack):
    """Whatever the pack; a second run, which makes none, does not repeat it."""
    mine = tenant(subdomain=None, seed_pack=pack)
    told = await SHIPPING.seed(Trigger.COMPLETE_AGENCY, connection, [mine], careful=False)
    assert "no subdomain" in told[1].reason
    assert "'Agency 1'" in told[1].reason
    assert told[1].defaults
    assert await agency(connection) == ("Agency 1", None, None)
    again = await SHIPPING.seed(Trigger.COMPLETE_AGENCY, connection, [mine], careful=False)
    assert "subdomain" not in repr(again)


async def test_an_agency_that_is_there_stays(connection, write):
    """Whether the pack is good, missing or without an agency."""
    await connection.execute(
        "INSERT INTO pwb_agencies (website_id, display_name, created_at, updated_at)"
        " SELECT n, 'Mine', now(), now() FROM generate_series(1, 3) AS n"
    )
    seeding = write("silent", links="- slug: a\n")
    tenants = [tenant(1), tenant(2, seed_pack="silent"), tenant(3, seed_pack="nobody_has_this")]
    told = await seeding.seed(Trigger.COMPLETE_AGENCY, connection, tenants, careful=False)
    assert set(told) == {3}
    assert await column(connection, "SELECT display_name FROM pwb_agencies") == ["Mine"] * 3


# ------------------------------------------------------------------------------------------------ falling back


@pytest.mark.fault(97)
async def test_a_missing_pack_gives_the_defaults_and_the_reason(connection):
    """Four links, seven field keys, an agency, no properties; each step tells the pack and why."""
    mine = tenant(subdomain="sunny-meadow-42", owner_email="o@example.com", seed_pack="nobody_has_this")
    told = await seed_all(SHIPPING, connection, mine)
    assert [step[1].step for step in told] == ["agency", "links", "field_keys", "properties"]
    assert {step[1].pack for step in told} == {"nobody_has_this"}
    assert all("there is no seed pack 'nobody_has_this'" in step[1].reason for step in told)
    assert [step[1].defaults for step in told] == [True, True, True, False]
    assert await agency(connection) == ("Sunny Meadow 42", "o@example.com", None)
    assert await slugs(connection) == FOUR_LINKS
    assert await column(connection, "SELECT link_url FROM pwb_links ORDER BY sort_order") == [
        "/", "/search", "/about", "/contact",
    ]  # fmt: skip
    assert await global_keys(connection) == SEVEN_KEYS
    tags = await column(connection, "SELECT tag FROM pwb_field_keys ORDER BY id")
    assert tags == ["property-types"] * 3 + ["property-states"] * 2 + ["property-features"] * 2
    assert (await counts(connection))[3:] == [0, 0, 0]


@pytest.mark.parametrize("seed_pack", [None, "nobody_has_this"])
async def test_each_steps_seeder_makes_its_guard_true(connection, seed_pack):
    """One step after the other, out of a pack or out of defaults: whoever adds a step cannot forget its seeder."""
    mine = tenant(seed_pack=seed_pack, owner=NamedOwner(1, email="ana@example.com"))
    await insert_users(connection, [mine.owner])
    for step in MACHINE:
        async with connection.transaction():
            await SHIPPING.seed(step.trigger, connection, [mine], careful=False)
            facts = (await read_facts(connection, {1: "site-1"}))[1]
        assert not unmet(guard_of(step), facts), step.trigger


@pytest.mark.fault(97)
async def test_an_invalid_pack_touches_only_its_own_website(connection, write):
    """Its neighbour in the batch is seeded from its pack; the reason names file and entry."""
    seeding = write("broken", links="- {slug: a, placement: roof}\n")
    told = await seeding.seed(
        Trigger.COMPLETE_LINKS, connection, [tenant(1), tenant(2, seed_pack="broken")], careful=False
    )
    assert set(told) == {2}
    assert told[2].reason.startswith("broken/links.yml, line 1, entry 'a': placement is 'roof'")
    assert len(await slugs(connection, 1)) >= 10
    assert await slugs(connection, 2) == FOUR_LINKS


GOOD = {
    "pack": "agency: {display_name: Own}\n",
    "links": "- slug: a\n- slug: b\n- slug: c\n",
    "field_keys": "types: [a, b, c, d, e]\n",
    "property_a": "reference: A\nsale: {price_cents: 1}\n",
    "property_b": "reference: B\nsale: {price_cents: 1}\n",
}
"""A pack that suffices at every step."""


@pytest.mark.parametrize("careful", [False, True])
@pytest.mark.parametrize(
    ("wrong", "step"),
    [
        (("pack", "agency: {display_name: [Own]}\n"), "agency"),
        (("links", "- slug: a\n- slug: b\n- {slug: c, visible: 'false'}\n"), "links"),
        (("field_keys", "types: [a, b, c, d, [e]]\n"), "field_keys"),
        (("property_b", "reference: B\nsale: {price_cents: 450.000}\n"), "properties"),
    ],
)
async def test_an_error_falls_back_only_for_its_own_step(connection, write, wrong, step, careful):
    """The others come from the pack; of the properties, those in which nothing is wrong."""
    file, text = wrong
    seeding = write("mine", **(GOOD | {file: text}))
    told = await seed_all(seeding, connection, tenant(seed_pack="mine"), careful=careful)
    [fallback] = [fallbacks[1] for fallbacks in told if fallbacks]
    assert (fallback.pack, fallback.step, fallback.defaults) == ("mine", step, step != "properties")
    assert fallback.reason.startswith(f"mine/{'properties/' if step == 'properties' else ''}{file}.yml, line ")
    assert fallback.reason.endswith("; 1 other is seeded") == (step == "properties")
    assert await column(connection, "SELECT display_name FROM pwb_agencies") == [
        "Site 1" if step == "agency" else "Own"
    ]
    assert await slugs(connection) == (FOUR_LINKS if step == "links" else ["a", "b", "c"])
    assert await global_keys(connection) == (SEVEN_KEYS if step == "field_keys" else ["a", "b", "c", "d", "e"])
    references = await column(connection, "SELECT reference FROM pwb_realty_assets ORDER BY reference")
    assert references == (["A"] if step == "properties" else ["A", "B"])


@pytest.mark.parametrize("careful", [False, True])
async def test_a_strict_pack_with_an_error_gets_no_defaults_at_its_step_alone(connection, write, careful):
    """The other steps stand on their own, as the pack says."""
    links = "- slug: a\n- slug: b\n- {slug: c, placement: roof}\n"
    seeding = write("mine", **(GOOD | {"pack": "fallback: false\nagency: {}\n", "links": links}))
    told = await seed_all(seeding, connection, tenant(seed_pack="mine"), careful=careful)
    [fallback] = [fallbacks[1] for fallbacks in told if fallbacks]
    assert (fallback.step, fallback.defaults) == ("links", False)
    assert fallback.reason.startswith("mine/links.yml, line 3, entry 'c': placement is 'roof'")
    assert await counts(connection) == [1, 0, 5, 2, 2, 0]


async def test_a_pack_with_too_few_rows_is_filled_up(connection, write):
    """Its own rows and the defaults, and one count for all such websites."""
    seeding = write("few", links="- slug: one\n- slug: two\n", field_keys="types: [a, b, c, d]\n")
    tenants = [tenant(1, seed_pack="few"), tenant(2, seed_pack="few"), tenant(3)]
    counting = Counting(connection)
    told = await seeding.seed(Trigger.COMPLETE_LINKS, counting, tenants, careful=False)
    assert told == {n: Fallback("few", "links", "few has 2 links, need 3", defaults=True) for n in (1, 2)}
    assert len(counting.statements) == 3
    assert await slugs(connection, 2) == ["one", "two", *FOUR_LINKS]
    told = await seeding.seed(Trigger.COMPLETE_FIELD_KEYS, connection, tenants, careful=False)
    assert told[1].reason == "few has 4 field_keys, need 5"
    assert await global_keys(connection) == ["a", "b", "c", "d", *SEVEN_KEYS]


async def test_too_few_rows_are_enough_where_others_brought_the_rest(connection, write):
    """The requirement counts rows, whoever they are from."""
    seeding = write("few", links="- slug: one\n- slug: two\n")
    await connection.execute(
        "INSERT INTO pwb_links (website_id, slug, created_at, updated_at) VALUES (1, 'own', now(), now())"
    )
    assert await seeding.seed(Trigger.COMPLETE_LINKS, connection, [tenant(seed_pack="few")], careful=False) == {}
    assert await slugs(connection) == ["own", "one", "two"]


@pytest.mark.parametrize("careful", [False, True])
async def test_a_strict_pack_stands_on_its_own(connection, write, careful):
    """No defaults are added to it, at any step, and the reason says so."""
    seeding = write("strict_two", pack="fallback: false\n", links="- slug: one\n- slug: two\n")
    mine = tenant(seed_pack="strict_two")
    told = await seed_all(seeding, connection, mine, careful=careful)
    assert [step.get(1) for step in told] == [
        Fallback("strict_two", "agency", "strict_two has no agency, need 1, and its fallback is off", defaults=False),
        Fallback("strict_two", "links", "strict_two has 2 links, need 3, and its fallback is off", defaults=False),
        Fallback(
            "strict_two", "field_keys", "strict_two has no field_keys, need 5, and its fallback is off", defaults=False
        ),
        None,
    ]
    assert await counts(connection) == [0, 2, 0, 0, 0, 0]


async def test_a_strict_pack_that_is_broken_gets_no_defaults_either(connection, write):
    """It says `fallback: false`, and that much of it can be read."""
    seeding = write("strict_bad", pack="fallback: false\n", links="no list\n")
    told = await seeding.seed(Trigger.COMPLETE_LINKS, connection, [tenant(seed_pack="strict_bad")], careful=False)
    assert not told[1].defaults
    assert await slugs(connection) == []


async def test_a_mended_pack_completes_the_website(connection, write):
    """What a strict pack left short is there after the third link is written, without a new library."""
    seeding = write("strict_two", pack="fallback: false\n", links="- slug: one\n- slug: two\n")
    mine = tenant(seed_pack="strict_two")
    await seeding.seed(Trigger.COMPLETE_LINKS, connection, [mine], careful=False)
    write("strict_two", pack="fallback: false\n", links="- slug: one\n- slug: two\n- slug: three\n")
    async with asyncio.timeout(60):
        while await seeding.seed(Trigger.COMPLETE_LINKS, connection, [mine], careful=False):
            await asyncio.sleep(0.01)
    assert await slugs(connection) == ["one", "two", "three"]


# ------------------------------------------------------------------------------------------------ a careful attempt


async def limit_slugs(connection):
    await connection.execute("ALTER TABLE pwb_links ALTER COLUMN slug TYPE varchar(10)")


LONG = "- slug: fits\n- slug: much_longer_than_ten\n- slug: also\n"


async def test_an_overlong_value_falls_back_in_a_careful_attempt(connection, write):
    """22001: nothing of the pack stays, the defaults come, the transaction lives on."""
    await limit_slugs(connection)
    seeding = write("long", links=LONG)
    async with connection.transaction():
        told = await seeding.seed(Trigger.COMPLETE_LINKS, connection, [tenant(seed_pack="long")], careful=True)
        assert await connection.fetchval("SELECT 1") == 1
    assert told[1].defaults
    assert "long: cannot be inserted (StringDataRightTruncationError 22001)" in told[1].reason
    assert await slugs(connection) == FOUR_LINKS


async def test_an_overlong_value_of_a_strict_pack_adds_nothing(connection, write):
    """It is told, and that is all."""
    await limit_slugs(connection)
    seeding = write("long", pack="fallback: false\n", links=LONG)
    async with connection.transaction():
        told = await seeding.seed(Trigger.COMPLETE_LINKS, connection, [tenant(seed_pack="long")], careful=True)
    assert not told[1].defaults
    assert await slugs(connection) == []


async def test_an_overlong_value_is_the_callers_in_an_ordinary_attempt(connection, write):
    """The batch is rolled back and halved, so the error goes up as it is and no savepoint is set."""
    await limit_slugs(connection)
    seeding = write("long", links=LONG)
    counting = Counting(connection)
    with pytest.raises(asyncpg.StringDataRightTruncationError):
        await seeding.seed(Trigger.COMPLETE_LINKS, counting, [tenant(seed_pack="long")], careful=False)
    assert not any("SAVEPOINT" in statement for statement in counting.statements)


async def test_a_slug_that_is_taken_leaves_the_properties_out(connection):
    """23505 on the one index that is unique among all websites: no property of the pack, a note, no failure."""
    await connection.execute(
        "INSERT INTO pwb_realty_assets (website_id, reference, slug, created_at, updated_at)"
        " VALUES (9, 'X', 'res-s3-1', now(), now())"
    )
    mine = tenant(site_type="residential")
    async with connection.transaction():
        told = await SHIPPING.seed(Trigger.SEED_PROPERTIES, connection, [mine], careful=True)
    assert not told[1].defaults
    assert "UniqueViolationError 23505" in told[1].reason
    assert (await counts(connection))[3:] == [1, 0, 0]


async def test_defaults_that_are_refused_are_the_callers(connection):
    """There is nothing left to fall back to: the error goes up, and the website fails with it."""
    await connection.execute("ALTER TABLE pwb_agencies ADD CHECK (email_primary NOT LIKE 'refused%')")
    async with connection.transaction():
        with pytest.raises(asyncpg.CheckViolationError):
            await SHIPPING.seed(
                Trigger.COMPLETE_AGENCY, connection, [tenant(owner_email="refused@example.com")], careful=True
            )


async def test_an_agency_that_is_refused_falls_back_without_quoting_it(connection, write):
    """The reason names the kind of error, and no address."""
    await connection.execute("ALTER TABLE pwb_agencies ADD CONSTRAINT no_secrets CHECK (email_primary NOT LIKE 's%')")
    seeding = write("mine", pack="agency: {display_name: A, email: secret@example.com}\n")
    mine = tenant(seed_pack="mine", owner_email="owner@example.com")
    async with connection.transaction():
        told = await seeding.seed(Trigger.COMPLETE_AGENCY, connection, [mine], careful=True)
    assert "CheckViolationError 23514" in told[1].reason
    assert "@" not in told[1].reason
    assert await agency(connection) == ("Site 1", "owner@example.com", None)


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.DeadlockDetectedError("deadlock"),
        asyncpg.LockNotAvailableError("lock"),
        asyncpg.QueryCanceledError("timeout"),
        asyncpg.InsufficientPrivilegeError("not allowed"),
        asyncpg.ConnectionDoesNotExistError("gone"),
        asyncpg.InterfaceError("closed"),
        OSError("reset"),
        TimeoutError("slow"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_any_other_error_of_the_connection_goes_up_untouched(connection, error):
    """40P01, 55P03, 57014, 42501, a lost connection: not the pack's, so nothing is rolled back to, and no fallback."""
    failing = Failing(connection, error)
    async with connection.transaction():
        with pytest.raises(type(error)) as caught:
            await SHIPPING.seed(Trigger.COMPLETE_LINKS, failing, [tenant()], careful=True)
    assert caught.value is error
    assert failing.statements[0] == "SAVEPOINT pack"
    assert len(failing.statements) == 2, "the insert was the last thing asked"


async def test_a_cancelled_attempt_is_cancelled(connection):
    """A cancellation is nobody's defect, and is not swallowed."""
    failing = Failing(connection, asyncio.CancelledError())
    async with connection.transaction():
        with pytest.raises(asyncio.CancelledError):
            await SHIPPING.seed(Trigger.COMPLETE_LINKS, failing, [tenant()], careful=True)


@pytest.mark.fault(97)
async def test_a_defect_of_the_pack_code_falls_back_in_a_careful_attempt(connection):
    """Whatever goes wrong before the first statement is the pack's."""
    seeding = Seeders(RaisingLibrary([SHIPPED]))
    async with connection.transaction():
        told = await seeding.seed(Trigger.COMPLETE_LINKS, connection, [tenant()], careful=True)
    assert told[1] == Fallback("base", "links", "base: cannot be inserted (ZeroDivisionError)", defaults=True)
    assert await slugs(connection) == FOUR_LINKS
    with pytest.raises(ZeroDivisionError):
        await seeding.seed(Trigger.COMPLETE_LINKS, connection, [tenant()], careful=False)


async def test_a_careful_attempt_with_a_good_pack_leaves_no_savepoint(connection):
    """Set, and released: one insert between the two."""
    counting = Counting(connection)
    async with connection.transaction():
        assert await SHIPPING.seed(Trigger.COMPLETE_LINKS, counting, [tenant()], careful=True) == {}
        assert counting.statements[0] == "SAVEPOINT pack"
        assert counting.statements[-1] == "RELEASE SAVEPOINT pack"
        assert len(counting.statements) == 3
    assert len(await slugs(connection)) >= 10


async def test_a_missing_pack_falls_back_in_a_careful_attempt_too(connection):
    """The savepoint is rolled back to and released, and the reason is the library's."""
    async with connection.transaction():
        told = await SHIPPING.seed(
            Trigger.COMPLETE_LINKS, connection, [tenant(seed_pack="nobody_has_this")], careful=True
        )
    assert "there is no seed pack" in told[1].reason
    assert await slugs(connection) == FOUR_LINKS
    with pytest.raises(PackError):
        await PackLibrary([SHIPPED]).get("nobody_has_this")


# ------------------------------------------------------------------------------------------------ which pack


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "base"),
        ({"site_type": "commercial"}, "commercial"),
        ({"site_type": "commercial", "seed_pack": "mine"}, "mine"),
        ({"site_type": "spaceport"}, "base"),
        ({"site_type": "residential", "seed_pack": ""}, "residential"),
    ],
)
def test_the_pack_is_the_websites_own_else_its_site_types_else_base(fields, expected):
    """In this order."""
    assert pack_name(fields.get("seed_pack"), fields.get("site_type")) == expected
