"""Checks PostgreSQL: version, durability, rights, connections, timeouts, clock."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from consumer.addresses.database import Pooler
from consumer.config import Settings
from consumer.store.database import Store
from ops.doctor.findings import Area, Finding
from seeders.sql_loader import read_statements

SQL = read_statements("ops.doctor.sql")

AREA = Area("database")
OLDEST_VERSION = 140000
"""CREATE OR REPLACE TRIGGER came with 14."""
MAX_SKEW_SECONDS = 2.0
LONG_TRANSACTION_SECONDS = 300.0
READ_AND_INSERTED = (
    "pwb_users", "pwb_agencies", "pwb_links", "pwb_field_keys", "pwb_realty_assets", "pwb_sale_listings",
    "pwb_rental_listings", "provisioning_transitions",
)  # fmt: skip
NEEDED_RIGHTS = dict.fromkeys(READ_AND_INSERTED, ("SELECT", "INSERT")) | {
    "pwb_websites": ("SELECT", "INSERT", "UPDATE"),
    "pwb_user_memberships": ("SELECT", "INSERT", "UPDATE"),
    "pwb_features": ("SELECT", "INSERT"),
    "pwb_prop_photos": ("SELECT", "INSERT"),
    "provisioning_operator_actions": ("SELECT", "INSERT", "UPDATE"),
    "provisioning_action_items": ("SELECT", "INSERT", "UPDATE"),
    "provisioning_pruned": ("SELECT",),
    "provisioning_workers": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "provisioning_pauses": ("SELECT", "INSERT", "DELETE"),
    "provisioning_rejections": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "provisioning_sessions": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "provisioning_dead_letters": ("SELECT", "INSERT", "DELETE"),
    "provisioning_dead_letter_readings": ("SELECT", "INSERT", "UPDATE"),
}
"""The rights that workers and tools need on each table that is there."""


async def check_database(store: Store, settings: Settings, live_workers: int | None) -> list[Finding]:
    """Return findings about the server. `live_workers`: None where they could not be read."""
    async with store.connection() as connection:
        before = time.time()
        server = await connection.fetchrow(SQL["server_settings"])
        after = time.time()
    return [
        *_server_settings(server),
        *_durability(server),
        _session_timeouts(server, settings),
        _connections(server, settings, live_workers),
        _clock_skew(server["clock"], before, after),
    ]


def _server_settings(server: Mapping[str, Any]) -> Iterator[Finding]:
    if server["version_number"] < OLDEST_VERSION:
        yield AREA.fail("version", server["version"], "14 or newer", "upgrade PostgreSQL")
    else:
        yield AREA.ok("version", f"PostgreSQL {server['version']}", "14 or newer")
    if server["standby"] or server["read_only"] == "on":
        have = "a standby" if server["standby"] else "default_transaction_read_only is on"
        yield AREA.fail("writable", have, "the primary", "point PROVISIONER_DATABASE_URL at the primary")
    if server["encoding"] != "UTF8":
        yield AREA.fail("encoding", server["encoding"], "UTF8", "make a database with ENCODING UTF8 and move to it")
    if server["superuser"]:
        yield AREA.warn("role", f"{server['role']}, a superuser", "a role of its own", "make one: docs/security.md")
    if server["autovacuum"] != "on":
        yield AREA.warn("autovacuum", "off", "on", "turn it on: every transition leaves a dead row version")
    oldest = server["oldest_transaction_seconds"]
    if oldest is not None and oldest > LONG_TRANSACTION_SECONDS:
        yield AREA.warn(
            "long transactions", f"one is open for {oldest:.0f} s", f"at most {LONG_TRANSACTION_SECONDS:.0f} s",
            "find it in pg_stat_activity (xact_start): it keeps locks, and dead rows from being removed",
        )  # fmt: skip


def _durability(server: Mapping[str, Any]) -> Iterator[Finding]:
    off = [name for name in ("fsync", "full_page_writes") if server[name] != "on"]
    if off:
        have, then = " and ".join(f"{name} is off" for name in off), "turn it on: a power cut may corrupt everything"
        yield AREA.fail("durability", have, "on", then)
    elif server["synchronous_commit"] == "off":
        then = "a crash loses the last commits, whose messages are acked and whose events are out: turn it on"
        yield AREA.warn("durability", "synchronous_commit is off", "on", then)
    else:
        yield AREA.ok("durability", f"fsync on, synchronous_commit {server['synchronous_commit']}")


def _session_timeouts(server: Mapping[str, Any], settings: Settings) -> Finding:
    """Check whether the session has the timeouts of the settings; a pooler in between may drop them."""
    wrong = [
        f"{name} is {server[name]:g} s, not {getattr(settings, name):g} s"
        for name in ("lock_timeout_seconds", "statement_timeout_seconds", "idle_transaction_seconds")
        if abs(server[name] - getattr(settings, name)) > 0.001  # noqa: PLR2004 - a millisecond
    ]
    if wrong:
        then = "set PROVISIONER_POOLER to the pool_mode of the pooler: one between drops start-up parameters"
        return AREA.fail("timeouts", "; ".join(wrong), "as the settings say", then)
    if server["idle_session_seconds"]:
        have = f"idle_session_timeout is {server['idle_session_seconds']:g} s"
        then = "ALTER ROLE … SET idle_session_timeout = 0: idle pool connections are cut, which pauses workers"
        return AREA.warn("timeouts", have, "0", then)
    limit = server["transaction_seconds"]
    if limit and limit < settings.step_timeout_seconds:
        need = f"0, or step_timeout_seconds, {settings.step_timeout_seconds:g} s"
        then = "ALTER ROLE … SET transaction_timeout = 0"
        return AREA.warn("timeouts", f"transaction_timeout is {limit:g} s", need, then)
    return AREA.ok("timeouts", "lock, statement and idle transaction as the settings say")


def _connections(server: Mapping[str, Any], settings: Settings, live_workers: int | None) -> Finding:
    limits = [server[name] for name in ("connections", "database_limit", "role_limit") if server[name] >= 0]
    limit, pool = min(limits), settings.pool_size
    others = max(0, server["connected"] - server["connected_ours"])
    needed = others + (live_workers or 0) * pool
    have = f"{limit} for everybody, {server['connected']} used now"
    if settings.pools_transactions:
        return AREA.ok("connections", have, "what the pooler opens: its default_pool_size, for each user and database")
    pools = f"{live_workers or 0} workers with pools of {pool}, by this host's settings"
    need = f"{needed}: {others} of others, and {pools}"
    if needed > limit or server["connected"] >= limit:
        return AREA.warn("connections", have, need, "raise max_connections, or lower PROVISIONER_CONCURRENCY")
    return AREA.ok("connections", have, need)


def _clock_skew(clock: float, before: float, after: float) -> Finding:
    """Compare the clocks, as exactly as the time that the query took allows."""
    skew = clock - after if clock > after else clock - before if clock < before else 0.0
    have = f"{abs(skew):.2f} s {'ahead of' if skew > 0 else 'behind'} this host" if skew else "as this host's"
    need = f"within {MAX_SKEW_SECONDS:g} s"
    if abs(skew) > MAX_SKEW_SECONDS:
        return AREA.warn("clock", have, need, "set both by NTP: due times are the database's, log times the hosts'")
    return AREA.ok("clock", f"{have} (asked in {(after - before) * 1000:.0f} ms)", need)


async def check_pooler(store: Store) -> Finding:
    """Return what stands between, which the store compared with the settings when it connected."""
    if store.pooler is not Pooler.TRANSACTION:
        between = "none, this is PostgreSQL itself" if store.pooler is Pooler.NONE else "one in session mode"
        return AREA.ok("pooler", between)
    async with store.connection() as connection:
        direct, kept = await connection.is_direct(), connection.keeps_statements
    if direct:
        have = "none, this is PostgreSQL itself, and PROVISIONER_POOLER is transaction"
        return AREA.warn(
            "pooler", have, "none", "unset it, and pgbouncer=true: each statement costs two exchanges more"
        )
    statements = "prepared statements are kept" if kept else "prepared statements are not kept, each is parsed anew"
    have = f"one in transaction mode, {statements}; `provisioner init` has to connect past it"
    return AREA.ok("pooler", have, "" if kept else "PgBouncer 1.21 or newer with max_prepared_statements saves that")


async def check_rights(store: Store) -> list[Finding]:
    """Return whether a role that is none of the four has the rights that workers and tools need together."""
    pairs = [(table, privilege) for table, privileges in NEEDED_RIGHTS.items() for privilege in privileges]
    async with store.connection() as connection:
        lacking = await connection.fetch(SQL["lacking_rights"], [t for t, _ in pairs], [p for _, p in pairs])
    finding = AREA.fail_or_ok(
        "rights", [f"{row['privilege']} on {row['name']}" for row in lacking], "all that workers and tools need",
        "all of these", "GRANT them to the role in PROVISIONER_DATABASE_URL, or use the roles of docs/security.md",
    )  # fmt: skip
    return [finding]


async def check_locks(store: Store, settings: Settings) -> list[Finding]:
    """Return a finding if a session keeps everybody from a table, for longer than anybody waits for a lock."""
    async with store.connection() as connection:
        found = await connection.fetch(SQL["blocking_sessions"], list(NEEDED_RIGHTS), settings.lock_timeout_seconds)
    held = [
        f"{row['name']} {'is locked' if row['granted'] else 'waits to be locked'} by process {row['pid']}, {row['who']}"
        + (f" ({row['seconds']:.0f} s)" if row["seconds"] is not None else "")
        for row in found
    ]
    if not held:
        return []
    then = "wait until it is done, if it is a migration; else pg_stat_activity shows it, pg_terminate_backend ends it"
    return [AREA.away("locks", "; ".join(held), "tables that can be read", then)]
