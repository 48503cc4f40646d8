"""The machine against the mission, written out here a second time by hand: nothing expected is read from the table."""

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from statemachine import (
    CHAIN,
    TRANSITIONS,
    Advance,
    Facts,
    Illegal,
    Refuse,
    Stale,
    State,
    Transition,
    Trigger,
    Wait,
    checklist,
    is_step,
    judge,
    machine,
    missing_items,
    next_trigger,
    plan,
    progress,
    proven_state,
    status_message,
)
from statemachine.machine import BY_TRIGGER, check, edge

COMPLETE = Facts(owners=1, agencies=1, links=3, field_keys=5, properties=1, subdomain="my-agency")

TRIGGERS = (
    "assign_owner", "complete_agency", "complete_links", "complete_field_keys", "seed_properties", "skip_properties",
    "mark_ready", "go_live", "fail_provisioning", "retry_provisioning", "suspend", "reactivate", "terminate",
)  # fmt: skip
STATES = (
    "pending", "owner_assigned", "agency_created", "links_created", "field_keys_created", "properties_seeded",
    "ready", "live", "failed", "suspended", "terminated",
)  # fmt: skip

# go: an edge of the mission's table; stale: it has been done or passed; -: illegal. In the order of TRIGGERS.
EXPECTED = {
    #                      owner  agency links  keys   seed   skip   ready  live   fail   retry  susp.  react. term.
    "pending":            "go     -      -      -      -      -      -      -      go     -      -      -      -",
    "owner_assigned":     "stale  go     -      -      -      -      -      -      go     -      -      -      -",
    "agency_created":     "stale  stale  go     -      -      -      -      -      go     -      -      -      -",
    "links_created":      "stale  stale  stale  go     -      -      -      -      go     -      -      -      -",
    "field_keys_created": "stale  stale  stale  stale  go     go     -      -      go     -      -      -      -",
    "properties_seeded":  "stale  stale  stale  stale  stale  stale  go     -      go     -      -      -      -",
    "ready":              "stale  stale  stale  stale  stale  stale  stale  go     go     -      go     -      -",
    "live":               "stale  stale  stale  stale  stale  stale  stale  stale  -      -      go     stale  -",
    "failed":             "-      -      -      -      -      -      -      -      stale  go     -      -      go",
    "suspended":          "-      -      -      -      -      -      -      -      -      -      stale  go     go",
    "terminated":         "-      -      -      -      -      -      -      -      -      -      -      -      stale",
}  # fmt: skip
PAIRS = [
    (state, trigger, meaning)
    for state, row in EXPECTED.items()
    for trigger, meaning in zip(TRIGGERS, row.split(), strict=True)
]

LEADS_TO = {
    "assign_owner": "owner_assigned",
    "complete_agency": "agency_created",
    "complete_links": "links_created",
    "complete_field_keys": "field_keys_created",
    "seed_properties": "properties_seeded",
    "skip_properties": "properties_seeded",
    "mark_ready": "ready",
    "go_live": "live",
    "fail_provisioning": "failed",
    "suspend": "suspended",
    "reactivate": "live",
    "terminate": "terminated",
}


def lacking(**facts):
    """Complete facts but for these."""
    return replace(COMPLETE, **facts)


def judged(trigger, facts, **more):
    return judge(BY_TRIGGER[Trigger(trigger)], facts, **more)


# ------------------------------------------------------------------------------------------ states and triggers


def test_there_are_eleven_states_and_thirteen_triggers():
    """The vocabulary is the mission's, to the letter."""
    assert tuple(State) == STATES
    assert tuple(Trigger) == TRIGGERS
    assert len(PAIRS) == 143


@pytest.mark.parametrize(("state", "trigger", "meaning"), PAIRS)
def test_every_pair_means_what_the_mission_says(state, trigger, meaning):
    """Each of the 143 pairs is an edge, stale or illegal as written out above."""
    planned = plan(State(state), Trigger(trigger))
    match meaning:
        case "go":
            assert isinstance(planned, Transition)
            assert planned.trigger == trigger
            assert planned.target == LEADS_TO.get(trigger)
        case "stale":
            assert isinstance(planned, Stale)
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


@pytest.mark.parametrize("failed_from", STATES[:7])
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
    assert proven_state(COMPLETE, State(failed_from)) in CHAIN[:7]


def test_a_retry_advances_to_the_proven_state():
    """The one edge without a fixed target takes it from the facts."""
    assert judged("retry_provisioning", lacking(links=2), failed_from=State.READY) == Advance(State.AGENCY_CREATED)
    assert judged("retry_provisioning", Facts(), failed_from=State.READY) == Advance(State.PENDING)


# --------------------------------------------------------------------------------------------------- next trigger

OWED = {
    "pending": "assign_owner",
    "owner_assigned": "complete_agency",
    "agency_created": "complete_links",
    "links_created": "complete_field_keys",
    "field_keys_created": "seed_properties",
    "properties_seeded": "mark_ready",
    "ready": "go_live",
    "live": None,
    "failed": None,
    "suspended": None,
    "terminated": None,
}


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
    """The first eight walk the chain, the rest is for people."""
    assert is_step(Trigger(trigger)) == (trigger in TRIGGERS[:8])


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


def test_a_broken_chain_is_refused():
    """Every state of the chain has an edge to the next one."""
    table = rewired(go_live=edge(Trigger.GO_LIVE, State.PROPERTIES_SEEDED, State.LIVE))
    with pytest.raises(ValueError, match="chain is broken after ready"):
        check(table)


def test_a_broken_table_cannot_be_imported(tmp_path):
    """The check runs when the module is imported, not when somebody thinks of it."""
    source = Path(machine.__file__).read_text()
    row = next(line for line in source.splitlines() if line.lstrip().startswith("edge(T.GO_LIVE,"))
    broken = tmp_path / "broken_machine.py"
    broken.write_text(source.replace(row, row.replace("S.READY, ", "S.PROPERTIES_SEEDED, ")))
    assert broken.read_text() != source
    spec = importlib.util.spec_from_file_location("broken_machine", broken)
    with pytest.MonkeyPatch.context() as patch:
        module = importlib.util.module_from_spec(spec)
        patch.setitem(sys.modules, "broken_machine", module)
        with pytest.raises(ValueError, match="chain is broken after ready"):
            spec.loader.exec_module(module)
