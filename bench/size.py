"""Whether a transition costs more where much is stored already: drains beside a thousand websites, and a million."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from bench.arena import SERVICE, Servers, administer, in_turn, make_schema
from bench.drain import Drain, drain
from bench.exactness import STEPS

SMALL, LARGE = 1_000, 1_000_000
"""Live websites that are there before a run, and as many rows of the log."""
WHOLE = 32
"""Of so many websites one has all that its pack gives it; the others have owner, agency and a row of the log."""
SPREAD = 1_024
"""Names that are there lie evenly between those that a run signs up: each signup finds its place in another page."""

STORED = f"""
-- No triggers, which refuse what is born live, and no look for the parent of each row.
SET session_replication_role = replica;
INSERT INTO pwb_websites (id, subdomain, site_type, owner_email, provisioning_state, provisioning_seq,
                          provisioning_published_seq, provisioning_due_at, provisioning_started_at,
                          provisioning_completed_at, created_at, updated_at)
SELECT n, 'sunny-meadow-' || {{count}} + n % {SPREAD} || '-' || n, 'residential',
       'owner-' || {{count}} + n % {SPREAD} || '-' || n || '@example.com', 'live', {STEPS}, {STEPS}, NULL, now(), now(),
       now(), now()
  FROM generate_series(1, {{count}}) AS n;
INSERT INTO provisioning_transitions (website_id, seq, trigger, from_state, to_state, message_id, detail)
SELECT n, {STEPS}, 'go_live', 'ready', 'live', gen_random_uuid(),
       jsonb_build_object('subdomain', 'sunny-meadow-' || n, 'progress', 100, 'message', 'The website is live.')
  FROM generate_series(1, {{count}}) AS n;
INSERT INTO pwb_users (id, email, first_names, last_names, website_id, created_at, updated_at)
SELECT id, owner_email, 'Ana', 'Silva', id, now(), now() FROM pwb_websites;
SELECT setval(pg_get_serial_sequence('pwb_users', 'id'), {{count}});
INSERT INTO pwb_user_memberships (user_id, website_id, role, created_at, updated_at)
SELECT id, id, 'owner', now(), now() FROM pwb_websites;
INSERT INTO pwb_agencies (website_id, display_name, email_primary, created_at, updated_at)
SELECT id, subdomain, owner_email, now(), now() FROM pwb_websites;
INSERT INTO pwb_links (website_id, slug, page_slug, link_path, placement, sort_order, created_at, updated_at)
SELECT id, 'link-' || k, 'page-' || k, 'show_page_path', k % 4, k, now(), now()
  FROM pwb_websites, generate_series(1, 12) AS k WHERE id % {WHOLE} = 0;
INSERT INTO pwb_field_keys (pwb_website_id, global_key, tag, sort_order, created_at, updated_at)
SELECT id, 'propertyTypes.key' || k, 'property-types', k, now(), now()
  FROM pwb_websites, generate_series(1, 40) AS k WHERE id % {WHOLE} = 0;
INSERT INTO pwb_realty_assets (website_id, reference, slug, prop_type_key, city, country, created_at, updated_at)
SELECT id, 'ref-' || k, 'house-' || k || '-' || id, 'propertyTypes.key1', 'Malaga', 'ES', now(), now()
  FROM pwb_websites, generate_series(1, 6) AS k WHERE id % {WHOLE} = 0;
INSERT INTO pwb_sale_listings (realty_asset_id, active, visible, price_sale_current_cents, created_at, updated_at)
SELECT id, true, true, 35000000, now(), now() FROM pwb_realty_assets WHERE reference <= 'ref-3';
INSERT INTO pwb_rental_listings
       (realty_asset_id, active, visible, price_rental_monthly_current_cents, created_at, updated_at)
SELECT id, true, true, 120000, now(), now() FROM pwb_realty_assets WHERE reference > 'ref-3';
"""
NO_AUTOVACUUM = """
DO $$
DECLARE
    t regclass;
BEGIN
    FOR t IN SELECT oid FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace LOOP
        EXECUTE format('ALTER TABLE %s SET (autovacuum_enabled = off)', t);
    END LOOP;
END
$$
"""
"""In the middle of a run it would be somebody's bad luck, and mostly of the small database's (docs/decisions/0021)."""


@asynccontextmanager
async def filled(servers: Servers, websites: int) -> AsyncIterator[str]:
    """Lend the name of a database with so many websites, for runs to copy. Statistics and disk are as at rest."""
    database = f"bench_filled_{secrets.token_hex(4)}"
    await administer(servers, f"CREATE DATABASE {database}")
    try:
        connection = await asyncpg.connect(servers.database_url(database))
        try:
            await make_schema(servers.database_url(database))
            await connection.execute(NO_AUTOVACUUM)
            await connection.execute(STORED.format(count=websites))
            await connection.execute("VACUUM ANALYZE")
            await connection.execute("CHECKPOINT")
        finally:
            await connection.close()
        yield database
    finally:
        await administer(servers, f"DROP DATABASE {database} WITH (FORCE)")


async def sizes(servers: Servers, repeats: int, websites: int) -> AsyncIterator[Drain]:
    """Let the service work the same queue off beside little and beside much, in turn."""
    async with filled(servers, SMALL) as small, filled(servers, LARGE) as large:
        stored = {f"{SMALL:,} websites": small, f"{LARGE:,} websites": large}
        for contestant in in_turn([SERVICE.having(name) for name in stored], repeats):
            yield await drain(servers, contestant, websites, template=stored[contestant.name])
