"""Whether the service can stand on this PostgreSQL: version, durability, rights, room, timeouts, clock."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from consumer.config import Settings
from consumer.store import Store
from ops.doctor.findings import Area, Finding
from ops.reading import SQL

AREA = Area("database")
OLDEST_VERSION = 140000
"""CREATE OR REPLACE TRIGGER came with 14."""
MOST_SKEW_SECONDS = 2.0
LONG_TRANSACTION_SECONDS = 300.0
NEEDED = {
    "pwb_websites": ("SELECT", "INSERT", "UPDATE"),
    "pwb_users": ("SELECT", "INSERT"),
    "pwb_user_memberships": ("SELECT", "INSERT", "UPDATE"),
    "pwb_agencies": ("SELECT", "INSERT"),
    "pwb_links": ("SELECT", "INSERT"),
    "pwb_field_keys": ("SELECT", "INSERT"),
    "pwb_realty_assets": ("SELECT", "INSERT"),
    "pwb_sale_listings": ("SELECT", "INSERT"),
    "pwb_rental_listings": ("SELECT", "INSERT"),
    "provisioning_transitions": ("SELECT", "INSERT"),
    "provisioning_operator_actions": ("SELECT", "INSERT", "UPDATE"),
    "provisioning_workers": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "provisioning_pauses": ("SELECT", "INSERT", "DELETE"),
}
"""What workers and tools do to each table."""


async def look(store: Store, settings: Settings, live_workers: int | None) -> list[Finding]:
    """Return what there is to say of the server. `live_workers`: None where nobody knows."""
    async with store.connection() as connection:
        before = time.time()
        server = await connection.fetchrow(SQL["doctor_server"])
        after = time.time()
    return [
        *_server(server),
        *_durability(server),
        _session(server, settings),
        _room(server, settings, live_workers),
        _clock(server["clock"], before, after),
    ]


def _server(server: Mapping[str, Any]) -> Iterator[Finding]:
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
        yield AREA.warn("role", f"{server['role']}, a superuser", "a role of its own", "make one: docs/decisions/0017")
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


def _session(server: Mapping[str, Any], settings: Settings) -> Finding:
    """Did the session get the limits that we asked for? A pooler between may swallow them."""
    wrong = [
        f"{name} is {server[name]:g} s, not {getattr(settings, name):g} s"
        for name in ("lock_timeout_seconds", "statement_timeout_seconds", "idle_transaction_seconds")
        if abs(server[name] - getattr(settings, name)) > 0.001  # noqa: PLR2004 - a millisecond
    ]
    if wrong:
        then = "is there a pooler between that drops start-up parameters? Connect past it, or in its session mode"
        return AREA.fail("timeouts", "; ".join(wrong), "as the settings say", then)
    if server["idle_session_seconds"]:
        have = f"idle_session_timeout is {server['idle_session_seconds']:g} s"
        then = "ALTER ROLE … SET idle_session_timeout = 0: idle pool connections are cut, which pauses workers"
        return AREA.warn("timeouts", have, "0", then)
    limit = server["transaction_seconds"]
    if limit and limit < settings.step_timeout_seconds:
        need, then = f"0, or step_timeout_seconds, {settings.step_timeout_seconds:g} s", "ALTER ROLE … SET it higher"
        return AREA.warn("timeouts", f"transaction_timeout is {limit:g} s", need, then)
    return AREA.ok("timeouts", "lock, statement and idle transaction as the settings say")


def _room(server: Mapping[str, Any], settings: Settings, live_workers: int | None) -> Finding:
    limits = [server[name] for name in ("connections", "database_limit", "role_limit") if server[name] >= 0]
    limit, pool = min(limits), settings.concurrency + 3
    others = max(0, server["connected"] - server["connected_ours"])
    needed = others + (live_workers or 0) * pool
    have = f"{limit} for everybody, {server['connected']} used now"
    need = f"{needed}: {others} of others, and {live_workers or 0} workers with pools of {pool}"
    if needed > limit or server["connected"] >= limit:
        return AREA.warn("connections", have, need, "raise max_connections, or lower PROVISIONER_CONCURRENCY")
    return AREA.ok("connections", have, need)


def _clock(clock: float, before: float, after: float) -> Finding:
    """Compare clocks: the truth is within the time that the question took."""
    skew = clock - after if clock > after else clock - before if clock < before else 0.0
    have = f"{abs(skew):.2f} s {'ahead of' if skew > 0 else 'behind'} this host" if skew else "as this host's"
    need = f"within {MOST_SKEW_SECONDS:g} s"
    if abs(skew) > MOST_SKEW_SECONDS:
        return AREA.warn("clock", have, need, "set both by NTP: due times are the database's, log times the hosts'")
    return AREA.ok("clock", f"{have} (asked in {(after - before) * 1000:.0f} ms)", need)


async def rights(store: Store) -> Finding:
    """Return whether this role may do what workers and tools do."""
    pairs = [(table, privilege) for table, privileges in NEEDED.items() for privilege in privileges]
    async with store.connection() as connection:
        lacking = await connection.fetch(SQL["doctor_rights"], [t for t, _ in pairs], [p for _, p in pairs])
    return AREA.judged(
        "rights", [f"{row['privilege']} on {row['name']}" for row in lacking], "all that workers and tools need",
        "all of these", "GRANT them to the role in PROVISIONER_DATABASE_URL",
    )  # fmt: skip
