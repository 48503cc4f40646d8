"""Whether somebody works, and all of them the same."""

from collections.abc import Iterator
from typing import Any

from ops.doctor.findings import Area, Finding

AREA = Area("workers")


def look(found: dict[str, Any]) -> Iterator[Finding]:
    """Say what there is to say of the workers, as `ops.pausing.workers` returns them."""
    live = [worker for worker in found["workers"] if not worker["stale"]]
    stale = [worker for worker in found["workers"] if worker["stale"]]
    if live:
        yield AREA.ok("running", f"{len(live)}: {', '.join(worker['name'] for worker in live[:8])}", "one at least")
    else:
        yield AREA.warn("running", "none", "one at least", "start `provisioner worker`: nothing moves without it")
    if stale:
        named = ", ".join(f"{worker['name']} ({worker['unseen_seconds']:.0f} s)" for worker in stale[:8])
        then = "did they die, or lose the database? Their logs say; a dead one vanishes after ten minutes"
        yield AREA.warn("seen", f"not seen: {named}", "every few seconds", then)
    paused = [worker for worker in live if worker["pause"]]
    if found["paused"]:
        why = f"all, by {found['paused']['actor']} since {found['paused']['since'][:19]}: {found['paused']['reason']}"
        yield AREA.warn("paused", why, "none", "`provisioner resume --all` once the reason is gone")
    elif paused:
        named = ", ".join(f"{worker['name']} ({worker['pause']['reason']})" for worker in paused[:8])
        yield AREA.warn("paused", named, "none", "`provisioner resume WORKER` once the reason is gone")
    else:
        yield AREA.ok("paused", "none")
    versions = sorted({worker["version"] for worker in live})
    if len(versions) > 1:
        yield AREA.warn("versions", ", ".join(versions), "one", "is a deployment under way, or did it stop half-way?")
