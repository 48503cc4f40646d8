"""Checks the workers: whether any runs, was seen lately, is paused, and all have one version."""

from collections.abc import Iterator
from typing import Any

from ops.doctor.findings import Area, Finding
from ops.workers.queries import live_workers

AREA = Area("workers")


def check_workers(known: dict[str, Any]) -> Iterator[Finding]:
    """Yield findings about the workers, as `known_workers` returns them."""
    live = live_workers(known)
    stale = [worker for worker in known["workers"] if worker["stale"]]
    if live:
        yield AREA.ok("running", f"{len(live)}: {', '.join(worker['name'] for worker in live[:8])}", "one at least")
    else:
        yield AREA.warn("running", "none", "one at least", "start `provisioner worker`: nothing moves without it")
    if stale:
        named = ", ".join(f"{worker['name']} ({worker['unseen_seconds']:.0f} s)" for worker in stale[:8])
        then = "read their logs: they died, or lost the database; a dead one leaves this list after ten minutes"
        yield AREA.warn("seen", f"not seen: {named}", "every few seconds", then)
    paused = [worker for worker in live if worker["pause"]]
    if known["paused"]:
        why = f"all, by {known['paused']['actor']} since {known['paused']['since'][:19]}: {known['paused']['reason']}"
        yield AREA.warn("paused", why, "none", "`provisioner resume --all` once the reason is gone")
    elif paused:
        named = ", ".join(f"{worker['name']} ({worker['pause']['reason']})" for worker in paused[:8])
        yield AREA.warn("paused", named, "none", "`provisioner resume WORKER` once the reason is gone")
    else:
        yield AREA.ok("paused", "none")
    versions = sorted({worker["version"] for worker in live})
    if len(versions) > 1:
        then = "finish the deployment: restart those of the other version"
        yield AREA.warn("versions", ", ".join(versions), "one", then)
