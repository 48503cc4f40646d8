"""Puts the doctor's looks together, in an order in which each knows what the next one needs."""

import time
from collections.abc import Mapping
from typing import Any

from consumer.broker import Broker
from consumer.config import Settings
from consumer.errors import classify
from consumer.store import Store
from consumer.topology import Topology
from ops import pausing
from ops.doctor import of_broker, of_database, of_schema, of_settings, of_websites, of_workers
from ops.doctor.findings import Area, Finding, Level, report

DATABASE = Area("database")


async def examine(
    settings: Settings, store: Store, broker: Broker, environment: Mapping[str, str], *, full: bool = False
) -> dict[str, Any]:
    """Look at everything that can be looked at; return the report. `full`: at every website, however long it takes."""
    began = time.monotonic()
    findings = of_settings.look(settings, environment)
    workers: dict[str, Any] | None = None
    trouble = await store.unreachable()
    if trouble is not None:
        then = "start it, or mend PROVISIONER_DATABASE_URL; workers pause until it is back"
        findings.append(DATABASE.away("reachable", classify(trouble).error, "a connection", then))
    else:
        findings.append(DATABASE.ok("reachable", "yes"))
        workers = await _database(settings, store, findings, full=full)
    live = [worker for worker in (workers or {"workers": []})["workers"] if not worker["stale"]]
    taking = sum(1 for worker in live if not worker["pause"] and not worker["paused"])
    findings += await of_broker.look(broker, Topology(settings.namespace), len(live), taking)
    return report(findings, time.monotonic() - began)


async def _database(settings: Settings, store: Store, findings: list[Finding], *, full: bool) -> dict[str, Any] | None:
    """Add what there is to say of the database and what is in it; return the workers, where they can be read."""
    schema = await of_schema.look(store)
    rights = await of_database.rights(store)
    lacking = any(each.level == Level.FAIL and each.what in ("tables", "columns") for each in schema)
    if lacking or "SELECT on" in rights.have:
        findings += [*await of_database.look(store, settings, None), rights, *schema]
        findings.append(
            of_websites.AREA.unknown("invariants", "not looked at", "mend tables, columns and rights first")
        )
        return None
    workers = await pausing.workers(store)
    live = sum(1 for worker in workers["workers"] if not worker["stale"])
    findings += [*await of_database.look(store, settings, live), rights, *schema, *of_workers.look(workers)]
    idle = not live or bool(workers["paused"])
    findings += await of_websites.look(store, settings, full=full, idle=idle)
    return workers
