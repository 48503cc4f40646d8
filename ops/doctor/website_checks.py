"""Checks the invariants on the websites in the database: what must never be, and what should not last.

Each query has a time limit, and its finding says where it was reached. Those that read each website's own rows read the
newest websites; `full` makes them read all.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from consumer.config import Settings
from consumer.domain.existing_product_states import our_state
from consumer.store.database import Store
from ops.doctor.findings import Area, Finding, Level
from seeders.sql_loader import read_statements
from statemachine import CHAIN, Facts, State, missing_items, proven_state

SQL = read_statements("ops.doctor.sql")
ASLEEP = read_statements("ops.websites.sql")["asleep"]
"""The statement by which `provisioner start --asleep` selects, too."""

AREA = Area("websites")
QUERY_SECONDS = 3.0
FULL_SECONDS = 600.0
NEWEST = 10_000
PAGE_ROWS = 2_000
MAX_FOUND = 1_000
EXAMPLES = 5
OVERDUE_SECONDS = 30.0
STALLED_SECONDS = 600.0
FALLBACK_SECONDS = 86_400.0
"""Older ones are no news."""
MOVING = [state.value for state in CHAIN if state != State.LIVE]
EXPLAIN = "`provisioner explain {website}` shows where it is, and why"
START = "`provisioner start --asleep` starts them; with --dry-run it says what that would do to each"


@dataclass(frozen=True, slots=True)
class Invariant:
    """What should hold of every website, the level of a finding where it does not, and what to do then.

    `next` names the first such website as `{website}`, so that the command works as it is printed.
    """

    what: str
    need: str
    level: Level
    next: str

    def finding(self, found: Sequence[int], scope: str = "", others: Sequence[int] = ()) -> Finding:
        """Return the finding, given the websites of which it does not hold, and how many were read.

        `others`: those of which it does not hold either and that this service never provisioned; they are only named.
        """
        if others:
            scope += f"; {'and' if found else 'but for'} {_named(others)}, which this service never provisioned"
        if not found:
            return AREA.ok(self.what, self.need + scope)
        then = self.next.replace("{website}", str(found[0]))
        return Finding(AREA.name, self.what, self.level, _named(found) + scope, self.need, then)

    def timed_out(self, seconds: float) -> Finding:
        """Return the finding that the time limit was reached."""
        then = "run it again when the database has less to do, or with --full"
        return AREA.unknown(self.what, f"not answered within {seconds:.0f} s", then)


def _named(ids: Sequence[int]) -> str:
    """Return how many websites there are, and the first of them."""
    count = f"{MAX_FOUND} or more" if len(ids) > MAX_FOUND else str(len(ids))
    return f"{count} websites: {', '.join(map(str, ids[:EXAMPLES]))}" + (", …" if len(ids) > EXAMPLES else "")


async def check_websites(
    store: Store, settings: Settings, *, full: bool, idle: bool, progress: Callable[[str], None] = lambda _: None
) -> list[Finding]:
    """Return findings about the websites. `idle`: no worker runs, so that waiting is no sign of another fault."""
    queries = _TimedQueries(store, progress, full=full)
    stalled_seconds = max(STALLED_SECONDS, 5 * settings.stall_seconds)
    waits = Level.WARN if idle else Level.FAIL
    return [
        await queries.rows(Invariant(
            "overdue", f"nothing has been due for longer than {OVERDUE_SECONDS:.0f} s", waits,
            "check `provisioner workers`, and look for `dispatcher failed` in their logs",
        ), "overdue", OVERDUE_SECONDS),
        await queries.rows(Invariant(
            "stalled", f"none on its way has stood still for longer than {stalled_seconds:.0f} s", waits, EXPLAIN,
        ), "stalled", MOVING, stalled_seconds),
        await queries.rows(Invariant(
            "unpublished", "every website with an unpublished event has a due time at which it is sent", Level.FAIL,
            "UPDATE pwb_websites SET provisioning_due_at = now() WHERE id = {website}: the dispatcher sends it",
        ), "unpublished_without_due_time"),
        await queries.asleep(),
        await queries.failed(),
        await queries.rows(Invariant(
            "failed without reason", "every failed website of this service says why and when", Level.FAIL,
            "`provisioner requeue {website}`, or write its error and time; then `provisioner init` validates the check",
        ), "failed_without_reason"),
        await queries.rows(Invariant(
            "histories", "each history has no gap and no jump, and ends where its website is", Level.FAIL,
            "somebody wrote to it while the triggers were absent, or to its history: compare `provisioner status "
            "{website}` with the product's own log; an `init` that makes the triggers again logs what was moved",
        ), "broken_histories", queries.newest, scope=queries.scope),
        await queries.rows(Invariant(
            "on defaults", "each that went live within a day has what its seed pack has", Level.WARN,
            "correct the pack: `provisioner packs check`; `provisioner list --on-defaults` has all such websites",
        ), "on_defaults", FALLBACK_SECONDS),
        await queries.facts(Invariant(
            "half-provisioned", "each on its way has what its state says", Level.WARN,
            f"rows were deleted since: it will fail, and a requeue inserts them again; {EXPLAIN}",
        ), MOVING),
        await queries.facts(Invariant(
            "live with a guard unmet", "each live website has all that it must have", Level.FAIL,
            "it stays live; give it in the product what `provisioner status {website}` says is missing",
        ), [State.LIVE.value]),
        await queries.never_provisioned(),
    ]  # fmt: skip


class _TimedQueries:
    """Runs the queries, each within its time limit."""

    def __init__(self, store: Store, progress: Callable[[str], None], *, full: bool) -> None:
        self._store = store
        self._progress = progress
        self._seconds = FULL_SECONDS if full else QUERY_SECONDS
        self.newest = None if full else NEWEST
        self.scope = "" if full else f" (the newest {NEWEST} were looked at; --full looks at all)"

    async def rows(self, invariant: Invariant, statement: str, *arguments: object, scope: str = "") -> Finding:
        """Check an invariant by a statement that returns the websites of which it does not hold."""
        self._progress(f"checking websites: {invariant.what}")
        rows = await self._store.read_within(SQL[statement], *arguments, MAX_FOUND + 1, seconds=self._seconds)
        if rows is None:
            return invariant.timed_out(self._seconds)
        return invariant.finding([row["id"] for row in rows], scope)

    async def asleep(self) -> Finding:
        """Find the websites that `provisioner start --asleep` starts; a failure where one is this service's own."""
        invariant = Invariant("asleep", "each with a step before it has somebody who sends it", Level.WARN, START)
        self._progress(f"checking websites: {invariant.what}")
        rows = await self._store.read_within(ASLEEP, MOVING, MAX_FOUND + 1, seconds=self._seconds)
        if rows is None:
            return invariant.timed_out(self._seconds)
        ours = [row["id"] for row in rows if row["ours"]]
        scope = f"; this service had begun with {_named(ours)}" if ours else ""
        level = Level.FAIL if ours else Level.WARN
        return replace(invariant, level=level).finding([row["id"] for row in rows], scope)

    async def facts(self, invariant: Invariant, states: Sequence[str]) -> Finding:
        """Check an invariant by counting what websites have, as the workers do, newest first; the machine judges."""
        deadline = asyncio.get_running_loop().time() + self._seconds
        below: int | None = None
        checked, found, others = 0, list[int](), list[int]()
        while self.newest is None or checked < self.newest:
            self._progress(f"checking websites: {invariant.what}, {checked} done")
            left = deadline - asyncio.get_running_loop().time()
            query = (SQL["websites_in_states"], states, below, PAGE_ROWS)
            rows = await self._store.read_within(*query, seconds=left) if left > 0 else None
            if rows is None:
                scope = f" (the newest {checked} were looked at in {self._seconds:.0f} s)"
                return invariant.finding(found, scope, others)
            async with self._store.queries() as queries:
                facts = await queries.facts({row["id"]: row["subdomain"] for row in rows})
            for row in rows:
                if _is_incomplete(row["state"], facts[row["id"]]):
                    (found if row["ours"] else others).append(row["id"])
            checked += len(rows)
            if len(rows) < PAGE_ROWS:
                return invariant.finding(found, "", others)
            below = rows[-1]["id"]
        return invariant.finding(found, self.scope, others)

    async def failed(self) -> Finding:
        """Count the failed websites of this service's own, and name the newest."""
        what = "failed"
        rows = await self._store.read_within(SQL["failed_websites"], seconds=self._seconds)
        if rows is None:
            return AREA.unknown(what, f"not counted within {self._seconds:.0f} s", "run it again with --full")
        count, others, newest = rows[0]["websites"], rows[0]["others"], rows[0]["newest"]
        scope = f"; {others} more were never provisioned by this service" if others else ""
        if not count:
            return AREA.ok(what, f"none{scope}")
        have = f"{count} websites: {', '.join(map(str, newest))}{', …' if count > len(newest) else ''}{scope}"
        return AREA.warn(what, have, "none", "`provisioner failures list` groups them by cause")

    async def never_provisioned(self) -> Finding:
        """Count the websites that this service never provisioned, by state."""
        what = "never provisioned here"
        rows = await self._store.read_within(SQL["never_provisioned"], seconds=self._seconds)
        if rows is None:
            return AREA.unknown(what, f"not counted within {self._seconds:.0f} s", "run it again with --full")
        if not rows:
            return AREA.ok(what, "none")
        states = ", ".join(f"{row['count']} {row['state']}" for row in rows)
        count = sum(row["count"] for row in rows)
        return AREA.ok(what, f"{count} websites ({states}); what they lack is named above")


def _is_incomplete(name: str, facts: Facts) -> bool:
    """Say whether a website lacks what its state says it has."""
    state = our_state(name)
    if state is None:
        return False
    return bool(missing_items(facts)) if state == State.LIVE else proven_state(facts, state) != state
