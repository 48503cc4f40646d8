"""Runs all checks of the doctor, in an order in which each has what it needs from the ones before.

A report can be shared by everybody who asks: one run at a time, and a fresh report is shown to all.
"""

import asyncio
import math
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from consumer.broker.protocol import Broker
from consumer.broker.topology import Topology
from consumer.config import Settings
from consumer.error_classification import SESSION_LOST, PoolerError, RefusedParameterError, classify
from consumer.store.database import Store
from ops.doctor import (
    broker_checks,
    database_checks,
    database_role_checks,
    schema_checks,
    sequence_checks,
    settings_checks,
    website_checks,
    worker_checks,
)
from ops.doctor.findings import Area, Finding, Level, doctor_report
from ops.errors.reports import database_hint
from ops.workers.queries import known_workers, live_workers

DATABASE = Area("database")
FRESH_SECONDS = 10.0


async def run_checks(
    settings: Settings,
    store: Store,
    broker: Broker,
    environment: Mapping[str, str],
    *,
    full: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Check everything that can be checked; return the report. `full`: every website, however long it takes."""
    began = time.monotonic()
    findings = settings_checks.check_settings(settings, environment)
    workers: dict[str, Any] | None = None
    error = await store.unreachable()
    if isinstance(error, PoolerError):
        need = "what PROVISIONER_POOLER says"
        findings.append(DATABASE.fail("pooler", error.have, need, error.remedy))
    elif isinstance(error, RefusedParameterError):
        need = "what the server takes in PROVISIONER_DATABASE_URL"
        findings.append(DATABASE.fail("parameters", error.have, need, error.remedy))
    elif error is not None:
        then = f"{database_hint(error)} Workers pause until it is back"
        findings.append(DATABASE.away("reachable", classify(error).error, "a connection", then))
    else:
        findings.append(DATABASE.ok("reachable", "yes"))
        try:
            workers = await _database(settings, store, findings, progress, full=full)
        except SESSION_LOST as lost:
            need = "an answer to every check; those that follow were left out"
            findings.append(DATABASE.away("usable", classify(lost).error, need, database_hint(lost)))
    live = live_workers(workers) if workers else []
    taking = sum(1 for worker in live if not worker["pause"] and not worker["paused"])
    findings += await broker_checks.check_broker(broker, Topology(settings.namespace), len(live), taking)
    return doctor_report(findings, time.monotonic() - began)


async def _database(
    settings: Settings, store: Store, findings: list[Finding], progress: Callable[[str], None], *, full: bool
) -> dict[str, Any] | None:
    """Add findings about the database and what is in it; return the workers, where they can be read."""
    findings.append(await database_checks.check_pooler(store))
    schema = await schema_checks.check_schema(store)
    locks = await database_checks.check_locks(store, settings)
    role = await database_role_checks.role_of(store)
    rights = await (database_role_checks.check_role(store, role) if role else database_checks.check_rights(store))
    incomplete = any(each.level == Level.FAIL and each.what in ("tables", "columns") for each in schema)
    unreadable = any("SELECT on" in each.have for each in rights if each.level == Level.FAIL)
    if incomplete or locks or unreadable:
        findings += [*await database_checks.check_database(store, settings, None), *rights, *locks, *schema]
        then = "mend tables, columns, rights and locks first"
        findings.append(website_checks.AREA.unknown("invariants", "not looked at", then))
        return None
    workers = await known_workers(store)
    live = len(live_workers(workers))
    findings += [*await database_checks.check_database(store, settings, live), *rights, *schema]
    findings += await sequence_checks.check_sequences(store, sequence_checks.MOVED_BY.get(role or "worker", ()))
    findings += worker_checks.check_workers(workers)
    idle = not live or bool(workers["paused"])
    findings += await website_checks.check_websites(store, settings, full=full, idle=idle, progress=progress)
    return workers


class SharedReport:
    """Runs the doctor's checks at most once every ten seconds, whoever asks and however often."""

    def __init__(self, settings: Settings, store: Store, broker: Broker) -> None:
        """Keep what is to be checked."""
        self._checked = settings, store, broker
        self._lock = asyncio.Lock()
        self._finished_at = 0.0
        self.latest: dict[str, Any] | None = None
        """The last report, whoever asked for it."""

    @property
    def age_seconds(self) -> float:
        """How old the last report is; infinite where there is none."""
        return math.inf if self.latest is None else time.monotonic() - self._finished_at

    async def report(self) -> dict[str, Any]:
        """Return the doctor's report, ten seconds old at most."""
        async with self._lock:
            if self.latest is None or self.age_seconds > FRESH_SECONDS:
                self.latest = await run_checks(*self._checked, os.environ)
                self._finished_at = time.monotonic()
            return self.latest
