"""The machine, written down once: states, triggers, one table of edges, and the pure functions that derive from it.

Next step, progress, checklist, docs, diagram and the database's own list of legal changes follow from TRANSITIONS.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from statemachine.requirements import AGENCY, FIELD_KEYS, LINKS, OWNER, SUBDOMAIN, Facts, Requirement, unmet


class State(StrEnum):
    """Where a website stands."""

    PENDING = "pending"
    OWNER_ASSIGNED = "owner_assigned"
    AGENCY_CREATED = "agency_created"
    LINKS_CREATED = "links_created"
    FIELD_KEYS_CREATED = "field_keys_created"
    PROPERTIES_SEEDED = "properties_seeded"
    READY = "ready"
    LIVE = "live"
    FAILED = "failed"
    SUSPENDED = "suspended"
    TERMINATED = "terminated"


class Trigger(StrEnum):
    """What moves a website along an edge."""

    ASSIGN_OWNER = "assign_owner"
    COMPLETE_AGENCY = "complete_agency"
    COMPLETE_LINKS = "complete_links"
    COMPLETE_FIELD_KEYS = "complete_field_keys"
    SEED_PROPERTIES = "seed_properties"
    SKIP_PROPERTIES = "skip_properties"
    MARK_READY = "mark_ready"
    GO_LIVE = "go_live"
    FAIL_PROVISIONING = "fail_provisioning"
    RETRY_PROVISIONING = "retry_provisioning"
    SUSPEND = "suspend"
    REACTIVATE = "reactivate"
    TERMINATE = "terminate"


@dataclass(frozen=True, slots=True)
class Transition:
    """One edge: a trigger, where it starts, where it leads and what must hold afterwards.

    `target` is None for the retry alone: it leads to the proven state of the day. `failure` opens the error of a
    guard that does not hold; `lists_missing` says whether that error lists missing items or names one shortfall.
    """

    trigger: Trigger
    sources: tuple[State, ...]
    target: State | None
    guard: tuple[Requirement, ...] = ()
    failure: str = ""
    lists_missing: bool = False


CHAIN: tuple[State, ...] = (
    State.PENDING,
    State.OWNER_ASSIGNED,
    State.AGENCY_CREATED,
    State.LINKS_CREATED,
    State.FIELD_KEYS_CREATED,
    State.PROPERTIES_SEEDED,
    State.READY,
    State.LIVE,
)
"""The way from signup to live, in order."""

COMPLETE = (OWNER, AGENCY, LINKS, FIELD_KEYS)
PRESENTABLE = (*COMPLETE, SUBDOMAIN)


def edge(
    trigger: Trigger,
    sources: State | Sequence[State],
    target: State | None,
    guard: Requirement | Sequence[Requirement] = (),
    failure: str = "",
) -> Transition:
    """Write one row of the table; a single source or requirement may stand alone."""
    return Transition(
        trigger,
        (sources,) if isinstance(sources, State) else tuple(sources),
        target,
        (guard,) if isinstance(guard, Requirement) else tuple(guard),
        failure,
        lists_missing=not isinstance(guard, Requirement),
    )


S, T = State, Trigger
# fmt: off
TRANSITIONS: tuple[Transition, ...] = (
    #    trigger                 from                      to                    guard        error, when the guard does not hold
    edge(T.ASSIGN_OWNER,         S.PENDING,                S.OWNER_ASSIGNED,     OWNER,       "Owner assignment failed"),
    edge(T.COMPLETE_AGENCY,      S.OWNER_ASSIGNED,         S.AGENCY_CREATED,     AGENCY,      "Agency creation failed"),
    edge(T.COMPLETE_LINKS,       S.AGENCY_CREATED,         S.LINKS_CREATED,      LINKS,       "Links creation failed"),
    edge(T.COMPLETE_FIELD_KEYS,  S.LINKS_CREATED,          S.FIELD_KEYS_CREATED, FIELD_KEYS,  "Field keys creation failed"),
    edge(T.SEED_PROPERTIES,      S.FIELD_KEYS_CREATED,     S.PROPERTIES_SEEDED),
    edge(T.SKIP_PROPERTIES,      S.FIELD_KEYS_CREATED,     S.PROPERTIES_SEEDED),
    edge(T.MARK_READY,           S.PROPERTIES_SEEDED,      S.READY,              COMPLETE,    "Provisioning incomplete"),
    edge(T.GO_LIVE,              S.READY,                  S.LIVE,               PRESENTABLE, "Cannot go live"),
    edge(T.FAIL_PROVISIONING,    CHAIN[:-1],               S.FAILED),
    edge(T.RETRY_PROVISIONING,   S.FAILED,                 None),
    edge(T.SUSPEND,              (S.READY, S.LIVE),        S.SUSPENDED),
    edge(T.REACTIVATE,           S.SUSPENDED,              S.LIVE,               PRESENTABLE, "Cannot reactivate"),
    edge(T.TERMINATE,            (S.SUSPENDED, S.FAILED),  S.TERMINATED),
)
# fmt: on
"""The machine. Everything else derives from these rows."""

REST_STATES: frozenset[State] = frozenset({S.LIVE, S.FAILED, S.SUSPENDED, S.TERMINATED})
"""Where nothing is owed to a website any more; one held at ready rests there too."""

PROGRESS: dict[State, int | None] = {
    S.PENDING: 0,
    S.OWNER_ASSIGNED: 15,
    S.AGENCY_CREATED: 30,
    S.LINKS_CREATED: 45,
    S.FIELD_KEYS_CREATED: 60,
    S.PROPERTIES_SEEDED: 80,
    S.READY: 95,
    S.LIVE: 100,
    S.SUSPENDED: None,
    S.TERMINATED: None,
}

MESSAGES: dict[State, str] = {
    S.PENDING: "Waiting to start...",
    S.OWNER_ASSIGNED: "Owner account created",
    S.AGENCY_CREATED: "Agency information saved",
    S.LINKS_CREATED: "Navigation links created",
    S.FIELD_KEYS_CREATED: "Property fields configured",
    S.PROPERTIES_SEEDED: "Sample properties added",
    S.READY: "Almost done! Finalizing...",
    S.LIVE: "Your website is live!",
    S.SUSPENDED: "Website suspended",
    S.TERMINATED: "Website terminated",
}
PROPERTIES_SKIPPED = "Sample properties skipped"

BY_TRIGGER: dict[Trigger, Transition] = {transition.trigger: transition for transition in TRANSITIONS}


def is_step(trigger: Trigger) -> bool:
    """Say whether the engine itself sends this trigger: steps walk the chain, the rest is for people."""
    transition = BY_TRIGGER[trigger]
    return transition.target in CHAIN and transition.sources[0] in CHAIN


# ---------------------------------------------------------------------------------------- before the work


@dataclass(frozen=True, slots=True)
class Stale:
    """The trigger asks for what has already happened: nothing to do."""

    why: str


@dataclass(frozen=True, slots=True)
class Illegal:
    """The table has no such edge, and never had one that led here."""

    why: str


def plan(state: State, trigger: Trigger) -> Transition | Stale | Illegal:
    """Say what `trigger` means for a website in `state`, before any work is done."""
    transition = BY_TRIGGER[trigger]
    if state in transition.sources:
        return transition
    if state == transition.target:
        return Stale(f"{trigger} has been done: the website is {state}")
    if state in CHAIN and transition.target in CHAIN and CHAIN.index(state) > CHAIN.index(transition.target):
        return Stale(f"{trigger} has been passed: the website is {state}")
    sources = " or ".join(transition.sources)
    return Illegal(f"{trigger} needs a website that is {sources}, this one is {state}")


# ----------------------------------------------------------------------------------------- after the work


@dataclass(frozen=True, slots=True)
class Advance:
    """The guard holds: the website moves to `target`."""

    target: State


@dataclass(frozen=True, slots=True)
class Refuse:
    """The guard does not hold, and waiting would not help."""

    error: str


@dataclass(frozen=True, slots=True)
class Wait:
    """The guard does not hold yet, for want of data that others bring: worth another attempt."""

    error: str


def judge(transition: Transition, facts: Facts, *, failed_from: State | None = None) -> Advance | Refuse | Wait:
    """Judge a transition on facts that were read after its step, under the lock.

    Args:
        transition: what `plan` returned.
        facts: what the website has now.
        failed_from: the state it failed from, needed for a retry alone.
    """
    lacking = unmet(transition.guard, facts)
    if not lacking:
        return Advance(transition.target or proven_state(facts, failed_from))
    if transition.lists_missing:
        error = f"{transition.failure} - missing: {', '.join(lack.missing(facts) for lack in lacking)}"
    else:
        error = f"{transition.failure} - {lacking[0].shortfall(facts)}"
    return Wait(error) if all(lack.from_others for lack in lacking) else Refuse(error)


def proven_state(facts: Facts, failed_from: State | None) -> State:
    """Return the furthest state whose guards hold on the facts of now, never beyond `failed_from`.

    A website of which nobody knows where it failed (None, or no state that one can fail from) has proven nothing.
    """
    proven = State.PENDING
    limit = failed_from if failed_from in CHAIN[:-1] else State.PENDING
    while proven != limit:
        step = BY_TRIGGER[next_step(proven)]
        if unmet(step.guard, facts) or step.target is None:
            break
        proven = step.target
    return proven


def next_step(state: State) -> Trigger:
    """Return the first edge of the table that leads from `state` to the next state of the chain."""
    target = CHAIN[CHAIN.index(state) + 1]
    return next(t.trigger for t in TRANSITIONS if state in t.sources and t.target == target)


def next_trigger(state: State, *, skip_properties: bool, auto_go_live: bool) -> Trigger | None:
    """Return the command that a website in `state` is owed, or None where it rests."""
    if state in REST_STATES or (state == State.READY and not auto_go_live):
        return None
    if state == State.FIELD_KEYS_CREATED and skip_properties:
        return Trigger.SKIP_PROPERTIES
    return next_step(state)


# ------------------------------------------------------------------------------------------ what people see


def progress(state: State, facts: Facts, failed_from: State | None = None) -> int | None:
    """Return the percentage that a progress bar shows, None where there is no bar to show."""
    return PROGRESS[proven_state(facts, failed_from) if state == State.FAILED else state]


def status_message(state: State, *, error: str | None = None, skipped: bool = False) -> str:
    """Return the sentence that a customer sees; `skipped`: the website asked for no sample properties."""
    if state == State.FAILED:
        return f"Setup failed: {error}"
    if state == State.PROPERTIES_SEEDED and skipped:
        return PROPERTIES_SKIPPED
    return MESSAGES[state]


# ------------------------------------------------------------------------------- the table is sound, or no import


def targets(transition: Transition) -> tuple[State, ...]:
    """Return every state that an edge may lead to: one, or for the retry each that it may have failed from."""
    return (transition.target,) if transition.target else CHAIN[:-1]


def reachable(transitions: Iterable[Transition], origin: State) -> set[State]:
    """Return the states that can be reached from `origin`, itself included."""
    edges = {(source, target) for t in transitions for source in t.sources for target in targets(t)}
    found, fresh = {origin}, {origin}
    while fresh:
        fresh = {target for source, target in edges if source in fresh} - found
        found |= fresh
    return found


def check(transitions: Sequence[Transition]) -> None:
    """Refuse a table with an unreachable state, a trap, a state without a way to rest, or a doubled trigger.

    Raises:
        ValueError: naming the states or triggers that are wrong.
    """
    triggers = [transition.trigger for transition in transitions]
    if doubled := {trigger for trigger in triggers if triggers.count(trigger) > 1}:
        raise ValueError(f"one trigger, one row: {sorted(doubled)} stand more than once")
    if absent := set(Trigger) - set(triggers):
        raise ValueError(f"triggers without a row: {sorted(absent)}")
    if lost := set(State) - reachable(transitions, State.PENDING):
        raise ValueError(f"states that no website can reach from pending: {sorted(lost)}")
    leaving = {source for transition in transitions for source in transition.sources}
    if traps := set(State) - leaving - {State.TERMINATED}:
        raise ValueError(f"states that no website can leave: {sorted(traps)}")
    if restless := {state for state in State if not reachable(transitions, state) & REST_STATES}:
        raise ValueError(f"states without a way to rest: {sorted(restless)}")
    for state in CHAIN[:-1]:
        target = CHAIN[CHAIN.index(state) + 1]
        if not any(state in t.sources and t.target == target for t in transitions):
            raise ValueError(f"the chain is broken after {state}")


check(TRANSITIONS)
