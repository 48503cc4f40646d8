"""The registry of verbs feeds everything that offers a verb: command, API, page and forecast."""

import pytest

from ops.cli.main import main
from ops.websites.verb_registry import REQUEUE, VERBS, VERBS_BY_NAME, Verb, verb_forecasts
from statemachine import STEPS, Facts, State, Trigger

HELD = {
    "state": "ready",
    "auto_go_live": False,
    "skip_properties": False,
    "under_way": False,
    "website_id": 7,
    "next_step": None,
}


def test_every_verb_is_one_thing() -> None:
    """Either a transition or a function of its own, under a name that no other verb has."""
    assert len(VERBS_BY_NAME) == len(VERBS)
    for verb in VERBS:
        assert (verb.trigger is None) != (verb.run is None), verb.name


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_every_verb_is_a_command(verb: Verb) -> None:
    """Its help begins with the verb's own; it takes a reason and an actor, and asks before it destroys."""
    command = main.commands[verb.name]
    assert command.help is not None
    assert command.help.startswith(verb.help)
    options = {option for parameter in command.params for option in parameter.opts}
    assert {"--reason", "--actor", "--json"} <= options
    assert ("--yes" in options) == verb.destroys


def test_a_verb_is_open_where_the_machine_takes_it() -> None:
    """And go-live only to a website that is held, since the others go live by themselves."""
    steps = {step.source: step.trigger for step in STEPS if step.source != State.READY}
    open_to = {
        state: [verb.name for verb in VERBS if verb.is_open_to(HELD | {"state": state, "next_step": steps.get(state)})]
        for state in ("x", *State)
    }
    assert open_to["x"] == open_to["terminated"] == ["erase"]
    assert open_to["failed"] == ["requeue", "terminate", "erase"]
    assert open_to["suspended"] == ["reactivate", "terminate", "erase"]
    assert open_to["live"] == ["suspend", "erase"]
    assert open_to["ready"] == ["go-live", "suspend", "erase"]
    assert open_to["pending"] == ["start"]
    assert open_to["properties_seeded"] == ["start"]
    on_the_chain = HELD | {"state": "links_created", "next_step": "complete_field_keys", "attempts": 0, "seq": 3}
    assert not VERBS_BY_NAME["start"].is_open_to(on_the_chain | {"under_way": True})
    assert not VERBS_BY_NAME["go-live"].is_open_to(HELD | {"auto_go_live": True})


def test_the_forecast_names_what_the_verbs_say() -> None:
    """Each verb in its own words, with the state that it leads to."""
    assert verb_forecasts(State.FAILED, Facts(), State.PENDING) == [
        {"verb": REQUEUE, "works": True, "would": "go on from pending, as far as it had proven to be"},
        {"verb": "terminate", "works": True, "would": "end for good; nothing brings it back"},
    ]
    assert {verb.trigger for verb in VERBS} == {
        None, Trigger.RETRY_PROVISIONING, Trigger.GO_LIVE, Trigger.SUSPEND, Trigger.REACTIVATE, Trigger.TERMINATE,
    }  # fmt: skip
