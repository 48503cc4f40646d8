"""The rules of pwb_websites are rendered from the machine, into schema.sql and into the migration that is run."""

import re

from consumer.store.migration_runner import MIGRATIONS, runs_in
from consumer.store.provisioning_statements import RESTING
from consumer.store.rules_template import Mode, installed_definition, render, unrender
from statemachine import TRANSITIONS, State
from statemachine.definition_digest import DEFINITION, Definition
from tests.schema_files import SCHEMA, schema_text

LONGER = DEFINITION | Definition(frozenset({("ready", "archived"), ("archived", "live")}))


def test_the_rules_in_schema_sql_are_generated():
    """The block between the two marks is what `make docs` writes."""
    assert SCHEMA.read_text() == schema_text(), "generate it anew with `make docs`"


def test_every_table_of_schema_sql_opens_with_a_sentence():
    """A comment stands above each CREATE TABLE, and begins with a name and a colon."""
    text = SCHEMA.read_text()
    sentence = r"-- [A-Z][a-z]+(?: [a-z]+)?: (?:[^\n]*\n-- )*[^\n]*\.\n"
    opened = re.findall(rf"^{sentence}CREATE TABLE (\w+)", text, re.MULTILINE)
    assert opened == re.findall(r"^CREATE TABLE (\w+)", text, re.MULTILINE)


def test_the_definition_has_every_state_and_edge_of_the_machine():
    """A state is the end of an edge, so the edges are all that there is to say."""
    assert DEFINITION.states == {state.value for state in State}
    assert {target for _, target in DEFINITION.edges} >= {t.target.value for t in TRANSITIONS if t.target}


def test_a_digest_names_a_definition():
    """Equal edges have equal digests in whatever order; one edge more or less is another digest."""
    again = Definition(frozenset(sorted(DEFINITION.edges, reverse=True)))
    assert again.digest == DEFINITION.digest
    digests = {definition.digest for definition in (DEFINITION, LONGER, LONGER - DEFINITION)}
    assert len(digests) == 3


def test_what_was_rendered_can_be_read_again():
    """The edges stand in the rendered text, its digest too; the places for them come back."""
    text = render(MIGRATIONS["rules"], LONGER, Mode.OWN)
    assert installed_definition(text) == LONGER
    assert f"12 states and 28 edges, digest {LONGER.digest}" in text
    assert unrender(text, LONGER) == MIGRATIONS["rules"].replace("{exempt}", "")


def test_migrations_run_in_the_order_of_their_numbers():
    """Numbered ones first, without a gap; then the rules, of both and of each mode, what makes rows comply with
    them, and last what validates them."""
    *numbered, rules, guest, own, rows, validation = MIGRATIONS
    assert [name[:4] for name in numbered] == [f"{n:04}" for n in range(1, len(numbered) + 1)]
    assert (rules, guest, own) == ("rules", "rules_guest", "rules_own")
    assert (rows, validation) == ("update_rows_guest", "validation")


def test_a_migration_of_one_mode_runs_in_that_alone():
    """A migration of one mode has a name that ends with the mode; the others run in both modes."""
    only = {mode: {name for name in MIGRATIONS if runs_in(name, mode)} for mode in Mode}
    assert only[Mode.OWN] - only[Mode.GUEST] == {"0005_indexes_own", "rules_own"}
    assert only[Mode.GUEST] - only[Mode.OWN] == {"rules_guest", "update_rows_guest"}


def test_the_states_at_rest_that_erasing_and_pruning_name_are_all():
    """Those of the machine, and the existing product's locked ones; the rules are rendered for no other."""
    named = re.findall(r"provisioning_state NOT IN \(([^)]*)\)", MIGRATIONS["rules"])
    assert [set(re.findall(r"'(\w+)'", each)) for each in named] == [{*RESTING}, {*RESTING}]
