"""The states and triggers that SQL files name are the machine's: the files are static, so this compares."""

import re
from pathlib import Path

import pytest

from statemachine import HELD_AT, STEPS, State, Trigger

ROOT = Path(__file__).parents[2]
FILES = sorted(path for package in ("seeders", "consumer", "ops") for path in (ROOT / package).rglob("*.sql"))
TEXTS = {path.relative_to(ROOT).as_posix(): re.sub(r"--[^\n]*", "", path.read_text()) for path in FILES}
FOREIGN = {"locked_pending_", "locked_pending_email_verification", "locked_pending_registration"}
"""The existing product's own states, which this service does not move."""
POOL = {"reserved", "allocated"}
"""States of the existing product's pool of names."""


def named(what: str) -> dict[str, set[str]]:
    """Return, by file, the texts that columns such as `provisioning_state` or `trigger` are compared with."""
    pattern = rf"\w*{what}(?: \|\| '')?(?: = |<> | <> |, )'(\w+)'"
    return {name: found for name, text in TEXTS.items() if (found := set(re.findall(pattern, text)))}


def test_there_is_something_to_compare():
    """The patterns find what they are for."""
    assert "consumer/store/sql/write.sql" in named("state")
    assert "consumer/store/sql/write.sql" in named("trigger")


@pytest.mark.parametrize("name", named("state"))
def test_states_are_the_machines(name):
    """A state that is renamed is renamed here, too."""
    assert named("state")[name] <= {state.value for state in State} | FOREIGN | POOL


@pytest.mark.parametrize("name", named("trigger"))
def test_triggers_are_the_machines(name):
    """And so is a trigger."""
    assert named("trigger")[name] <= {trigger.value for trigger in Trigger}


def test_a_website_starts_and_completes_with_the_machines_steps():
    """`started_at` is the first step's time, `completed_at` that of the one into the state where websites are held."""
    (completing,) = [step.trigger for step in STEPS if step.target == HELD_AT]
    assert named("trigger")["consumer/store/sql/write.sql"] == {STEPS[0].trigger, completing}


@pytest.mark.parametrize("name", [name for name, text in TEXTS.items() if re.search(r"NOT \S*auto_go_live", text)])
def test_a_website_is_held_where_the_machine_says(name):
    """Where a statement asks whether a website rests without auto_go_live, the state is HELD_AT."""
    held = re.findall(r"state(?: \|\| '')? = '(\w+)' AND NOT (?:w\.|NEW\.)?provisioning_auto_go_live", TEXTS[name])
    assert set(held) == {HELD_AT.value}


def test_whoever_writes_a_state_raises_the_seq():
    """In one UPDATE: in the existing product's database, one that does not is taken for the product's own."""
    updates = [
        update for text in TEXTS.values() for update in re.findall(r"UPDATE pwb_websites.*?WHERE", text, re.DOTALL)
    ]
    # One migration writes the state that is there, so that the trigger logs what the product did while it was away.
    missed = "UPDATE pwb_websites SET provisioning_state = provisioning_state WHERE"
    writing = [each for each in updates if re.search(r"\bprovisioning_state =", each) and each != missed]
    assert len(writing) == 1, "write.sql"
    assert all("provisioning_seq = move.seq" in update for update in writing)
