"""The existing product's database: the tables that matter here, a row in each of its states, and its operations, each
as the statements of one transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RELEASED = Path(__file__).parent / "released" / "schema_0.1.0.sql"
STATES = (
    "pending", "owner_assigned", "agency_created", "links_created", "field_keys_created", "properties_seeded", "ready",
    "locked_pending_email_verification", "locked_pending_registration", "live", "failed", "suspended", "terminated",
)  # fmt: skip
ROLE = "product_of_the_test"
"""By which the product itself connects."""
IDS = {state: number for number, state in enumerate(STATES, 1)}
"""The website in each state."""
LOCKED = STATES[7:9]
CHAIN = STATES[:7]

SCHEMA = """
CREATE TABLE pwb_websites (
    id serial PRIMARY KEY, subdomain varchar, slug varchar, company_display_name varchar, theme_name varchar,
    default_currency varchar DEFAULT 'EUR', site_type varchar, seed_pack_name varchar, owner_email varchar,
    provisioning_state varchar NOT NULL DEFAULT 'live', provisioning_started_at timestamp(6),
    provisioning_completed_at timestamp(6), provisioning_failed_at timestamp(6), provisioning_error text,
    email_verification_token varchar, email_verification_token_expires_at timestamp(6), email_verified_at timestamp(6),
    realty_assets_count integer NOT NULL DEFAULT 0, flags integer NOT NULL DEFAULT 0, configuration json DEFAULT '{}',
    created_at timestamp NOT NULL, updated_at timestamp NOT NULL);
CREATE INDEX index_pwb_websites_on_provisioning_state ON pwb_websites (provisioning_state);
CREATE INDEX index_pwb_websites_on_slug ON pwb_websites (slug);
CREATE UNIQUE INDEX index_pwb_websites_on_subdomain ON pwb_websites (subdomain);
CREATE UNIQUE INDEX index_pwb_websites_on_email_verification_token
    ON pwb_websites (email_verification_token) WHERE email_verification_token IS NOT NULL;
CREATE TABLE pwb_users (
    id serial PRIMARY KEY, email varchar NOT NULL DEFAULT '', encrypted_password varchar NOT NULL DEFAULT '',
    first_names varchar, last_names varchar, website_id integer, onboarding_state varchar NOT NULL DEFAULT 'active',
    created_at timestamp NOT NULL, updated_at timestamp NOT NULL);
CREATE UNIQUE INDEX index_pwb_users_on_email ON pwb_users (email);
CREATE TABLE pwb_user_memberships (
    id bigserial PRIMARY KEY, active boolean NOT NULL DEFAULT true, role varchar NOT NULL DEFAULT 'member',
    user_id bigint NOT NULL REFERENCES pwb_users, website_id bigint NOT NULL REFERENCES pwb_websites,
    created_at timestamp(6) NOT NULL, updated_at timestamp(6) NOT NULL);
CREATE UNIQUE INDEX index_user_memberships_on_user_and_website ON pwb_user_memberships (user_id, website_id);
CREATE INDEX index_pwb_user_memberships_on_website_id ON pwb_user_memberships (website_id);
CREATE TABLE pwb_agencies (
    id serial PRIMARY KEY, display_name varchar, company_name varchar, email_primary varchar,
    phone_number_primary varchar, website_id integer, created_at timestamp NOT NULL, updated_at timestamp NOT NULL);
CREATE INDEX index_pwb_agencies_on_website_id ON pwb_agencies (website_id);
CREATE TABLE pwb_links (
    id serial PRIMARY KEY, website_id integer, slug varchar, link_path varchar, link_path_params varchar,
    link_url varchar, page_slug varchar, placement integer DEFAULT 0, sort_order integer DEFAULT 0,
    visible boolean DEFAULT true, translations jsonb NOT NULL DEFAULT '{}',
    created_at timestamp NOT NULL, updated_at timestamp NOT NULL);
CREATE UNIQUE INDEX index_pwb_links_on_website_id_and_slug ON pwb_links (website_id, slug);
CREATE TABLE pwb_field_keys (
    id serial PRIMARY KEY, global_key varchar, tag varchar, pwb_website_id bigint REFERENCES pwb_websites,
    visible boolean DEFAULT true, sort_order integer DEFAULT 0, translations jsonb NOT NULL DEFAULT '{}',
    created_at timestamp NOT NULL, updated_at timestamp NOT NULL);
CREATE UNIQUE INDEX index_field_keys_unique_per_website ON pwb_field_keys (pwb_website_id, global_key);
CREATE TABLE pwb_realty_assets (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), website_id integer REFERENCES pwb_websites, reference varchar,
    slug varchar, prop_type_key varchar, prop_state_key varchar, street_address varchar, city varchar, region varchar,
    country varchar, postal_code varchar, latitude float, longitude float, count_bedrooms integer DEFAULT 0,
    count_bathrooms float DEFAULT 0, count_garages integer DEFAULT 0, constructed_area float DEFAULT 0,
    plot_area float DEFAULT 0, year_construction integer DEFAULT 0, translations jsonb NOT NULL DEFAULT '{}',
    prop_photos_count integer NOT NULL DEFAULT 0, created_at timestamp(6) NOT NULL, updated_at timestamp(6) NOT NULL);
CREATE UNIQUE INDEX index_pwb_realty_assets_on_slug ON pwb_realty_assets (slug);
CREATE INDEX index_pwb_realty_assets_on_website_id ON pwb_realty_assets (website_id);
CREATE TABLE pwb_sale_listings (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), realty_asset_id uuid REFERENCES pwb_realty_assets,
    active boolean NOT NULL DEFAULT false, visible boolean DEFAULT false, highlighted boolean DEFAULT false,
    archived boolean DEFAULT false, price_sale_current_cents bigint DEFAULT 0,
    price_sale_current_currency varchar DEFAULT 'EUR', translations jsonb NOT NULL DEFAULT '{}',
    created_at timestamp(6) NOT NULL, updated_at timestamp(6) NOT NULL);
CREATE UNIQUE INDEX index_pwb_sale_listings_unique_active
    ON pwb_sale_listings (realty_asset_id, active) WHERE (active = true);
CREATE TABLE pwb_rental_listings (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), realty_asset_id uuid REFERENCES pwb_realty_assets,
    active boolean NOT NULL DEFAULT false, visible boolean DEFAULT false, highlighted boolean DEFAULT false,
    archived boolean DEFAULT false, for_rent_long_term boolean DEFAULT false, for_rent_short_term boolean DEFAULT false,
    furnished boolean DEFAULT false, price_rental_monthly_current_cents bigint DEFAULT 0,
    price_rental_monthly_current_currency varchar DEFAULT 'EUR', translations jsonb NOT NULL DEFAULT '{}',
    created_at timestamp(6) NOT NULL, updated_at timestamp(6) NOT NULL);
CREATE UNIQUE INDEX index_pwb_rental_listings_unique_active
    ON pwb_rental_listings (realty_asset_id, active) WHERE (active = true);
CREATE TABLE pwb_features (
    id serial PRIMARY KEY, feature_key varchar, realty_asset_id uuid REFERENCES pwb_realty_assets,
    created_at timestamp NOT NULL, updated_at timestamp NOT NULL);
CREATE INDEX index_pwb_features_on_realty_asset_id_and_feature_key ON pwb_features (realty_asset_id, feature_key);
CREATE TABLE pwb_prop_photos (
    id serial PRIMARY KEY, realty_asset_id uuid REFERENCES pwb_realty_assets, sort_order integer, external_url varchar,
    created_at timestamp NOT NULL, updated_at timestamp NOT NULL);
CREATE INDEX index_pwb_prop_photos_on_realty_asset_id ON pwb_prop_photos (realty_asset_id);
CREATE MATERIALIZED VIEW pwb_properties AS
    SELECT a.id, a.website_id, a.reference, a.slug,
           coalesce(sl.visible, false) AND NOT coalesce(sl.archived, true) AS for_sale,
           coalesce(rl.visible, false) AND NOT coalesce(rl.archived, true) AS for_rent,
           coalesce(rl.for_rent_short_term, false) AS for_rent_short_term,
           coalesce(rl.for_rent_long_term, false) AS for_rent_long_term
      FROM pwb_realty_assets AS a
      LEFT JOIN pwb_sale_listings AS sl ON sl.realty_asset_id = a.id AND sl.active
      LEFT JOIN pwb_rental_listings AS rl ON rl.realty_asset_id = a.id AND rl.active;
CREATE UNIQUE INDEX index_pwb_properties_on_id ON pwb_properties (id);
CREATE TABLE pwb_subdomains (
    id bigserial PRIMARY KEY, name varchar NOT NULL, aasm_state varchar NOT NULL DEFAULT 'available',
    reserved_by_email varchar, reserved_at timestamp(6), reserved_until timestamp(6),
    website_id bigint REFERENCES pwb_websites, created_at timestamp(6) NOT NULL, updated_at timestamp(6) NOT NULL);
CREATE UNIQUE INDEX index_pwb_subdomains_on_name ON pwb_subdomains (name);
"""
TABLES = (
    "pwb_websites", "pwb_users", "pwb_user_memberships", "pwb_agencies", "pwb_links", "pwb_field_keys",
    "pwb_realty_assets", "pwb_subdomains",
)  # fmt: skip
"""Those that the operations write to."""

AT = "'2026-11-30 10:00:00'"
LATER = "'2026-11-30 11:00:00'"

ROWS = f"""
INSERT INTO pwb_users (email, created_at, updated_at) VALUES ('owner@example.com', {AT}, {AT});
INSERT INTO pwb_websites (subdomain, slug, site_type, seed_pack_name, owner_email, provisioning_state, created_at,
                          updated_at)
SELECT 'site-' || number, 'site-' || number, 'residential', 'base', 'owner@example.com', state, {AT}, {AT}
  FROM unnest($1::text[]) WITH ORDINALITY AS website (state, number) ORDER BY number
"""
FURNISHED = f"""
UPDATE pwb_websites SET provisioning_error = 'old', provisioning_failed_at = {AT}
 WHERE provisioning_state IN ('failed', 'terminated');
INSERT INTO pwb_user_memberships (user_id, website_id, role, created_at, updated_at)
SELECT 1, id, 'owner', {AT}, {AT} FROM pwb_websites;
INSERT INTO pwb_agencies (website_id, display_name, created_at, updated_at)
SELECT id, 'Homes', {AT}, {AT} FROM pwb_websites;
INSERT INTO pwb_links (website_id, slug, created_at, updated_at)
SELECT id, 'link-' || n, {AT}, {AT} FROM pwb_websites, generate_series(1, 3) AS n;
INSERT INTO pwb_field_keys (pwb_website_id, global_key, created_at, updated_at)
SELECT id, 'key-' || n, {AT}, {AT} FROM pwb_websites, generate_series(1, 5) AS n
"""


@dataclass(frozen=True, slots=True)
class Operation:
    """One of the product's operations: the statements of its transaction, in order; {id} is the website."""

    number: int
    name: str
    sources: Sequence[str]
    """The states from which the product does it; none: it inserts."""
    statements: Sequence[str]


def moved(state: str, more: str = "") -> str:
    """Return the first statement of an event of the product's state machine."""
    return f"UPDATE pwb_websites SET provisioning_state = '{state}', updated_at = {LATER}{more} WHERE id = {{id}}"


def changed(columns: str) -> str:
    """Return what a callback writes after it."""
    return f"UPDATE pwb_websites SET {columns}, updated_at = {LATER} WHERE id = {{id}}"


def born(columns: str, values: str) -> str:
    """Return how the product inserts a website."""
    return (
        f"INSERT INTO pwb_websites (subdomain, {columns}, created_at, updated_at) VALUES ('new', {values}, {AT}, {AT})"
    )


STARTED = f"provisioning_started_at = {LATER}"
FAILED = f"provisioning_error = 'Its own step failed', provisioning_failed_at = {LATER}"
NEWEST = "(SELECT max(id) FROM pwb_websites)"
CHILD = f"{{id}}, {LATER}, {LATER}"
OPERATIONS = (
    *(Operation(1, f"born {state}", (), [born("provisioning_state", f"'{state}'")]) for state in STATES),
    Operation(2, "added without a state", (), [born("theme_name", "'berlin'")]),
    Operation(3, "reserve", (), [
        born("provisioning_state, site_type, seed_pack_name, owner_email", "'pending', NULL, 'base', 'b@example.com'"),
        f"""INSERT INTO pwb_user_memberships (user_id, website_id, role, created_at, updated_at)
            VALUES (1, {NEWEST}, 'owner', {AT}, {AT})""",
        f"""INSERT INTO pwb_subdomains (name, aasm_state, reserved_by_email, reserved_until, created_at, updated_at)
            VALUES ('new', 'reserved', 'b@example.com', {LATER}, {AT}, {AT})""",
    ]),
    Operation(4, "configure", ["pending"], [moved("owner_assigned"), changed(STARTED)]),
    Operation(5, "agency", ["owner_assigned"], [
        f"UPDATE pwb_agencies SET display_name = 'Other', updated_at = {LATER} WHERE website_id = {{id}}",
        moved("agency_created"),
    ]),
    Operation(6, "links", ["agency_created"], [
        f"INSERT INTO pwb_links (slug, website_id, created_at, updated_at) VALUES ('more', {CHILD})",
        moved("links_created"),
    ]),
    Operation(7, "field keys", ["links_created"], [
        f"INSERT INTO pwb_field_keys (global_key, pwb_website_id, created_at, updated_at) VALUES ('more', {CHILD})",
        moved("field_keys_created"),
    ]),
    Operation(8, "properties", ["field_keys_created"], [
        f"""INSERT INTO pwb_realty_assets (id, slug, website_id, created_at, updated_at)
            VALUES ('11111111-1111-1111-1111-111111111111', 'house', {CHILD})""",
        moved("properties_seeded"),
    ]),
    Operation(9, "no properties", ["field_keys_created"], [moved("properties_seeded")]),
    Operation(10, "ready", ["properties_seeded"], [moved("ready"), changed(f"provisioning_completed_at = {LATER}")]),
    Operation(11, "enter_locked_state", ["ready"], [
        moved("locked_pending_email_verification"),
        changed(f"email_verification_token = 'x', email_verification_token_expires_at = {LATER}"),
    ]),
    Operation(12, "verify_owner_email", LOCKED[:1], [
        moved("locked_pending_registration"), changed(f"email_verified_at = {LATER}"),
    ]),
    Operation(13, "complete_owner_registration", LOCKED[1:], [moved("live")]),
    Operation(14, "go_live", ["ready", *LOCKED], [moved("live")]),
    Operation(15, "fail_provisioning", CHAIN[:-1], [moved("failed"), changed(FAILED)]),
    Operation(16, "rescue", [*CHAIN, *LOCKED], [moved("failed", ", provisioning_error = 'Its own step failed'")]),
    Operation(17, "retry_provisioning", ["failed"], [
        moved("pending"), changed("provisioning_error = NULL, provisioning_failed_at = NULL"),
    ]),
    Operation(18, "terminate a failed one", ["failed"], [moved("terminated")]),
    Operation(19, "suspend", ["ready", "live", *LOCKED], [moved("suspended")]),
    Operation(19, "reactivate", ["suspended"], [moved("live")]),
    Operation(19, "terminate", ["suspended"], [moved("terminated")]),
    Operation(20, "change anything", STATES, [changed("theme_name = 'paris', company_display_name = 'Title'")]),
    Operation(21, "a second agency", ["live"], [
        f"INSERT INTO pwb_agencies (display_name, website_id, created_at, updated_at) VALUES ('Second', {CHILD})",
    ]),
    Operation(22, "delete", STATES, [
        f"DELETE FROM {table} WHERE {column} = {{id}}"
        for table, column in (("pwb_user_memberships", "website_id"), ("pwb_agencies", "website_id"),
                              ("pwb_links", "website_id"), ("pwb_field_keys", "pwb_website_id"), ("pwb_websites", "id"))
    ]),
)  # fmt: skip
"""All but #23, serialising a website, which sends nothing but reads each column by its name."""
CASES = [(operation, state) for operation in OPERATIONS for state in operation.sources or (None,)]
NAMES = [f"{operation.number}-{operation.name}-{state or 'new'}".replace(" ", "_") for operation, state in CASES]
EVENTS = {
    "assign_owner", "complete_agency", "complete_links", "complete_field_keys", "seed_properties", "skip_properties",
    "mark_ready", "enter_locked_state", "verify_owner_email", "complete_owner_registration", "go_live",
    "fail_provisioning", "retry_provisioning", "suspend", "reactivate", "terminate",
}  # fmt: skip
"""Of its state machine: a column of such a name fires the event when the website is serialised."""


async def fill(connection: Any) -> None:
    """Make the product's tables, and a website in each of its states, with all that a live one needs."""
    await connection.execute(SCHEMA)
    first, second = ROWS.split(";\n", 1)
    await connection.execute(first.replace(";", ""))
    await connection.execute(second, list(STATES))
    await connection.execute(FURNISHED)


async def make_role(connection: Any, name: str) -> None:
    """Make the role by which the product itself connects: it knows nothing of this service's tables."""
    if not await connection.fetchval("SELECT count(*) FROM pg_roles WHERE rolname = $1", name):
        await connection.execute(f"CREATE ROLE {name}")
    await connection.execute(f"GRANT USAGE ON SCHEMA public TO {name}")
    for table in await connection.fetch("SELECT tablename FROM pg_tables WHERE tablename LIKE 'pwb\\_%'"):
        await connection.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table[0]} TO {name}")
    await connection.execute(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {name}")


async def carry_out(connection: Any, role: str, operation: Operation, website_id: int | None) -> None:
    """Do what the product does, as its role, in one transaction."""
    async with connection.transaction():
        await connection.execute(f"SET LOCAL ROLE {role}")
        for statement in operation.statements:
            await connection.execute(statement.format(id=website_id))
        await connection.execute("RESET ROLE")


async def picture(connection: Any, columns: Mapping[str, Sequence[str]]) -> dict[str, list[tuple[Any, ...]]]:
    """Return what is in the product's tables, by the columns that it knows."""
    return {
        table: [tuple(row) for row in await connection.fetch(f"SELECT {', '.join(names)} FROM {table} ORDER BY id")]
        for table, names in columns.items()
    }


async def columns_of(connection: Any) -> dict[str, list[str]]:
    """Return the columns of the product's tables, as they are now."""
    rows = await connection.fetch(
        """SELECT table_name, column_name FROM information_schema.columns
            WHERE table_name = ANY ($1) ORDER BY table_name, ordinal_position""",
        list(TABLES),
    )
    return {table: [row["column_name"] for row in rows if row["table_name"] == table] for table in TABLES}
