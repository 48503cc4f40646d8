"""The machine: one table of edges, and the pure functions that say what a trigger means and what follows from facts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from statemachine.steps import (
    CHAIN,
    HELD_AT,
    REQUIREMENTS,
    STEP_OF,
    STEPS,
    Facts,
    Requirement,
    State,
    Trigger,
    guard_of,
)


@dataclass(frozen=True, slots=True)
class Transition:
    """One edge: a trigger, where it starts, where it leads and what must hold afterwards.

    `target` is None for `retry_provisioning` alone: it leads to the proven state, which is computed from the facts.
    `failure` opens the error of a guard that does not hold. `cumulative`: the guard contains those of the states
    before, so its error lists all that is missing.
    """

    trigger: Trigger
    sources: tuple[State, ...]
    target: State | None
    guard: tuple[Requirement, ...] = ()
    failure: str = ""
    cumulative: bool = False


def edge(
    trigger: Trigger,
    sources: State | Sequence[State],
    target: State | None,
    guard: Sequence[Requirement] = (),
    failure: str = "",
) -> Transition:
    """Write one row of the table; a single source may stand alone."""
    several = (sources,) if isinstance(sources, State) else tuple(sources)
    return Transition(trigger, several, target, tuple(guard), failure, cumulative=True)


S, T = State, Trigger
LIVE_GUARD = guard_of(STEPS[-1])
"""What a live website must have."""
# fmt: off
TRANSITIONS: tuple[Transition, ...] = (
    *(Transition(s.trigger, (s.source,), s.target, guard_of(s), s.failure, s.cumulative) for s in STEPS),
    #    trigger                 from                      to             guard        error, when it does not hold
    edge(T.FAIL_PROVISIONING,    CHAIN[:-1],               S.FAILED),
    edge(T.RETRY_PROVISIONING,   S.FAILED,                 None),
    edge(T.SUSPEND,              (S.READY, S.LIVE),        S.SUSPENDED),
    edge(T.REACTIVATE,           S.SUSPENDED,              S.LIVE,        LIVE_GUARD, "Cannot reactivate"),
    edge(T.TERMINATE,            (S.SUSPENDED, S.FAILED),  S.TERMINATED),
)
# fmt: on
"""The machine: the steps of the chain, then the edges that people take."""

REST_STATES: frozenset[State] = frozenset({S.LIVE, S.FAILED, S.SUSPENDED, S.TERMINATED})
"""Where no command follows any more; a website held at HELD_AT rests there too."""

BY_TRIGGER: dict[Trigger, Transition] = {transition.trigger: transition for transition in TRANSITIONS}
NEXT: dict[tuple[State, bool], Trigger] = {(step.source, step.skips): step.trigger for step in STEPS}
"""The step that leads on from a state, by whether it skips."""


def is_step(trigger: Trigger) -> bool:
    """Return whether the engine itself sends this trigger; the others are for operators."""
    return trigger in STEP_OF


# ---------------------------------------------------------------------------------------- before the work


@dataclass(frozen=True, slots=True)
class Passed:
    """The trigger asks for what has already happened: nothing to do."""

    why: str


@dataclass(frozen=True, slots=True)
class Illegal:
    """The table has no such edge, and never had one that led here."""

    why: str


def plan(state: State, trigger: Trigger) -> Transition | Passed | Illegal:
    """Say what `trigger` means for a website in `state`, before any work is done."""
    transition = BY_TRIGGER[trigger]
    if state in transition.sources:
        return transition
    if state == transition.target:
        return Passed(f"{trigger} has been done: the website is {state}")
    if state in CHAIN and transition.target in CHAIN and CHAIN.index(state) > CHAIN.index(transition.target):
        return Passed(f"{trigger} has been passed: the website is {state}")
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


def needed(requirement: Requirement) -> int:
    """Return how many a guard needs of what is required; none where it is optional."""
    return requirement.minimum if requirement.required else 0


def have(requirement: Requirement, facts: Facts) -> int:
    """Return how many a website has of what is required; a text counts as one, a blank one as none."""
    value: int | str | None = getattr(facts, requirement.fact)
    return value if isinstance(value, int) else int(bool(value and value.strip()))


def unmet(requirements: Sequence[Requirement], facts: Facts) -> tuple[Requirement, ...]:
    """Return those of `requirements` that the facts do not meet, in order."""
    return tuple(each for each in requirements if have(each, facts) < each.minimum)


def judge(transition: Transition, facts: Facts, *, failed_from: State | None = None) -> Advance | Refuse | Wait:
    """Judge a transition on facts that were read after its step, under the lock.

    Args:
        transition: what `plan` returned.
        facts: what the website has now.
        failed_from: the state it failed from, needed for `retry_provisioning` alone.
    """
    lacking = unmet(transition.guard, facts)
    if not lacking:
        return Advance(transition.target or proven_state(facts, failed_from))
    if transition.cumulative:
        error = f"{transition.failure} - missing: {', '.join(missing_item(lack, facts) for lack in lacking)}"
    else:
        error = f"{transition.failure} - {_text(lacking[0].shortfall, lacking[0], facts)}"
    return Wait(error) if all(lack.from_others for lack in lacking) else Refuse(error)


def proven_state(facts: Facts, failed_from: State | None) -> State:
    """Return the furthest state whose guards hold on the facts of now, never beyond `failed_from`.

    A website of which nobody knows where it failed (None, or no state that one can fail from) has proven nothing.
    """
    proven = State.PENDING
    limit = failed_from if failed_from in CHAIN[:-1] else State.PENDING
    while proven != limit:
        step = STEP_OF[NEXT[proven, False]]
        if unmet(BY_TRIGGER[step.trigger].guard, facts):
            break
        proven = step.target
    return proven


def unproven_step(facts: Facts, state: State) -> Transition | None:
    """Return the first step on the way to `state` whose guard does not hold now; None where all hold."""
    proven = proven_state(facts, state)
    return None if proven == state else BY_TRIGGER[NEXT[proven, False]]


def next_trigger(state: State, *, skip_properties: bool, auto_go_live: bool) -> Trigger | None:
    """Return the trigger of the command that follows for a website in `state`, or None where it rests."""
    if state in REST_STATES or (state == HELD_AT and not auto_go_live):
        return None
    return NEXT.get((state, skip_properties)) or NEXT[state, False]


# ------------------------------------------------------------------------------------------ what people see

PROGRESS: dict[State, int | None] = {
    State.PENDING: 0,
    **{step.target: step.progress for step in STEPS},
    State.SUSPENDED: None,
    State.TERMINATED: None,
}
MESSAGES: dict[State, str] = {
    State.PENDING: "Waiting to start...",
    **{step.target: step.message for step in STEPS if not step.skips},
    State.SUSPENDED: "Website suspended",
    State.TERMINATED: "Website terminated",
}
SKIPPED: dict[State, str] = {step.target: step.message for step in STEPS if step.skips}
"""The messages of websites that have no sample properties, asked for or not, where they differ."""

if unsaid := set(State) - {State.FAILED} - (PROGRESS.keys() & MESSAGES.keys()):
    raise ValueError(f"states without a progress or a message: {sorted(unsaid)}")


def progress(state: State, facts: Facts, failed_from: State | None = None) -> int | None:
    """Return the percentage that a progress bar shows, None where there is no bar to show."""
    return PROGRESS[proven_state(facts, failed_from) if state == State.FAILED else state]


def status_message(state: State, *, error: str | None = None, skipped: bool = False) -> str:
    """Return the sentence that a customer sees; `skipped`: no sample properties were asked for, or there are none."""
    if state == State.FAILED:
        return f"Setup failed: {error}" if error else "Setup failed"
    return SKIPPED.get(state, MESSAGES[state]) if skipped else MESSAGES[state]


def checklist(facts: Facts) -> dict[str, dict[str, Any]]:
    """Return the checklist as JSON shows it, one entry a requirement."""
    return {requirement.key: _entry(requirement, facts) for requirement in REQUIREMENTS}


def missing_items(facts: Facts) -> list[str]:
    """Return the texts of what a website still lacks to go live, in the checklist's order."""
    return [missing_item(requirement, facts) for requirement in unmet(REQUIREMENTS, facts) if requirement.required]


def missing_item(requirement: Requirement, facts: Facts) -> str:
    """Return a requirement's text in the list of missing items."""
    return _text(requirement.missing, requirement, facts)


def _text(template: str, requirement: Requirement, facts: Facts) -> str:
    return template.format(key=requirement.key, have=have(requirement, facts), need=requirement.minimum)


def _entry(requirement: Requirement, facts: Facts) -> dict[str, Any]:
    value = getattr(facts, requirement.fact)
    known = {"count": value, "minimum": requirement.minimum, "value": value}
    shown = {name: known[name] for name in requirement.shows}
    return {"complete": not unmet([requirement], facts), **shown, "required": requirement.required}


# ---------------------------------------------------------------------------------------------- checks at import


def targets(transition: Transition) -> tuple[State, ...]:
    """Return every state that an edge may lead to: one, or each that `retry_provisioning` may find proven."""
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
    """Refuse a table with a state that cannot be reached, left or brought to rest, or with two rows for one trigger.

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


check(TRANSITIONS)
