"""What the seeders leave in a real database: the right rows, once, whatever was there and whatever the pack is like."""

import asyncio
import json
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

import seeders
from seeders.loading.pack_library import PackLibrary
from seeders.owners import insert_owner_memberships, insert_users
from seeders.seeding import Fallback, Seeders
from seeders.website_to_seed import NamedOwner, Tenant
from statemachine import Trigger

SHIPPED = Path(seeders.__file__).parent / "packs"
TRIGGERS = {
    "agencies": Trigger.COMPLETE_AGENCY,
    "links": Trigger.COMPLETE_LINKS,
    "field_keys": Trigger.COMPLETE_FIELD_KEYS,
    "properties": Trigger.SEED_PROPERTIES,
}
STEPS = tuple(TRIGGERS)
TABLES = (
    "pwb_agencies",
    "pwb_links",
    "pwb_field_keys",
    "pwb_realty_assets",
    "pwb_sale_listings",
    "pwb_rental_listings",
)
DEFAULT_LINKS = {"home": "/", "properties": "/search", "about": "/about", "contact": "/contact"}
DEFAULT_KEYS = {
    "types.house": "property-types",
    "types.apartment": "property-types",
    "types.villa": "property-types",
    "states.good": "property-states",
    "states.new": "property-states",
    "features.pool": "property-features",
    "features.garage": "property-features",
}
PACK = {
    "pack.yml": "website: {currency: USD}\nagency: {display_name: Costa, email: a@b.example, phone: '12'}\n",
    "links.yml": """\
- {slug: a, page_slug: home, link_path: home_path, link_title: {en: A, es: Á}, placement: top_nav, sort_order: 4}
- {slug: b, link_path: show_page_path, link_path_params: about-us, placement: footer, visible: false}
- {slug: c, link_url: /c, link_title: C}
""",
    "field_keys.yml": "types: {villa: {en: Villa, de: Landhaus}, house: }\nstates: {good: {en: Good}}\n"
    "features: {pool: }\namenities: {lift: }\n",
    "properties/1.yml": """\
reference: A 1
prop_type: types.villa
address: Gran Vía 1
city: Valencia
region: Comunidad Valenciana
country: ES
postal_code: 46005
latitude: 39.5
longitude: -0.25
bedrooms: 3
bathrooms: 1.5
garages: 1
constructed_area: 120.5
plot_area: 300
year_built: 1972
sale: {price_cents: 30000000000, highlighted: true, title: {en: House, es: Casa}}
""",
    "properties/2.yml": "reference: B/2\nprop_state: states.good\nrental: {price_cents: 90000, long_term: true, "
    "furnished: true, title: {en: Flat}}\nsale: {price_cents: 5}\n",
}


class Counting:
    """A connection that remembers what it was asked, and passes it on."""

    def __init__(self, connection):
        self.connection = connection
        self.asked = []

    async def execute(self, query, *args):
        self.asked.append(query)
        return await self.connection.execute(query, *args)

    async def fetch(self, query, *args):
        self.asked.append(query)
        return await self.connection.fetch(query, *args)

    def inserts(self):
        """The tables that were inserted into, in order; anything else by its text."""
        words = [[line for line in query.splitlines() if not line.startswith("--")] for query in self.asked]
        texts = [" ".join(lines).strip() for lines in words]
        return [text.split()[2] if text.startswith("INSERT INTO") else text for text in texts]


@pytest_asyncio.fixture
async def connection(database_url):
    """A connection to a fresh database."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
def packs(tmp_path):
    """Write packs by name, each out of files by name; return seeders that find them before the shipped ones."""

    def write(**packs):
        for name, files in packs.items():
            for file, text in {"pack.yml": f"name: {name}\n", **files}.items():
                path = tmp_path / name / file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
        return Seeders(PackLibrary([tmp_path, SHIPPED]))

    return write


async def website(connection, subdomain="sunny-meadow-42", pack=None, **known):
    """Insert a pending website; return it as the seeders know it."""
    website_id = await connection.fetchval(
        "INSERT INTO pwb_websites (subdomain, seed_pack_name, provisioning_state, created_at, updated_at) "
        "VALUES ($1, $2, 'pending', now(), now()) RETURNING id",
        subdomain,
        pack,
    )
    facts = {"owner_email": "owner@example.com", "site_type": None, **known}
    return Tenant(website_id, subdomain, seed_pack=pack, **facts)


async def seed(seeders, step, connection, *tenants, careful=False):
    """Seed one kind of rows, in a transaction if there is none."""
    raw = connection.connection if isinstance(connection, Counting) else connection
    if raw.is_in_transaction():
        return await seeders.seed(TRIGGERS[step], connection, tenants, careful=careful)
    async with raw.transaction():
        return await seeders.seed(TRIGGERS[step], connection, tenants, careful=careful)


async def rows(connection, table, tenant=None):
    """The rows of a table, those of a website if there is one, jsonb read."""
    column = "pwb_website_id" if table == "pwb_field_keys" else "website_id"
    where = f"WHERE {column} = {tenant.website_id}" if tenant else ""
    records = [dict(record) for record in await connection.fetch(f"SELECT * FROM {table} {where} ORDER BY id")]
    for record in records:
        if isinstance(record.get("translations"), str):
            record["translations"] = json.loads(record["translations"])
    return records


async def everything(connection):
    """All rows of all tables that seeders write."""
    return {table: await rows(connection, table) for table in TABLES}


async def links_of(connection, tenant):
    return {row["slug"]: row["link_url"] for row in await rows(connection, "pwb_links", tenant)}


async def keys_of(connection, tenant):
    return {row["global_key"]: row["tag"] for row in await rows(connection, "pwb_field_keys", tenant)}


def part(row, *names):
    return tuple(row[name] for name in names)


# ------------------------------------------------------------------------------------------------ the right rows


async def test_an_agency_is_as_its_pack_says(connection, packs):
    """Name, address and telephone number out of pack.yml."""
    tenant = await website(connection, pack="mine")
    assert await seed(packs(mine=PACK), "agencies", connection, tenant) == {}
    [row] = await rows(connection, "pwb_agencies", tenant)
    assert part(row, "display_name", "email_primary", "phone_number_primary") == ("Costa", "a@b.example", "12")


async def test_an_agency_that_says_nothing_is_the_customers_own(connection, packs):
    """Named after the website, with its owner's address; the shipped packs are like that."""
    tenant = await website(connection, "sunny-meadow-42", site_type="residential")
    assert await seed(packs(), "agencies", connection, tenant) == {}
    [row] = await rows(connection, "pwb_agencies", tenant)
    assert part(row, "display_name", "email_primary") == ("Sunny Meadow 42", "owner@example.com")
    assert row["phone_number_primary"] is None


async def test_a_website_without_a_subdomain_still_gets_an_agency(connection, packs):
    """Its name says at least which website it is."""
    tenant = await website(connection, None, owner_email=None)
    await seed(packs(), "agencies", connection, tenant)
    [row] = await rows(connection, "pwb_agencies", tenant)
    assert part(row, "display_name", "email_primary") == (f"Agency {tenant.website_id}", None)


async def test_links_are_as_their_pack_says(connection, packs):
    """Every column, and the titles by locale."""
    tenant = await website(connection, pack="mine")
    assert await seed(packs(mine=PACK), "links", connection, tenant) == {}
    told = ("link_path", "link_path_params", "link_url", "placement", "sort_order", "visible", "translations")
    found = [part(row, "slug", "page_slug", *told) for row in await rows(connection, "pwb_links", tenant)]
    assert sorted(found, key=lambda row: row[0]) == [
        ("a", "home", "home_path", None, None, 0, 4, True, {"en": {"link_title": "A"}, "es": {"link_title": "Á"}}),
        ("b", None, "show_page_path", "about-us", None, 1, 0, False, {}),
        ("c", None, None, None, "/c", 0, 0, True, {"en": {"link_title": "C"}}),
    ]


async def test_field_keys_are_as_their_pack_says(connection, packs):
    """Key, tag, order and labels; all of them visible."""
    tenant = await website(connection, pack="mine")
    assert await seed(packs(mine=PACK), "field_keys", connection, tenant) == {}
    names = ("global_key", "tag", "sort_order", "visible", "translations")
    found = [part(row, *names) for row in await rows(connection, "pwb_field_keys", tenant)]
    assert sorted(found, key=lambda row: row[2]) == [
        ("villa", "property-types", 1, True, {"en": {"label": "Villa"}, "de": {"label": "Landhaus"}}),
        ("house", "property-types", 2, True, {}),
        ("good", "property-states", 3, True, {"en": {"label": "Good"}}),
        ("pool", "property-features", 4, True, {}),
        ("lift", "property-amenities", 5, True, {}),
    ]


async def test_properties_are_as_their_pack_says(connection, packs):
    """The asset with all its columns, and a slug that no other website can have."""
    tenant = await website(connection, pack="mine")
    assert await seed(packs(mine=PACK), "properties", connection, tenant) == {}
    assets = {row["reference"]: row for row in await rows(connection, "pwb_realty_assets", tenant)}
    assert {reference: row["slug"] for reference, row in assets.items()} == {
        "A 1": f"a-1-{tenant.website_id}",
        "B/2": f"b-2-{tenant.website_id}",
    }
    said = {
        "prop_type_key": "types.villa",
        "prop_state_key": "states.good",
        "street_address": "Gran Vía 1",
        "city": "Valencia",
        "region": "Comunidad Valenciana",
        "country": "ES",
        "postal_code": "46005",
        "latitude": 39.5,
        "longitude": -0.25,
        "count_bedrooms": 3,
        "count_bathrooms": 1.5,
        "count_garages": 1,
        "constructed_area": 120.5,
        "plot_area": 300.0,
        "year_construction": 1972,
    }
    assert {name: assets["A 1"][name] for name in said} == said
    assert part(assets["B/2"], "prop_type_key", "city", "latitude", "count_bedrooms") == (None, None, None, None)


async def test_listings_are_as_their_pack_says(connection, packs):
    """Active and visible, price and currency, titles; an asset may be both for sale and to let."""
    tenant = await website(connection, pack="mine")
    await seed(packs(mine=PACK), "properties", connection, tenant)
    references = {row["id"]: row["reference"] for row in await rows(connection, "pwb_realty_assets", tenant)}
    sales = {references[row["realty_asset_id"]]: row for row in await rows(connection, "pwb_sale_listings")}
    money = ("price_sale_current_cents", "price_sale_current_currency")
    assert {key: part(row, "active", "visible", "highlighted", *money) for key, row in sales.items()} == {
        "A 1": (True, True, True, 30000000000, "USD"),
        "B/2": (True, True, False, 5, "USD"),
    }
    assert sales["A 1"]["translations"] == {"en": {"title": "House"}, "es": {"title": "Casa"}}
    [rental] = await rows(connection, "pwb_rental_listings")
    assert references[rental["realty_asset_id"]] == "B/2"
    money = ("price_rental_monthly_current_cents", "price_rental_monthly_current_currency")
    assert part(rental, "active", "visible", *money) == (True, True, 90000, "USD")
    assert part(rental, "for_rent_long_term", "for_rent_short_term", "furnished") == (True, False, True)
    assert rental["translations"] == {"en": {"title": "Flat"}}


@pytest.mark.parametrize("site_type", ["residential", "commercial", "vacation_rental", "castle", None])
async def test_a_site_type_has_its_pack(connection, packs, site_type):
    """And any other site type has base: links, keys, an agency, and no properties."""
    tenant = await website(connection, site_type=site_type)
    shipped = packs()
    assert [await seed(shipped, step, connection, tenant) for step in STEPS] == [{}] * 4
    counts = {table: len(found) for table, found in (await everything(connection)).items()}
    assert counts["pwb_agencies"] == 1
    assert counts["pwb_links"] >= 10
    assert counts["pwb_field_keys"] >= 36
    offered = site_type in {"residential", "commercial", "vacation_rental"}
    assert (counts["pwb_realty_assets"] >= 6) is offered
    assert (counts["pwb_sale_listings"] > 0, counts["pwb_rental_listings"] > 0) == (offered, offered)


# ------------------------------------------------------------------------------------------------ once, and completed


@pytest.mark.parametrize("careful", [False, True])
@pytest.mark.parametrize("pack", ["mine", "missing", None])
async def test_seeding_twice_changes_nothing(connection, packs, pack, careful):
    """No doubles and nothing updated, not even a time; so with defaults too."""
    tenant = await website(connection, pack=pack, site_type="residential")
    library = packs(mine=PACK)
    for step in STEPS:
        await seed(library, step, connection, tenant, careful=careful)
    before = await everything(connection)
    for step in STEPS:
        await seed(library, step, connection, tenant, careful=careful)
    assert await everything(connection) == before
    assert before["pwb_links"]


async def test_what_people_have_changed_stays(connection, packs):
    """An edited title, a renamed agency, a new price and a moved house are theirs."""
    tenant = await website(connection, pack="mine")
    library = packs(mine=PACK)
    for step in STEPS:
        await seed(library, step, connection, tenant)
    await connection.execute("UPDATE pwb_agencies SET display_name = 'Ours'")
    await connection.execute("UPDATE pwb_links SET link_url = '/ours', visible = false")
    await connection.execute("UPDATE pwb_field_keys SET tag = 'ours'")
    await connection.execute("UPDATE pwb_realty_assets SET city = 'Ours'")
    await connection.execute("UPDATE pwb_sale_listings SET price_sale_current_cents = 1")
    before = await everything(connection)
    for step in STEPS:
        await seed(library, step, connection, tenant)
    assert await everything(connection) == before


async def test_a_half_seeded_set_is_completed(connection, packs):
    """What is missing comes, what is there stays the row that it is."""
    tenant = await website(connection, pack="mine")
    library = packs(mine=PACK)
    for step in STEPS:
        await seed(library, step, connection, tenant)
    whole = {table: len(found) for table, found in (await everything(connection)).items()}
    await connection.execute("DELETE FROM pwb_links WHERE slug = 'b'")
    await connection.execute("DELETE FROM pwb_field_keys WHERE global_key IN ('villa', 'lift')")
    await connection.execute("DELETE FROM pwb_realty_assets WHERE reference = 'B/2'")
    half = await everything(connection)
    for step in STEPS:
        await seed(library, step, connection, tenant)
    after = await everything(connection)
    assert {table: len(found) for table, found in after.items()} == whole
    assert all(row in after[table] for table in TABLES for row in half[table])


async def test_an_asset_without_its_listing_gets_it(connection, packs):
    """Whoever inserted the asset; its other listing stays."""
    tenant = await website(connection, pack="mine")
    library = packs(mine=PACK)
    await seed(library, "properties", connection, tenant)
    before = await everything(connection)
    await connection.execute("DELETE FROM pwb_rental_listings")
    await connection.execute("DELETE FROM pwb_sale_listings WHERE price_sale_current_cents = 5")
    await seed(library, "properties", connection, tenant)
    after = await everything(connection)
    assert len(after["pwb_rental_listings"]) == 1
    assert len(after["pwb_sale_listings"]) == 2
    assert after["pwb_realty_assets"] == before["pwb_realty_assets"]


async def test_another_websites_asset_gets_no_listing(connection, packs):
    """A neighbour's house by the same reference is the neighbour's to offer."""
    neighbour, tenant = await website(connection, "neighbour"), await website(connection, "mine", "mine")
    await connection.execute(
        "INSERT INTO pwb_realty_assets (website_id, reference, slug, created_at, updated_at) "
        "VALUES ($1, 'B/2', 'neighbours', now(), now())",
        neighbour.website_id,
    )
    await seed(packs(mine=PACK), "properties", connection, tenant)
    [theirs] = await rows(connection, "pwb_realty_assets", neighbour)
    offers = [*await rows(connection, "pwb_sale_listings"), *await rows(connection, "pwb_rental_listings")]
    assert len(offers) == 3
    assert theirs["id"] not in {offer["realty_asset_id"] for offer in offers}


async def test_a_listing_taken_off_the_market_is_not_doubled_in_place(connection, packs):
    """A listing that is no longer active leaves room for one active listing, and only for one."""
    tenant = await website(connection, pack="mine")
    library = packs(mine=PACK)
    await seed(library, "properties", connection, tenant)
    await connection.execute("UPDATE pwb_rental_listings SET active = false")
    for _ in range(2):
        await seed(library, "properties", connection, tenant)
    assert sorted(row["active"] for row in await rows(connection, "pwb_rental_listings")) == [False, True]


async def test_two_connections_seed_the_same_website_at_once(connection, database_url, packs):
    """The second waits for the first's rows and adds none of its own."""
    tenant = await website(connection, pack="mine")
    library = packs(mine=PACK)
    other = await asyncpg.connect(database_url)
    try:
        first = connection.transaction()
        await first.start()
        for step in STEPS:
            await seed(library, step, connection, tenant)
        pid = other.get_server_pid()

        async def second():
            async with other.transaction():
                for step in STEPS:
                    await seed(library, step, other, tenant)

        async with asyncio.timeout(60):
            racing = asyncio.create_task(second())
            # The fault has fired once the server itself says that the second waits for the first.
            while not await connection.fetchval("SELECT cardinality(pg_blocking_pids($1)) > 0", pid):
                assert not racing.done()
            await first.commit()
            await racing
    finally:
        await other.close()
    counts = {table: len(found) for table, found in (await everything(connection)).items()}
    assert counts == dict(zip(TABLES, (1, 3, 5, 2, 2, 1), strict=True))


# ------------------------------------------------------------------------------------------------ few statements


async def test_the_hot_path_is_one_statement_a_table(connection, packs):
    """Two websites with different packs cost no more than one, and nothing is counted."""
    one = await website(connection, "one", "mine")
    two = await website(connection, "two", site_type="commercial")
    three = await website(connection, "three", "mine")
    library = packs(mine=PACK)
    asked = {}
    for step in STEPS:
        counting = Counting(connection)
        assert await seed(library, step, counting, three, one, two) == {}
        asked[step] = counting.inserts()
    assert asked == {
        "agencies": ["pwb_agencies"],
        "links": ["pwb_links"],
        "field_keys": ["pwb_field_keys"],
        "properties": ["pwb_realty_assets", "pwb_sale_listings", "pwb_rental_listings"],
    }
    assert set(await links_of(connection, one)) == set(await links_of(connection, three)) == {"a", "b", "c"}
    assert "top_nav_home" in await links_of(connection, two)
    assert not {"a", "b", "c"} & set(await links_of(connection, two))
    assert len(await rows(connection, "pwb_realty_assets", one)) == 2
    assert len(await rows(connection, "pwb_realty_assets", two)) >= 6
    assert [row["display_name"] for row in await rows(connection, "pwb_agencies")] == ["Costa", "Two", "Costa"]


@pytest.mark.parametrize("step", STEPS)
async def test_nothing_to_seed_asks_nothing(connection, packs, step):
    """No website, no statement."""
    counting = Counting(connection)
    assert await seed(packs(), step, counting) == {}
    assert counting.asked == []


async def test_scarcity_is_looked_up_once_for_all(connection, packs):
    """Packs that say too little cost one count and one insert of defaults, whatever the number of websites."""
    poor = {"links.yml": "- slug: a\n- slug: b\n"}
    library = packs(poor=poor, poorer={"links.yml": "- slug: a\n"})
    tenants = [await website(connection, f"w{n}", "poor" if n % 2 else "poorer") for n in range(4)]
    counting = Counting(connection)
    assert len(await seed(library, "links", counting, *tenants)) == 4
    first, count, last = counting.inserts()
    assert (first, last) == ("pwb_links", "pwb_links")
    assert count.startswith("SELECT asked.id,")


# ------------------------------------------------------------------------------------------------ defaults


@pytest.mark.parametrize("careful", [False, True])
@pytest.mark.parametrize(
    ("pack", "reason"),
    [
        ("missing", "there is no seed pack 'missing'; there are "),
        ("../mine", "'../mine' is no pack name"),
        ("broken", "broken/pack.yml, line 2: is not YAML: "),
    ],
)
async def test_a_pack_that_cannot_be_read_means_defaults(connection, packs, pack, reason, careful):
    """Exactly those of the mission, and each step says which pack and why; properties have none."""
    library = packs(broken={**PACK, "pack.yml": "name: [\n"})
    tenant = await website(connection, pack=pack)
    names = dict(zip(STEPS, ("agency", "links", "field_keys", "properties"), strict=True))
    for step in STEPS:
        fallbacks = await seed(library, step, connection, tenant, careful=careful)
        assert set(fallbacks) == {tenant.website_id}
        fallback = fallbacks[tenant.website_id]
        assert (fallback.pack, fallback.step, fallback.defaults) == (pack, names[step], step != "properties")
        assert fallback.reason.startswith(reason)
    [agency] = await rows(connection, "pwb_agencies", tenant)
    assert part(agency, "display_name", "email_primary") == ("Sunny Meadow 42", "owner@example.com")
    assert await links_of(connection, tenant) == DEFAULT_LINKS
    assert await keys_of(connection, tenant) == DEFAULT_KEYS
    assert await rows(connection, "pwb_realty_assets", tenant) == []


async def test_default_links_are_visible_and_in_order(connection, packs):
    """At the top, one after the other."""
    tenant = await website(connection, pack="missing")
    await seed(packs(), "links", connection, tenant)
    found = [part(row, "slug", "placement", "sort_order", "visible") for row in await rows(connection, "pwb_links")]
    assert sorted(found, key=lambda row: row[2]) == [
        (slug, 0, order, True) for order, slug in enumerate(DEFAULT_LINKS, start=1)
    ]


async def test_default_links_have_titles_and_routes(connection, packs):
    """By both the existing product's header shows a link; the pages are those that its own base pack links to."""
    tenant = await website(connection, pack="missing")
    await seed(packs(), "links", connection, tenant)
    found = await rows(connection, "pwb_links")
    routes = {row["slug"]: part(row, "page_slug", "link_path", "link_path_params") for row in found}
    assert routes == {
        "home": ("home", "home_path", None),
        "properties": ("buy", "buy_path", None),
        "about": ("about-us", "show_page_path", "about-us"),
        "contact": ("contact-us", "contact_us_path", None),
    }
    titles = {row["slug"]: row["translations"]["en"] for row in found}
    expected = {"home": "Home", "properties": "Buy", "about": "About us", "contact": "Contact"}
    assert titles == {slug: {"link_title": title} for slug, title in expected.items()}


async def test_a_bad_pack_among_good_ones_stays_alone(connection, packs):
    """Its website gets the defaults, the other one its pack."""
    library = packs(mine=PACK)
    bad, good = await website(connection, "bad", "missing"), await website(connection, "good", "mine")
    assert set(await seed(library, "links", connection, bad, good)) == {bad.website_id}
    assert await links_of(connection, bad) == DEFAULT_LINKS
    assert set(await links_of(connection, good)) == {"a", "b", "c"}


@pytest.mark.parametrize("careful", [False, True])
async def test_a_pack_with_two_links_falls_back(connection, packs, careful):
    """Its own two stay, the defaults come beside them, and the reason has the numbers."""
    library = packs(poor={"links.yml": "- {slug: a, link_url: /a}\n- {slug: home, link_url: /own}\n"})
    tenant = await website(connection, pack="poor")
    fallbacks = await seed(library, "links", connection, tenant, careful=careful)
    assert fallbacks == {tenant.website_id: Fallback("poor", "links", "poor has 2 links, need 3", defaults=True)}
    assert await links_of(connection, tenant) == {**DEFAULT_LINKS, "a": "/a", "home": "/own"}


@pytest.mark.parametrize("careful", [False, True])
async def test_a_strict_pack_with_two_links_stays_at_two(connection, packs, careful):
    """And says so: the guard will refuse, for a reason that history can tell."""
    library = packs(strict={"pack.yml": "fallback: false\n", "links.yml": "- slug: a\n- slug: b\n"})
    tenant = await website(connection, pack="strict")
    fallbacks = await seed(library, "links", connection, tenant, careful=careful)
    reason = "strict has 2 links, need 3, and its fallback is off"
    assert fallbacks == {tenant.website_id: Fallback("strict", "links", reason, defaults=False)}
    assert set(await links_of(connection, tenant)) == {"a", "b"}


async def test_a_strict_pack_that_says_nothing_adds_nothing(connection, packs):
    """No agency, no links, no field keys; and properties, which nothing needs, are no matter."""
    library = packs(strict={"pack.yml": "fallback: false\n"})
    tenant = await website(connection, pack="strict")
    told = [await seed(library, step, connection, tenant) for step in STEPS]
    reasons = [fallback.reason for fallbacks in told for fallback in fallbacks.values()]
    assert [reason.partition(",")[0] for reason in reasons] == [
        "strict has no agency",
        "strict has no links",
        "strict has no field_keys",
    ]
    assert not any(fallback.defaults for fallbacks in told for fallback in fallbacks.values())
    assert not any((await everything(connection)).values())


async def test_a_strict_pack_that_is_broken_adds_nothing(connection, packs):
    """Broken or not, it asked to stand alone."""
    library = packs(strict={"pack.yml": "fallback: false\ninherits_from: nobody\n"})
    tenant = await website(connection, pack="strict")
    for step in STEPS:
        [fallback] = (await seed(library, step, connection, tenant)).values()
        assert not fallback.defaults
    assert not any((await everything(connection)).values())


async def test_a_poor_pack_is_enough_where_the_rows_are_there(connection, packs):
    """Two of the pack and one that somebody made are three: nothing falls back."""
    library = packs(poor={"links.yml": "- slug: a\n- slug: b\n"})
    tenant = await website(connection, pack="poor")
    await connection.execute(
        "INSERT INTO pwb_links (website_id, slug, created_at, updated_at) VALUES ($1, 'own', now(), now())",
        tenant.website_id,
    )
    assert await seed(library, "links", connection, tenant) == {}
    assert set(await links_of(connection, tenant)) == {"a", "b", "own"}


async def test_a_pack_without_an_agency_falls_back(connection, packs):
    """The requirement needs one, and the default is the customer's own."""
    library = packs(bare={"links.yml": "- slug: a\n"})
    tenant = await website(connection, pack="bare")
    fallbacks = await seed(library, "agencies", connection, tenant)
    assert fallbacks == {tenant.website_id: Fallback("bare", "agency", "bare has no agency, need 1", defaults=True)}
    [row] = await rows(connection, "pwb_agencies", tenant)
    assert row["display_name"] == "Sunny Meadow 42"


# ------------------------------------------------------------------------------------------------ careful


async def test_careful_takes_back_a_pack_that_cannot_be_inserted(connection, packs):
    """Only that pack's: the defaults go in, the neighbour keeps its own, and the transaction goes on."""
    await connection.execute("ALTER TABLE pwb_links ADD CONSTRAINT no_poison CHECK (slug <> 'poison')")
    library = packs(mine=PACK, bad={"links.yml": "- slug: first\n- slug: poison\n- slug: third\n"})
    bad, good = await website(connection, "bad", "bad"), await website(connection, "good", "mine")
    async with connection.transaction():
        fallbacks = await library.seed(Trigger.COMPLETE_LINKS, connection, [bad, good], careful=True)
        assert await connection.fetchval("SELECT 1") == 1
    reason = "bad: cannot be inserted (CheckViolationError 23514)"
    assert fallbacks == {bad.website_id: Fallback("bad", "links", reason, defaults=True)}
    assert await links_of(connection, bad) == DEFAULT_LINKS
    assert set(await links_of(connection, good)) == {"a", "b", "c"}


async def test_careful_adds_no_defaults_to_a_strict_pack(connection, packs):
    """It is taken back and nothing takes its place."""
    await connection.execute("ALTER TABLE pwb_links ADD CONSTRAINT no_poison CHECK (slug <> 'poison')")
    library = packs(bad={"pack.yml": "fallback: false\n", "links.yml": "- slug: a\n- slug: b\n- slug: poison\n"})
    tenant = await website(connection, pack="bad")
    [fallback] = (await seed(library, "links", connection, tenant, careful=True)).values()
    assert not fallback.defaults
    assert "23514" in fallback.reason
    assert await links_of(connection, tenant) == {}


async def test_careful_takes_back_properties_whose_slug_is_taken(connection, packs):
    """Slugs are unique among all websites; the other step's rows of this transaction stay."""
    other, tenant = await website(connection, "other"), await website(connection, "mine", "mine")
    await connection.execute(
        "INSERT INTO pwb_realty_assets (website_id, reference, slug, created_at, updated_at) "
        "VALUES ($1, 'X', $2, now(), now())",
        other.website_id,
        f"b-2-{tenant.website_id}",
    )
    library = packs(mine=PACK)
    async with connection.transaction():
        assert await library.seed(Trigger.COMPLETE_LINKS, connection, [tenant], careful=True) == {}
        fallbacks = await library.seed(Trigger.SEED_PROPERTIES, connection, [tenant], careful=True)
    reason = "mine: cannot be inserted (UniqueViolationError 23505)"
    assert fallbacks == {tenant.website_id: Fallback("mine", "properties", reason, defaults=False)}
    assert await rows(connection, "pwb_realty_assets", tenant) == []
    assert await rows(connection, "pwb_sale_listings") == []
    assert set(await links_of(connection, tenant)) == {"a", "b", "c"}


async def test_references_that_make_the_same_slug_are_both_seeded(connection, packs):
    """A pack may tell its houses apart by what a slug cannot show."""
    files = {f"properties/{n}.yml": f"reference: '{name}'\n" for n, name in enumerate(("A-1", "a 1", "日本", "中国"))}
    tenant = await website(connection, pack="alike")
    assert await seed(packs(alike=files), "properties", connection, tenant, careful=True) == {}
    assert len(await rows(connection, "pwb_realty_assets", tenant)) == 4


async def test_without_care_a_failing_insert_is_the_callers(connection, packs):
    """Who rolls back, and halves the batch."""
    await connection.execute("ALTER TABLE pwb_links ADD CONSTRAINT no_poison CHECK (slug <> 'poison')")
    library = packs(bad={"links.yml": "- slug: poison\n"})
    tenant = await website(connection, pack="bad")
    with pytest.raises(asyncpg.CheckViolationError):
        await seed(library, "links", connection, tenant)
    assert await links_of(connection, tenant) == {}


async def test_a_lock_timeout_is_never_the_packs(connection, database_url, packs):
    """Careful or not it propagates: the website did nothing wrong, and must not get defaults for it."""
    tenant = await website(connection, pack="mine")
    library = packs(mine=PACK)
    other = await asyncpg.connect(database_url)
    try:
        async with connection.transaction():
            await library.seed(Trigger.COMPLETE_LINKS, connection, [tenant], careful=False)
            transaction = other.transaction()
            await transaction.start()
            await other.execute("SET LOCAL lock_timeout = '50ms'")
            with pytest.raises(asyncpg.LockNotAvailableError) as caught:
                await library.seed(Trigger.COMPLETE_LINKS, other, [tenant], careful=True)
            await transaction.rollback()
    finally:
        await other.close()
    assert caught.value.sqlstate == "55P03"
    assert set(await links_of(connection, tenant)) == {"a", "b", "c"}


# ------------------------------------------------------------------------------------------------ owners


async def request(connection, tenant, owner):
    """Keep on the website's row what its signup said of the owner."""
    await connection.execute(
        "UPDATE pwb_websites SET provisioning_request = $2::jsonb WHERE id = $1",
        tenant.website_id,
        json.dumps({"owner": owner}),
    )


async def users(connection):
    names = ("email", "first_names", "last_names", "website_id")
    return [part(row, *names) for row in await rows(connection, "pwb_users")]


async def memberships(connection):
    return [
        part(row, "user_id", "website_id", "role", "active") for row in await rows(connection, "pwb_user_memberships")
    ]


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("Ada Lovelace", "Ada", "Lovelace"),
        ("Ana María López", "Ana María", "López"),
        ("Cher", "Cher", None),
        ("  Ada   Lovelace  ", "Ada", "Lovelace"),
        ("   ", None, None),
        (None, None, None),
    ],
)
async def test_a_users_name_is_split(connection, name, first, last):
    """The last word is the last name; one word is a first name."""
    tenant = await website(connection)
    await insert_users(connection, [NamedOwner(tenant.website_id, "a@example.com", name)])
    assert await users(connection) == [("a@example.com", first, last, tenant.website_id)]


async def test_a_user_is_made_once(connection):
    """For two websites at once, and again later; a user that was there keeps its name."""
    one, two = await website(connection, "one"), await website(connection, "two")
    owners = [NamedOwner(tenant.website_id, "a@example.com", "Ada Lovelace") for tenant in (two, one)]
    await insert_users(connection, owners)
    await insert_users(connection, [NamedOwner(two.website_id, "a@example.com", "Somebody Else")])
    assert await users(connection) == [("a@example.com", "Ada", "Lovelace", one.website_id)]
    await insert_owner_memberships(connection, owners)
    assert sorted(row[1:] for row in await memberships(connection)) == [
        (one.website_id, "owner", True),
        (two.website_id, "owner", True),
    ]


async def test_what_the_website_kept_of_its_signup_wins(connection):
    """Over a later message, address and name alike; without a message too."""
    one, two = await website(connection, "one"), await website(connection, "two")
    await request(connection, one, {"email": "kept@example.com", "name": "Kept Owner"})
    await request(connection, two, {"email": "nameless@example.com"})
    await insert_users(
        connection,
        [NamedOwner(one.website_id, "late@example.com", "Late Comer"), NamedOwner(two.website_id, name="Late Comer")],
    )
    assert sorted(await users(connection)) == [
        ("kept@example.com", "Kept", "Owner", one.website_id),
        ("nameless@example.com", None, None, two.website_id),
    ]


async def test_a_signup_that_named_a_user_makes_none(connection):
    """The user exists or it does not; a message's address does not make another."""
    tenant = await website(connection)
    await request(connection, tenant, {"user_id": 7})
    await insert_users(connection, [NamedOwner(tenant.website_id, "late@example.com", "Late Comer")])
    assert await users(connection) == []


async def test_a_website_past_pending_makes_no_stray_user(connection):
    """Nor does one that is not there: a late duplicate leaves nothing behind."""
    tenant = await website(connection)
    await connection.execute("UPDATE pwb_websites SET provisioning_state = 'owner_assigned'")
    owners = [NamedOwner(tenant.website_id, "late@example.com"), NamedOwner(999_999, "nowhere@example.com")]
    await insert_users(connection, owners)
    assert await users(connection) == []


async def test_a_website_without_a_named_owner_makes_no_user(connection):
    """There is nobody to make."""
    tenant = await website(connection)
    await insert_users(connection, [NamedOwner(tenant.website_id)])
    await insert_owner_memberships(connection, [NamedOwner(tenant.website_id)])
    assert (await users(connection), await memberships(connection)) == ([], [])


async def test_of_users_who_differ_in_case_alone_one_becomes_the_owner(connection):
    """The existing product may have them: the one whose address is spelt as in the signup, else the oldest."""
    one, two = await website(connection, "one"), await website(connection, "two")
    await connection.execute("DROP INDEX index_pwb_users_on_lower_email")
    await connection.execute(
        "INSERT INTO pwb_users (id, email, created_at, updated_at) VALUES (501, 'Ana@example.com', now(), now()), "
        "(502, 'ana@example.com', now(), now())"
    )
    named = [NamedOwner(one.website_id, "ana@example.com"), NamedOwner(two.website_id, "ANA@example.com")]
    await insert_owner_memberships(connection, named)
    assert sorted(await memberships(connection)) == [
        (501, two.website_id, "owner", True),
        (502, one.website_id, "owner", True),
    ]


async def test_an_existing_user_becomes_the_owner(connection):
    """By its id, which wins over an address; one that does not exist makes no membership."""
    one, two = await website(connection, "one"), await website(connection, "two")
    await insert_users(connection, [NamedOwner(one.website_id, "a@example.com")])
    await insert_users(connection, [NamedOwner(two.website_id, "b@example.com")])
    ids = {row["email"]: row["id"] for row in await rows(connection, "pwb_users")}
    await insert_owner_memberships(
        connection,
        [
            NamedOwner(one.website_id, "b@example.com", user_id=ids["a@example.com"]),
            NamedOwner(two.website_id, user_id=999_999),
        ],
    )
    assert await memberships(connection) == [(ids["a@example.com"], one.website_id, "owner", True)]


@pytest.mark.parametrize(("role", "active"), [("member", True), ("owner", False), ("agent", False), ("owner", True)])
async def test_a_membership_is_raised_to_an_active_owner(connection, role, active):
    """The row that is there; one that is right already is not even touched."""
    tenant = await website(connection)
    await insert_users(connection, [NamedOwner(tenant.website_id, "a@example.com")])
    await connection.execute(
        "INSERT INTO pwb_user_memberships (user_id, website_id, role, active, created_at, updated_at) "
        "SELECT id, website_id, $1, $2, '2020-01-01', '2020-01-01' FROM pwb_users",
        role,
        active,
    )
    for _ in range(2):
        await insert_owner_memberships(connection, [NamedOwner(tenant.website_id, "a@example.com")])
    [row] = await rows(connection, "pwb_user_memberships")
    assert part(row, "role", "active") == ("owner", True)
    assert (row["updated_at"].year == 2020) is ((role, active) == ("owner", True))
    assert row["created_at"].year == 2020


async def test_an_agency_without_an_address_has_the_first_active_owners(connection, packs):
    """Members and owners who have left do not count."""
    tenant = await website(connection, owner_email=None)
    people = (("gone@x.example", "owner", False), ("agent@x.example", "agent", True), ("real@x.example", "owner", True))
    for email, role, active in (*people, ("second@x.example", "owner", True)):
        await connection.execute(
            "WITH u AS (INSERT INTO pwb_users (email, created_at, updated_at) VALUES ($1, now(), now()) RETURNING id) "
            "INSERT INTO pwb_user_memberships (user_id, website_id, role, active, created_at, updated_at) "
            "SELECT id, $2, $3, $4, now(), now() FROM u",
            email,
            tenant.website_id,
            role,
            active,
        )
    assert await seed(packs(), "agencies", connection, tenant) == {}
    assert [row["email_primary"] for row in await rows(connection, "pwb_agencies")] == ["real@x.example"]
