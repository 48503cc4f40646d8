"""The invariants, as questions to the live data: what must never be, and what should not last.

Each question has a time limit, and says so where it was reached. Those that have to look at each website's own rows
look at the newest; `full` lets them look at all.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from consumer.config import Settings
from consumer.store import Store, Transaction
from ops.doctor.findings import Area, Finding, Level
from ops.reading import SQL, our_state
from statemachine import CHAIN, Facts, State, missing_items, proven_state

AREA = Area("websites")
QUESTION_SECONDS = 3.0
FULL_SECONDS = 600.0
NEWEST = 10_000
AT_ONCE = 2_000
MANY = 1_000
EXAMPLES = 5
OVERDUE_SECONDS = 30.0
STALLED_SECONDS = 600.0
MOVING = [state.value for state in CHAIN if state != State.LIVE]
EXPLAIN = "`provisioner status WEBSITE` shows where it is, and why"


@dataclass(frozen=True, slots=True)
class Question:
    """What should hold of every website, how bad it is where it does not, and what to do then."""

    what: str
    need: str
    bad: Level
    next: str

    def answer(self, found: Sequence[int], scope: str = "") -> Finding:
        """Say of which websites it does not hold, and how many were looked at."""
        if not found:
            return AREA.ok(self.what, self.need + scope)
        count = f"{MANY} or more" if len(found) > MANY else str(len(found))
        named = ", ".join(map(str, found[:EXAMPLES])) + (", …" if len(found) > EXAMPLES else "")
        return Finding(AREA.name, self.what, self.bad, f"{count} websites: {named}{scope}", self.need, self.next)

    def untold(self, seconds: float) -> Finding:
        """Say that the time was over."""
        then = "run it again when the database has less to do, or with --full"
        return AREA.unknown(self.what, f"not answered within {seconds:.0f} s", then)


async def look(store: Store, settings: Settings, *, full: bool, idle: bool) -> list[Finding]:
    """Return what there is to say of the websites. `idle`: nobody works, so that waiting is no sign of more."""
    asking = _Asking(store, full=full)
    stalled = max(STALLED_SECONDS, 5 * settings.stall_seconds)
    waits = Level.WARN if idle else Level.FAIL
    overdue = Question(
        "overdue", f"nothing has been due for longer than {OVERDUE_SECONDS:.0f} s", waits,
        "is a worker running, and does its dispatcher log errors?",
    )  # fmt: skip
    still = Question("stalled", f"none on its way has stood still for longer than {stalled:.0f} s", waits, EXPLAIN)
    owed = Question(
        "owed", "what is owed to a website has a time at which it is sent", Level.FAIL,
        "UPDATE pwb_websites SET provisioning_due_at = now() WHERE id = …: the dispatcher sends it",
    )  # fmt: skip
    asleep = Question(
        "asleep", "none is on its way since before this service came", Level.WARN,
        "publish website.created with its id to wake it: docs/messages.md",
    )  # fmt: skip
    unexplained = Question(
        "failed without reason", "every failed website says why and when", Level.FAIL,
        "terminate it, or mend the row and VALIDATE the constraint",
    )  # fmt: skip
    histories = Question(
        "histories", "each history has no gap and no jump, and ends where its website is", Level.FAIL,
        "somebody wrote to the tables by hand: compare `provisioner status WEBSITE` with the product's own log",
    )  # fmt: skip
    halves = Question(
        "half-provisioned", "each on its way has what its state says", Level.WARN,
        f"somebody took it away again: it will fail, and a requeue makes it anew; {EXPLAIN}",
    )  # fmt: skip
    unmet = Question(
        "live with a guard unmet", "each live website has all that it must have", Level.FAIL,
        "suspend it, or give it in the product what `provisioner status WEBSITE` says is missing",
    )  # fmt: skip
    return [
        await asking.rows(overdue, "doctor_overdue", OVERDUE_SECONDS),
        await asking.rows(still, "doctor_stalled", MOVING, stalled),
        await asking.rows(owed, "doctor_owed", MOVING),
        await asking.rows(asleep, "doctor_asleep", MOVING),
        await asking.rows(unexplained, "doctor_unexplained"),
        await asking.rows(histories, "doctor_histories", asking.newest, scope=asking.scope),
        await asking.facts(halves, MOVING),
        await asking.facts(unmet, [State.LIVE.value]),
    ]


class _Asking:
    """Asks, within its limits."""

    def __init__(self, store: Store, *, full: bool) -> None:
        self._store = store
        self._seconds = FULL_SECONDS if full else QUESTION_SECONDS
        self.newest = None if full else NEWEST
        self.scope = "" if full else f" (the newest {NEWEST} were looked at; --full looks at all)"

    async def rows(self, question: Question, statement: str, *arguments: object, scope: str = "") -> Finding:
        """Ask for the websites of which it does not hold."""
        rows = await self._store.glance(SQL[statement], *arguments, MANY + 1, seconds=self._seconds)
        return question.untold(self._seconds) if rows is None else question.answer([row["id"] for row in rows], scope)

    async def facts(self, question: Question, states: Sequence[str]) -> Finding:
        """Count what websites have, as the workers do, and let the machine judge it: the newest first."""
        ends = asyncio.get_running_loop().time() + self._seconds
        below: int | None = None
        looked, found = 0, list[int]()
        while self.newest is None or looked < self.newest:
            left = ends - asyncio.get_running_loop().time()
            asked = (SQL["doctor_in_states"], states, below, AT_ONCE)
            rows = await self._store.glance(*asked, seconds=left) if left > 0 else None
            if rows is None:
                return question.answer(found, f" (the newest {looked} were looked at in {self._seconds:.0f} s)")
            async with self._store.connection() as connection:
                known = await Transaction(connection).facts({row["id"]: row["subdomain"] for row in rows})
            found += [row["id"] for row in rows if _lacks(row["state"], known[row["id"]])]
            looked += len(rows)
            if len(rows) < AT_ONCE:
                return question.answer(found)
            below = rows[-1]["id"]
        return question.answer(found, self.scope)


def _lacks(state: str, facts: Facts) -> bool:
    """Say whether a website lacks what its state says it has."""
    known = our_state(state)
    if known is None:
        return False
    return bool(missing_items(facts)) if known == State.LIVE else proven_state(facts, known) != known
