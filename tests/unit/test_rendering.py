"""What is derived from the table, and kept elsewhere: the page, the diagram, the database's list of legal changes."""

import re
from pathlib import Path

import pytest

from consumer.store.migration_runner import MIGRATIONS
from statemachine import CHAIN, TRANSITIONS, State
from statemachine.rendering import markdown, mermaid
from statemachine.transitions import targets

ROOT = Path(__file__).parents[2]
SCHEMA = (ROOT / "schema.sql").read_text()


def legal_changes():
    """Every change of state that the machine knows."""
    return {f"{source} -> {target}" for t in TRANSITIONS for source in t.sources for target in targets(t)}


def test_the_page_is_what_the_table_renders():
    """docs/states.md is generated, never edited."""
    page = ROOT / "docs" / "states.md"
    assert page.exists(), "docs/states.md is missing: generate it with `make docs`"
    assert page.read_text() == markdown(), "docs/states.md is out of date: generate it anew with `make docs`"


@pytest.mark.parametrize("state", [state.value for state in State])
def test_the_page_has_every_state(state):
    """One row a state, that begins with it."""
    assert [line.startswith(f"| `{state}` | ") for line in markdown().splitlines()].count(True) == 1


@pytest.mark.parametrize("transition", TRANSITIONS, ids=lambda transition: transition.trigger.value)
def test_the_page_has_every_transition_with_its_guard(transition):
    """One row a trigger, which names each requirement of its guard."""
    (row,) = [line for line in markdown().splitlines() if line.startswith(f"| `{transition.trigger}` | ")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1] == ", ".join(f"`{source}`" for source in transition.sources)
    assert cells[3] == (", ".join(requirement.key for requirement in transition.guard) or "–")


def test_the_diagram_has_every_edge_and_no_other():
    """Each edge is one arrow; the retry is one into the choice and one out of it for each state it may lead to."""
    arrows = re.findall(r"^    (\S+) --> (\S+?)(?:: (\S+))?$", mermaid(), re.MULTILINE)
    expected = [("[*]", "pending", ""), ("terminated", "[*]", ""), ("failed", "proven", "retry_provisioning")]
    expected += [("proven", state.value, "") for state in CHAIN[:-1]]
    expected += [
        (source.value, t.target.value, t.trigger.value) for t in TRANSITIONS if t.target for source in t.sources
    ]
    assert sorted(arrows) == sorted(expected)


def test_the_diagram_stands_in_the_page():
    """Where people look for it, as a Mermaid block."""
    assert f"```mermaid\n{mermaid()}```\n" in markdown()


def test_the_database_knows_the_same_legal_changes():
    """The list in schema.sql is the machine's, without doubles."""
    (listed,) = re.findall(r"<> ALL \(ARRAY\[(.*?)\]\)", SCHEMA, re.DOTALL)
    changes = re.findall(r"'([^']*)'", listed)
    assert len(changes) == len(set(changes))
    assert set(changes) == legal_changes()


def test_the_database_knows_the_same_states():
    """Its CHECK lists exactly the eleven, apart from the two of the existing product's own."""
    (listed,) = re.findall(r"\$check\$provisioning_state IN \((.*?)\)", SCHEMA, re.DOTALL)
    assert re.findall(r"'([^']*)'", listed) == sorted(state.value for state in State)


def test_a_website_is_born_where_the_machine_starts():
    """A new table and one that was there both default to pending, the chain's first state."""
    assert f"provisioning_state varchar NOT NULL DEFAULT '{CHAIN[0]}'" in SCHEMA
    assert f"provisioning_state varchar NOT NULL DEFAULT '{CHAIN[0]}'" in MIGRATIONS["0001_tables"]
    assert f"ALTER COLUMN provisioning_state SET DEFAULT '{CHAIN[0]}'" in MIGRATIONS["rules_own"]
