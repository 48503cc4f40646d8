"""The rules of pwb_websites, rendered for a definition of the machine and for whose database it is.

migrations/rules*.sql are their text: checks, trigger functions and triggers, with places for states, edges and what the
database itself must know to log a transition of the existing product.
"""

import re
from enum import StrEnum

from consumer.domain.existing_product_states import LOCKED_MESSAGES, LOCKED_PROGRESS
from seeders.seeding import COUNTS
from statemachine import CHAIN, HELD_AT, STEPS, TRANSITIONS, State, next_trigger, targets
from statemachine.definition_digest import Definition
from statemachine.steps import REQUIREMENTS, guard_of
from statemachine.transitions import MESSAGES, PROGRESS, SKIPPED

EDGE = re.compile(r"'(\w+) -> (\w+)'")


class Mode(StrEnum):
    """Whose database it is."""

    OWN = "own"
    """This service's: the rules hold for every website."""
    GUEST = "guest"
    """The existing product's: the rules hold for this service's own rows."""


OURS = "NEW.provisioning_seq > 0 OR NEW.provisioning_attempts > 0 OR NEW.provisioning_request IS NOT NULL"
"""Whether a row is this service's own: it has moved by it, has tried to, or its request is stored."""
PRODUCTS_OWN = "provisioning_seq = 0 AND provisioning_attempts = 0 AND provisioning_request IS NULL"
"""The condition for rows that are the existing product's: the opposite of OURS."""
EXEMPT = {Mode.OWN: "", Mode.GUEST: f"{PRODUCTS_OWN} OR "}
"""Which rows a check leaves alone."""

BATCH_ROWS = 500
"""Rows that a migration changes and commits together: they are locked for milliseconds."""


def render(text: str, definition: Definition, mode: Mode) -> str:
    """Return a text with what stands in its places: of a definition, of a mode, and of this version's machine."""
    places = {
        "{states}": _states(definition),
        "{edges}": _edges(definition),
        "{exempt}": EXEMPT[mode],
        "{ours}": OURS,
        "{chain}": _rows(_chain(), " " * 8),
        "{triggers}": _rows(_triggers(), " " * 24),
        "{requirements}": _rows(_requirements(), " " * 12),
        "{properties}": COUNTS["properties"].subquery().replace("asked.id", "NEW.id"),
        "{locked_progress}": " ".join(f"WHEN {_text(state)} THEN {each}" for state, each in LOCKED_PROGRESS.items()),
        "{locked_messages}": " ".join(
            f"WHEN {_text(state)} THEN {_text(each)}" for state, each in LOCKED_MESSAGES.items()
        ),
        "{batch}": f"{BATCH_ROWS}",
        "{moving}": ", ".join(_text(state) for state in CHAIN[:-1]),
    }
    for place, value in places.items():
        text = text.replace(place, value)
    return text


def unrender(text: str, definition: Definition) -> str:
    """Return a text that was rendered for this definition with places for its states and edges, as it was before."""
    return text.replace(_states(definition), "{states}").replace(_edges(definition), "{edges}")


def installed_definition(function_body: str) -> Definition:
    """Return the definition for which a trigger function was rendered, by this version or another."""
    return Definition(frozenset(EDGE.findall(function_body)))


def _states(definition: Definition) -> str:
    return _listed(sorted(definition.states), " " * 12)


def _edges(definition: Definition) -> str:
    counted = f"{len(definition.states)} states and {len(definition.edges)} edges, digest {definition.digest}"
    return f"\n        -- Generated from statemachine: {counted}." + _listed(definition.names, " " * 8)


def _listed(names: list[str], indent: str) -> str:
    return ",".join(f"\n{indent}'{name}'" for name in names) + f"\n{indent[4:]}"


# ------------------------------------------------------------------------ what the database knows of the machine


def _chain() -> list[tuple[str, ...]]:
    """Return each state: its place in the chain, what people see, the triggers that follow, and what it has proven."""
    return [
        (
            f"{CHAIN.index(state)}" if state in CHAIN else "NULL",
            _text(state),
            f"{PROGRESS[state]}" if PROGRESS[state] is not None else "NULL::int",
            _text(MESSAGES[state]),
            _text(SKIPPED.get(state)),
            _text(next_trigger(state, skip_properties=False, auto_go_live=True)),
            _text(next_trigger(state, skip_properties=True, auto_go_live=True)),
            "true" if state == HELD_AT else "false",
            _proven(state),
        )
        for state in State
        if state in MESSAGES
    ]


def _proven(state: State) -> str:
    """Return the keys of what must hold for a failed website to be no further back than a state."""
    if state not in CHAIN:
        return "NULL"
    passed = [step for step in STEPS if CHAIN.index(step.target) <= CHAIN.index(state)]
    keys = dict.fromkeys(requirement.key for step in passed for requirement in guard_of(step))
    return f"ARRAY[{', '.join(map(_text, keys))}]::text[]"


def _triggers() -> list[tuple[str, ...]]:
    """Return each edge with its trigger, and whether that skips."""
    skips = {step.trigger: step.skips for step in STEPS}
    return [
        (_text(source), _text(target), _text(edge.trigger), "true" if skips.get(edge.trigger) else "false")
        for edge in TRANSITIONS
        for source in edge.sources
        for target in targets(edge)
    ]


def _requirements() -> list[tuple[str, ...]]:
    """Return what a website must have: its key, how many it has and needs, and the text where that is too few."""
    return [
        (
            f"{place}",
            _text(requirement.key),
            COUNTS[requirement.fact].subquery()
            if requirement.fact in COUNTS
            else rf"(coalesce(NEW.{requirement.fact}, '') ~ '\S')::int",
            f"{requirement.minimum}",
            _text(requirement.missing),
        )
        for place, requirement in enumerate(REQUIREMENTS)
        if requirement.required
    ]


def _rows(rows: list[tuple[str, ...]], indent: str) -> str:
    return ",".join(f"\n{indent}({', '.join(row)})" for row in rows)


def _text(value: str | None) -> str:
    return "NULL::text" if value is None else f"'{value.replace(chr(39), chr(39) * 2)}'"
