"""The steps from signup to live: states, triggers, what a website must have, and one row a step.

Chain, transitions, guards, next trigger, progress, messages, checklist, docs and the database's list of legal changes
follow from STEPS. Its other half is `seeders.step_bindings`: how what a step requires is counted, and what is inserted before
its guard is judged. Importing that half fails unless the two match one to one.

To add a step, add here its target to State (in the order of the chain), its trigger to Trigger, what it counts to Facts,
a Requirement, and its row to STEPS; the step that followed starts at the new state. Then write its binding.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from itertools import pairwise


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


# ------------------------------------------------------------------------------------------ what a website must have


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a website has, counted under its row lock.

    `owners` are active memberships with the role owner; `subdomain` is the row's own; the rest are rows of the website.
    """

    owners: int = 0
    agencies: int = 0
    links: int = 0
    field_keys: int = 0
    properties: int = 0
    subdomain: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """One thing that a website must have, or may have: guard, checklist entry, missing item and error in one row.

    Attributes:
        key: its name in the checklist.
        fact: the field of Facts that it is about. A text counts as one, a blank one as none.
        minimum: how many are needed.
        missing: its text in the list of missing items; `{key}`, `{have}` and `{need}` are filled in.
        shortfall: the same as a step's error says it.
        shows: what its checklist entry has beside `complete` and `required`, of `count`, `minimum` and `value`.
        required: whether a website may not go live without it.
        from_others: whether the data come from outside (signup), so that waiting may help.
    """

    key: str
    fact: str
    minimum: int = 1
    missing: str = "{key} (have {have}, need {need})"
    shortfall: str = "need at least {need}, have {have}"
    shows: tuple[str, ...] = ("count", "minimum")
    required: bool = True
    from_others: bool = False


OWNER = Requirement(
    key="owner", fact="owners", missing="owner membership", shortfall="no active owner membership", shows=(),
    from_others=True,
)  # fmt: skip
AGENCY = Requirement(key="agency", fact="agencies", missing="agency", shortfall="no agency record found", shows=())
LINKS = Requirement(key="links", fact="links", minimum=3)
FIELD_KEYS = Requirement(key="field_keys", fact="field_keys", minimum=5)
PROPERTIES = Requirement(key="properties", fact="properties", shows=("count",), required=False)
SUBDOMAIN = Requirement(
    key="subdomain", fact="subdomain", missing="subdomain", shortfall="no subdomain", shows=("value",),
    from_others=True,
)  # fmt: skip


# -------------------------------------------------------------------------------------------------------- the steps


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the chain, as far as it is pure.

    Attributes:
        trigger: the command that takes it.
        source: where it starts.
        target: where it leads.
        progress: the percentage that a progress bar shows once it is taken.
        message: the sentence that the customer sees then.
        requirement: what it adds to the checklist; its guard, if that is required.
        failure: how its error begins when the guard does not hold.
        cumulative: whether its guard is all that the steps before it require, too; its error lists what is missing.
        skips: whether it is taken instead of the step above it by websites that ask for no sample properties.
    """

    trigger: Trigger
    source: State
    target: State
    progress: int
    message: str
    requirement: Requirement | None = None
    failure: str = ""
    cumulative: bool = False
    skips: bool = False


S, T = State, Trigger
# fmt: off
STEPS: tuple[Step, ...] = (
    #    trigger                 from                  to                     %    status message                checklist   error, when the guard does not hold
    Step(T.ASSIGN_OWNER,         S.PENDING,            S.OWNER_ASSIGNED,      15,  "Owner account created",      OWNER,      "Owner assignment failed"),
    Step(T.COMPLETE_AGENCY,      S.OWNER_ASSIGNED,     S.AGENCY_CREATED,      30,  "Agency information saved",   AGENCY,     "Agency creation failed"),
    Step(T.COMPLETE_LINKS,       S.AGENCY_CREATED,     S.LINKS_CREATED,       45,  "Navigation links created",   LINKS,      "Links creation failed"),
    Step(T.COMPLETE_FIELD_KEYS,  S.LINKS_CREATED,      S.FIELD_KEYS_CREATED,  60,  "Property fields configured", FIELD_KEYS, "Field keys creation failed"),
    Step(T.SEED_PROPERTIES,      S.FIELD_KEYS_CREATED, S.PROPERTIES_SEEDED,   80,  "Sample properties added",    PROPERTIES),
    Step(T.SKIP_PROPERTIES,      S.FIELD_KEYS_CREATED, S.PROPERTIES_SEEDED,   80,  "Sample properties skipped",  skips=True),
    Step(T.MARK_READY,           S.PROPERTIES_SEEDED,  S.READY,               95,  "Almost done! Finalizing...", None,       "Provisioning incomplete", cumulative=True),
    Step(T.GO_LIVE,              S.READY,              S.LIVE,                100, "Your website is live!",      SUBDOMAIN,  "Cannot go live", cumulative=True),
)
# fmt: on
"""The way from signup to live, in order. Everything else derives from these rows."""

CHAIN: tuple[State, ...] = (STEPS[0].source, *dict.fromkeys(step.target for step in STEPS))
"""The states on that way, in order."""
HELD_AT = CHAIN[-2]
"""Where a website rests that is not to go live by itself: `ready`."""
STEP_OF: dict[Trigger, Step] = {step.trigger: step for step in STEPS}
REQUIREMENTS: tuple[Requirement, ...] = tuple(step.requirement for step in STEPS if step.requirement)
"""In the order of the checklist."""


def guard_of(step: Step) -> tuple[Requirement, ...]:
    """Return what must hold for a step to be taken."""
    steps = STEPS[: STEPS.index(step) + 1] if step.cumulative else (step,)
    return tuple(each.requirement for each in steps if each.requirement and each.requirement.required)


def check_steps(steps: Sequence[Step]) -> None:
    """Refuse steps that do not form a chain, that go back on the progress bar, or that require a fact that is not there.

    Raises:
        ValueError: naming the step or state that is wrong.
    """
    chain = [steps[0].source, *dict.fromkeys(step.target for step in steps)]
    for state, following in pairwise(chain):
        if not any((step.source, step.target) == (state, following) for step in steps):
            raise ValueError(f"the chain is broken after {state}: no step leads from there to {following}")
    reached = {steps[0].source: 0} | {step.target: step.progress for step in steps}
    for step in steps:
        if not reached[step.source] < step.progress == reached[step.target] <= 100:  # noqa: PLR2004 - percent
            raise ValueError(f"{step.trigger}: {step.progress} % does not fit between the steps before and after it")
        if step.requirement and step.requirement.fact not in {field.name for field in fields(Facts)}:
            raise ValueError(f"{step.trigger}: there is no fact {step.requirement.fact}")
        if ((step.requirement and step.requirement.required) or step.cumulative) and not step.failure:
            raise ValueError(f"{step.trigger}: it has a guard, and no error for when that does not hold")


check_steps(STEPS)
