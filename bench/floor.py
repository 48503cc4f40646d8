"""The floor: what PostgreSQL alone does with these transitions, driven by pgbench, without Python and without a broker.

One website of each run is a model, brought there by the naive consumer; the script copies its rows for websites of its
own, step by step: one transaction a transition, in as many round trips as somebody needs who writes it by hand. With
`websites` above 1 each statement serves so many websites at once.
"""

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path

from bench.arena import NAIVE, NotExactError, Run, Servers, running
from bench.exactness import STEPS
from bench.naive import COMPLETE
from bench.naive import STEPS as WAY

CLIENTS = 8
MODEL = 2
"""A website of the warm-up, of the site type with the most rows."""
FIRST = 1_000_000
"""Where the ids of pgbench's own websites begin."""
TPS = re.compile(r"^tps = ([0-9.]+)", re.MULTILINE)

MINE = "id BETWEEN :first AND :last"
THEIRS = "website_id BETWEEN :first AND :last"
COPIES = {
    "pwb_agencies": "website_id, display_name, email_primary",
    "pwb_links": "website_id, slug, page_slug, link_path, link_path_params, link_url, placement, sort_order, visible, "
    "translations",
    "pwb_field_keys": "pwb_website_id, global_key, tag, visible, sort_order, translations",
}
ASSET = (
    "prop_type_key, prop_state_key, street_address, city, region, country, postal_code, latitude, longitude, "
    "count_bedrooms, count_bathrooms, count_garages, constructed_area, plot_area, year_construction"
)
LISTINGS = {
    "pwb_sale_listings": "price_sale_current_cents, price_sale_current_currency",
    "pwb_rental_listings": "price_rental_monthly_current_cents, price_rental_monthly_current_currency, "
    "for_rent_long_term, for_rent_short_term, furnished",
}


@dataclass(frozen=True, slots=True)
class Floor:
    """Transitions a second, and PostgreSQL's CPU milliseconds for each."""

    websites: int
    rate: float
    cpu_ms: float


async def floor(servers: Servers, *, websites: int, seconds: float) -> Floor:
    """Let pgbench do nothing but the database's share of the work, so many websites a transaction."""
    async with running(servers, NAIVE) as run:
        await run.stop()
        await run.connection.execute(f"CREATE SEQUENCE floor START {FIRST} INCREMENT {websites}")
        await run.connection.execute("ANALYZE")
        script = servers.folder / f"{run.database}.sql"
        script.write_text(_script())
        script.chmod(0o644)
        before = await _transitions(run)
        cpu = run.cpu()
        said = await _pgbench(servers, run, script, websites, seconds)
        used = run.cpu() - cpu
        done = await _transitions(run) - before
        if not (rate := TPS.search(said)):
            raise NotExactError(f"pgbench said nothing of its speed: {said[-500:]}")
        return Floor(websites, float(rate[1]) * STEPS * websites, used.postgres * 1000 / done)


async def _transitions(run: Run) -> int:
    found: int = await run.connection.fetchval("SELECT count(*) FROM provisioning_transitions")
    return found


async def _pgbench(servers: Servers, run: Run, script: Path, websites: int, seconds: float) -> str:
    process = await asyncio.create_subprocess_exec(
        str(servers.postgres.bin_dir / "pgbench"), "--no-vacuum", "--protocol=prepared", f"--client={CLIENTS}",
        "--jobs=2", f"--time={seconds:.0f}", f"--define=websites={websites}", f"--file={script}",
        servers.database_url(run.database),
        env={"LC_ALL": "C", "PGOPTIONS": "-c enable_seqscan=off"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await process.communicate()
    if process.returncode != 0:
        raise NotExactError(f"pgbench ended with {process.returncode}: {said.decode()[-500:]}")
    return said.decode()


def _script() -> str:
    """Return the way of some websites from pending to live, for pgbench."""
    guard = {
        "assign_owner": f"SELECT count(*) FROM pwb_user_memberships WHERE {THEIRS} AND role = 'owner' AND active;",
        "complete_agency": f"SELECT count(*) FROM pwb_agencies WHERE {THEIRS};",
        "complete_links": f"SELECT count(*) FROM pwb_links WHERE {THEIRS};",
        "complete_field_keys": f"SELECT count(*) FROM pwb_field_keys WHERE pwb_{THEIRS};",
    }
    everything = " ".join(guard.values())
    work = {
        "assign_owner": _owner(),
        "complete_agency": _copy("pwb_agencies"),
        "complete_links": _copy("pwb_links"),
        "complete_field_keys": _copy("pwb_field_keys"),
        "seed_properties": _properties(),
    }
    parts = ["SELECT nextval('floor') AS first \\gset", "\\set last :first + :websites - 1"]
    for seq, (trigger, step) in enumerate(WAY.items(), start=1):
        parts += [
            "BEGIN;",
            _register() if seq == 1 else "",
            f"SELECT subdomain, provisioning_state FROM pwb_websites WHERE {MINE} ORDER BY id FOR NO KEY UPDATE;",
            work.get(trigger, ""),
            everything if step.guard == COMPLETE else guard.get(trigger, ""),
            (
                f"UPDATE pwb_websites SET provisioning_state = '{step.after}', provisioning_seq = {seq}, "
                f"updated_at = now() WHERE {MINE};"
            ),
            (
                "INSERT INTO provisioning_transitions (website_id, seq, trigger, from_state, to_state, message_id) "
                f"SELECT id, {seq}, '{trigger}', '{step.before}', '{step.after}', gen_random_uuid() {_each()};"
            ),
            "COMMIT;",
        ]
    return "\n".join(filter(None, parts)) + "\n"


def _each() -> str:
    return "FROM generate_series((:first)::bigint, (:last)::bigint) AS id"


def _register() -> str:
    return (
        "INSERT INTO pwb_websites (id, subdomain, site_type, owner_email, created_at, updated_at) "
        f"SELECT id, 'floor-' || id, 'residential', id || '@example.com', now(), now() {_each()};"
    )


def _owner() -> str:
    return (
        "INSERT INTO pwb_users (email, first_names, last_names, website_id, created_at, updated_at) "
        f"SELECT id || '@example.com', 'Ana', 'Silva', id, now(), now() {_each()};\n"
        "INSERT INTO pwb_user_memberships (user_id, website_id, role, created_at, updated_at) "
        f"SELECT u.id, e.id, 'owner', now(), now() {_each().replace('AS id', 'AS e (id)')} "
        "JOIN pwb_users AS u ON lower(u.email) = e.id || '@example.com';"
    )


def _copy(table: str) -> str:
    key, _, columns = COPIES[table].partition(", ")
    return (
        (
            f"INSERT INTO {table} ({key}, {columns}, created_at, updated_at) "
            f"SELECT id, {columns}, now(), now() {_each()} JOIN (SELECT * FROM {table} WHERE {key} = {MODEL}) AS model "
            "ON true;"
        )
        .replace("SELECT id, ", "SELECT each.id, ")
        .replace("AS id JOIN", "AS each (id) JOIN")
    )


def _properties() -> str:
    each = _each().replace("AS id", "AS each (id)")
    model = f"(SELECT * FROM pwb_realty_assets WHERE website_id = {MODEL})"
    parts = [
        (
            f"INSERT INTO pwb_realty_assets (website_id, reference, slug, {ASSET}, created_at, updated_at) "
            f"SELECT each.id, reference, slug || '-' || each.id, {ASSET}, now(), now() {each} "
            f"JOIN {model} AS model ON true;"
        )
    ]
    for table, columns in LISTINGS.items():
        listing = ", ".join(f"listing.{column}" for column in f"{columns}, highlighted, translations".split(", "))
        parts.append(
            f"INSERT INTO {table} (realty_asset_id, active, visible, {columns}, highlighted, translations, created_at, "
            f"updated_at) SELECT mine.id, true, true, {listing}, now(), now() {each} "
            f"JOIN pwb_realty_assets AS mine ON mine.website_id = each.id JOIN {model} AS model "
            f"ON model.reference = mine.reference JOIN {table} AS listing ON listing.realty_asset_id = model.id;"
        )
    return "\n".join(parts)
