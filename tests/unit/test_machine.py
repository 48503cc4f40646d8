"""The machine against the mission, of which tests/invariants.py has a copy: nothing expected is read from the table."""

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from statemachine import (
    STEPS,
    TRANSITIONS,
    Advance,
    Facts,
    Illegal,
    Passed,
    Refuse,
    State,
    Transition,
    Trigger,
    Wait,
    checklist,
    is_step,
    judge,
    missing_items,
    next_trigger,
    plan,
    progress,
    proven_state,
    status_message,
    steps,
)
from statemachine.steps import OWNER, check_steps
from statemachine.transitions import BY_TRIGGER, check, edge
from tests.factories import complete_facts
from tests.invariants import CHAIN, EDGES

COMPLETE = complete_facts()
STATES = (*CHAIN, "failed", "suspended", "terminated")
TRIGGERS = tuple(dict.fromkeys(trigger for trigger, _, _ in EDGES))
TARGETS = {trigger: {target for each, _, target in EDGES if each == trigger} for trigger in TRIGGERS}
LEADS_TO = {trigger: target for trigger, targets in TARGETS.items() for target in targets if len(targets) == 1}
"""All but the retry have one target."""
WALKS = {trigger for trigger, source, target in EDGES if source in CHAIN and target in CHAIN}
OWED = dict.fromkeys(STATES) | {
    source: trigger for trigger, source, _ in reversed(EDGES) if trigger in WALKS and trigger != "skip_properties"
}


def meaning(state, trigger):
    """What the mission says of a pair: `go` where there is an edge, `stale` where it has been done or passed."""
    if any((trigger, state) == (each, source) for each, source, _ in EDGES):
        return "go"
    target = LEADS_TO.get(trigger)
    passed = state in CHAIN and target in CHAIN and CHAIN.index(state) > CHAIN.index(target)
    return "stale" if state == target or passed else "illegal"


PAIRS = [(state, trigger, meaning(state, trigger)) for state in STATES for trigger in TRIGGERS]


def lacking(**facts):
    """Complete facts but for these."""
    return replace(COMPLETE, **facts)


def judged(trigger, facts, **more):
    return judge(BY_TRIGGER[Trigger(trigger)], facts, **more)


# ------------------------------------------------------------------------------------------ states and triggers


def test_states_and_triggers():
    """The vocabulary is the mission's, to the letter and in its order."""
    assert tuple(State) == STATES
    assert tuple(Trigger) == TRIGGERS


@pytest.mark.parametrize(
    ("state", "trigger", "expected"),
    [
        ("ready", "suspend", "go"),
        ("ready", "mark_ready", "stale"),
        ("live", "assign_owner", "stale"),
        ("live", "reactivate", "stale"),
        ("failed", "fail_provisioning", "stale"),
        ("failed", "assign_owner", "illegal"),
        ("pending", "retry_provisioning", "illegal"),
        ("terminated", "reactivate", "illegal"),
    ],
)
def test_the_expectation_itself(state, trigger, expected):
    """What the tests below expect of some pairs, written out by hand."""
    assert meaning(state, trigger) == expected


@pytest.mark.parametrize(("state", "trigger", "meaning"), PAIRS)
def test_every_pair_means_what_the_mission_says(state, trigger, meaning):
    """Each pair is an edge, stale or illegal as the copy in tests/invariants.py has it."""
    planned = plan(State(state), Trigger(trigger))
    match meaning:
        case "go":
            assert isinstance(planned, Transition)
            assert planned.trigger == trigger
            assert planned.target == LEADS_TO.get(trigger)
        case "stale":
            assert isinstance(planned, Passed)
        case _:
            assert isinstance(planned, Illegal)
    if meaning != "go":
        assert trigger in planned.why
        assert state in planned.why


def test_an_illegal_pair_says_what_the_trigger_needs():
    """The sentence names the states in which the trigger would be legal."""
    assert plan(State.PENDING, Trigger.SUSPEND) == Illegal(
        "suspend needs a website that is ready or live, this one is pending"
    )


# ------------------------------------------------------------------------------------------------------ guards

NOTHING_YET = (
    "Provisioning incomplete - missing: owner membership, agency, links (have 0, need 3), field_keys (have 0, need 5)"
)
REFUSALS = [
    ("complete_agency", lacking(agencies=0), "Agency creation failed - no agency record found"),
    ("complete_links", lacking(links=2), "Links creation failed - need at least 3, have 2"),
    ("complete_links", lacking(links=0), "Links creation failed - need at least 3, have 0"),
    ("complete_field_keys", lacking(field_keys=0), "Field keys creation failed - need at least 5, have 0"),
    ("complete_field_keys", lacking(field_keys=4), "Field keys creation failed - need at least 5, have 4"),
    ("mark_ready", lacking(links=2), "Provisioning incomplete - missing: links (have 2, need 3)"),
    (
        "mark_ready",
        Facts(),
        NOTHING_YET,
    ),
    (
        "go_live",
        lacking(subdomain=None, field_keys=1),
        "Cannot go live - missing: field_keys (have 1, need 5), subdomain",
    ),
    ("go_live", lacking(owners=0, agencies=0), "Cannot go live - missing: owner membership, agency"),
    ("reactivate", lacking(links=1), "Cannot reactivate - missing: links (have 1, need 3)"),
]
WAITS = [
    ("assign_owner", lacking(owners=0), "Owner assignment failed - no active owner membership"),
    ("mark_ready", lacking(owners=0), "Provisioning incomplete - missing: owner membership"),
    ("go_live", lacking(subdomain=None), "Cannot go live - missing: subdomain"),
    ("go_live", lacking(subdomain=""), "Cannot go live - missing: subdomain"),
    ("go_live", lacking(subdomain=" \t"), "Cannot go live - missing: subdomain"),
    ("go_live", lacking(subdomain=None, owners=0), "Cannot go live - missing: owner membership, subdomain"),
    ("reactivate", lacking(subdomain=None), "Cannot reactivate - missing: subdomain"),
]


@pytest.mark.parametrize(("trigger", "facts", "error"), REFUSALS)
def test_a_guard_over_our_own_data_refuses(trigger, facts, error):
    """What we seeded and is not there will not come by waiting; one such lack outweighs those of others."""
    assert judged(trigger, facts) == Refuse(error)


@pytest.mark.parametrize(("trigger", "facts", "error"), WAITS)
def test_a_guard_over_data_of_others_waits(trigger, facts, error):
    """Owner and subdomain are brought by the signup, which may simply not be done yet."""
    assert judged(trigger, facts) == Wait(error)


@pytest.mark.parametrize("trigger", sorted(LEADS_TO))
def test_a_complete_website_passes_every_guard(trigger):
    """With everything at its minimum, each edge advances to its target."""
    assert judged(trigger, COMPLETE) == Advance(State(LEADS_TO[trigger]))


@pytest.mark.parametrize("trigger", ["seed_properties", "skip_properties", "fail_provisioning", "suspend", "terminate"])
def test_an_edge_without_a_guard_asks_for_nothing(trigger):
    """A website that has nothing at all may take it."""
    assert judged(trigger, Facts()) == Advance(State(LEADS_TO[trigger]))


def test_properties_are_never_required():
    """A website without a single property becomes ready and goes live."""
    bare = lacking(properties=0)
    assert judged("mark_ready", bare) == Advance(State.READY)
    assert judged("go_live", bare) == Advance(State.LIVE)


def test_becoming_ready_needs_no_subdomain():
    """Only going live does."""
    assert judged("mark_ready", lacking(subdomain=None)) == Advance(State.READY)


def test_a_step_judges_its_own_requirement_only():
    """Links are not refused for want of an owner: that is asked at mark_ready again."""
    assert judged("complete_links", Facts(links=3)) == Advance(State.LINKS_CREATED)


# ------------------------------------------------------------------------------------- checklist, missing items


def test_the_checklist_is_the_missions_json():
    """Keys, order and shape of each entry, to the letter."""
    facts = Facts(owners=1, agencies=0, links=2, field_keys=7, properties=0, subdomain="my-agency")
    assert json.dumps(checklist(facts)) == json.dumps(
        {
            "owner": {"complete": True, "required": True},
            "agency": {"complete": False, "required": True},
            "links": {"complete": False, "count": 2, "minimum": 3, "required": True},
            "field_keys": {"complete": True, "count": 7, "minimum": 5, "required": True},
            "properties": {"complete": False, "count": 0, "required": False},
            "subdomain": {"complete": True, "value": "my-agency", "required": True},
        }
    )


def test_the_checklist_of_nothing_is_all_open():
    """A website that has nothing shows every entry, none complete, and a null subdomain."""
    entries = checklist(Facts())
    assert list(entries) == ["owner", "agency", "links", "field_keys", "properties", "subdomain"]
    assert not any(entry["complete"] for entry in entries.values())
    assert entries["subdomain"]["value"] is None


@pytest.mark.parametrize(
    ("facts", "missing"),
    [
        (COMPLETE, []),
        (lacking(properties=0), []),
        (lacking(owners=0), ["owner membership"]),
        (lacking(agencies=0), ["agency"]),
        (lacking(links=2), ["links (have 2, need 3)"]),
        (lacking(field_keys=0), ["field_keys (have 0, need 5)"]),
        (lacking(subdomain="  "), ["subdomain"]),
        (
            Facts(),
            ["owner membership", "agency", "links (have 0, need 3)", "field_keys (have 0, need 5)", "subdomain"],
        ),
    ],
)
def test_missing_items_are_the_missions_texts(facts, missing):
    """In the checklist's order, and never the properties."""
    assert missing_items(facts) == missing


# ---------------------------------------------------------------------------------------- progress and messages

SHOWN = {
    "pending": (0, "Waiting to start..."),
    "owner_assigned": (15, "Owner account created"),
    "agency_created": (30, "Agency information saved"),
    "links_created": (45, "Navigation links created"),
    "field_keys_created": (60, "Property fields configured"),
    "properties_seeded": (80, "Sample properties added"),
    "ready": (95, "Almost done! Finalizing..."),
    "live": (100, "Your website is live!"),
    "suspended": (None, "Website suspended"),
    "terminated": (None, "Website terminated"),
}


@pytest.mark.parametrize("state", sorted(SHOWN))
def test_progress_and_message_of_a_state(state):
    """What the customer sees is the mission's, whatever the website has."""
    assert (progress(State(state), COMPLETE), status_message(State(state))) == SHOWN[state]
    assert progress(State(state), Facts()) == SHOWN[state][0]


def test_skipped_properties_have_a_message_of_their_own():
    """It replaces the one of properties_seeded, and no other."""
    assert status_message(State.PROPERTIES_SEEDED, skipped=True) == "Sample properties skipped"
    assert status_message(State.READY, skipped=True) == "Almost done! Finalizing..."


def test_a_failed_website_says_why():
    """The message carries the error."""
    assert status_message(State.FAILED, error="no luck") == "Setup failed: no luck"


def test_a_failed_website_without_an_error_invents_none():
    """The existing product fails its own websites without one: the customer reads no Python."""
    assert status_message(State.FAILED) == status_message(State.FAILED, error="") == "Setup failed"


@pytest.mark.parametrize(
    ("facts", "failed_from", "percent"),
    [
        (COMPLETE, State.LINKS_CREATED, 45),
        (lacking(links=2), State.LINKS_CREATED, 30),
        (Facts(), State.READY, 0),
        (COMPLETE, State.READY, 95),
        (COMPLETE, None, 0),
    ],
)
def test_the_progress_of_a_failed_website_is_that_of_its_proven_state(facts, failed_from, percent):
    """It follows the data of now, not what an earlier attempt said."""
    assert progress(State.FAILED, facts, failed_from) == percent


# --------------------------------------------------------------------------------------------------- proven state


@pytest.mark.parametrize("failed_from", CHAIN[:-1])
def test_a_complete_website_resumes_where_it_failed(failed_from):
    """All guards hold, so nothing that is proven is redone, and nothing beyond it is believed."""
    assert proven_state(COMPLETE, State(failed_from)) == failed_from


@pytest.mark.parametrize(
    ("facts", "proven"),
    [
        (lacking(owners=0), "pending"),
        (lacking(agencies=0), "owner_assigned"),
        (lacking(links=2), "agency_created"),
        (lacking(field_keys=4), "links_created"),
        (lacking(properties=0), "ready"),
        (lacking(subdomain=None), "ready"),
        (lacking(owners=0, field_keys=0), "pending"),
    ],
)
def test_the_proven_state_stops_at_the_first_guard_that_fails(facts, proven):
    """A website that had come as far as ready is sent back to before the first lack."""
    assert proven_state(facts, State.READY) == proven


def test_an_unknown_origin_has_proven_nothing():
    """Where nobody knows from which state it failed, seeding starts anew."""
    assert proven_state(COMPLETE, None) == State.PENDING


@pytest.mark.parametrize("failed_from", STATES)
def test_a_retry_never_lands_beyond_ready(failed_from):
    """Whatever the column says, even what no website can have failed from: never live, never a crash."""
    assert proven_state(COMPLETE, State(failed_from)) in CHAIN[:-1]


def test_a_retry_advances_to_the_proven_state():
    """The one edge without a fixed target takes it from the facts."""
    assert judged("retry_provisioning", lacking(links=2), failed_from=State.READY) == Advance(State.AGENCY_CREATED)
    assert judged("retry_provisioning", Facts(), failed_from=State.READY) == Advance(State.PENDING)


# --------------------------------------------------------------------------------------------------- next trigger


@pytest.mark.parametrize("state", STATES)
def test_what_a_website_is_owed(state):
    """Each state of the chain names its next step, each state of rest none."""
    assert next_trigger(State(state), skip_properties=False, auto_go_live=True) == OWED[state]


@pytest.mark.parametrize("state", STATES)
def test_skipping_properties_changes_one_step(state):
    """Only field_keys_created owes another trigger."""
    expected = "skip_properties" if state == "field_keys_created" else OWED[state]
    assert next_trigger(State(state), skip_properties=True, auto_go_live=True) == expected


@pytest.mark.parametrize("state", STATES)
def test_a_held_website_rests_at_ready(state):
    """Without auto_go_live nothing is owed at ready, and all as usual before."""
    expected = None if state == "ready" else OWED[state]
    assert next_trigger(State(state), skip_properties=False, auto_go_live=False) == expected


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_steps_are_the_triggers_of_the_engine(trigger):
    """They walk the chain, the rest is for people."""
    assert is_step(Trigger(trigger)) == (trigger in WALKS)


# ------------------------------------------------------------------------------------- the table is sound, or else


def rewired(**edges):
    """The table with some rows replaced, by the name of their trigger."""
    return tuple(edges.get(row.trigger.value, row) for row in TRANSITIONS)


def test_the_real_table_is_sound():
    """The check raises nothing on what it guards."""
    check(TRANSITIONS)


def test_a_doubled_trigger_is_refused():
    """One trigger, one row."""
    with pytest.raises(ValueError, match="assign_owner"):
        check((*TRANSITIONS, TRANSITIONS[0]))


def test_a_trigger_without_a_row_is_refused():
    """Every trigger has an edge."""
    with pytest.raises(ValueError, match=r"triggers without a row.*terminate"):
        check(TRANSITIONS[:-1])


def test_an_unreachable_state_is_refused():
    """If suspend led elsewhere, no website could be suspended."""
    table = rewired(suspend=edge(Trigger.SUSPEND, (State.READY, State.LIVE), State.FAILED))
    with pytest.raises(ValueError, match=r"reach from pending.*suspended"):
        check(table)


def test_a_trap_is_refused():
    """A state that no website can leave is one nobody meant, terminated apart."""
    table = rewired(
        reactivate=edge(Trigger.REACTIVATE, State.FAILED, State.LIVE),
        terminate=edge(Trigger.TERMINATE, State.FAILED, State.TERMINATED),
    )
    with pytest.raises(ValueError, match=r"leave.*suspended"):
        check(table)


def test_a_state_without_a_way_to_rest_is_refused():
    """A website that could only go round in circles would be owed something for ever."""
    table = rewired(
        mark_ready=edge(Trigger.MARK_READY, (State.PROPERTIES_SEEDED, State.READY), State.READY),
        go_live=edge(Trigger.GO_LIVE, State.PROPERTIES_SEEDED, State.LIVE),
        fail_provisioning=edge(Trigger.FAIL_PROVISIONING, CHAIN[:-2], State.FAILED),
        suspend=edge(Trigger.SUSPEND, State.LIVE, State.SUSPENDED),
    )
    with pytest.raises(ValueError, match=r"way to rest.*ready"):
        check(table)


def changed(trigger, **fields):
    """The steps with one row changed."""
    return tuple(replace(step, **fields) if step.trigger == trigger else step for step in STEPS)


@pytest.mark.parametrize(
    ("rows", "error"),
    [
        (changed("go_live", source=State.PROPERTIES_SEEDED), "chain is broken after ready"),
        (changed("complete_links", progress=30), "complete_links: 30 % does not fit"),
        (changed("skip_properties", progress=79), "seed_properties: 80 % does not fit"),
        (changed("go_live", progress=101), "go_live: 101 % does not fit"),
        (changed("assign_owner", requirement=replace(OWNER, fact="landlords")), "there is no fact landlords"),
        (changed("complete_links", failure=""), "complete_links: it has a guard, and no error"),
        (changed("mark_ready", failure=""), "mark_ready: it has a guard, and no error"),
    ],
)
def test_steps_that_do_not_fit_are_refused(rows, error):
    """A gap in the chain, a step back on the progress bar, a fact that nobody counts, a guard without an error."""
    with pytest.raises(ValueError, match=error):
        check_steps(rows)


def test_a_broken_table_cannot_be_imported(tmp_path):
    """The check runs when the module is imported, not when somebody thinks of it."""
    source = Path(steps.__file__).read_text()
    row = next(line for line in source.splitlines() if line.lstrip().startswith("Step(T.GO_LIVE,"))
    broken = tmp_path / "broken_steps.py"
    broken.write_text(source.replace(row, row.replace("S.READY, ", "S.PROPERTIES_SEEDED, ")))
    assert broken.read_text() != source
    spec = importlib.util.spec_from_file_location("broken_steps", broken)
    with pytest.MonkeyPatch.context() as patch:
        module = importlib.util.module_from_spec(spec)
        patch.setitem(sys.modules, "broken_steps", module)
        with pytest.raises(ValueError, match="chain is broken after ready"):
            spec.loader.exec_module(module)
