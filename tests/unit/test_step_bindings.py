"""Each step has its binding, and whoever forgets one hears of it at import: seeder, fact, defaults, forecasts."""

import importlib.util
from dataclasses import fields, replace
from pathlib import Path

import pytest

from consumer.messages.inbound import decode
from ops.dead_letters.redrive_forecast import RedriveProspect, ReferencedRows, redrive_prospect
from ops.websites.requeue_forecast import RequeueProspect, after_step, forecast_website
from seeders import step_bindings
from seeders.pack_problems import PackError
from seeders.seeding import STATEMENTS
from seeders.step_bindings import BINDINGS, Count, StepBinding, bound, seeds
from statemachine import CHAIN, STEP_OF, STEPS, Facts, State, Trigger, unmet
from tests.factories import make_delivery, make_website

SEEDING = [trigger for trigger, binding in BINDINGS.items() if binding.seeder]
LINKS = BINDINGS[Trigger.COMPLETE_LINKS]


def with_entry(trigger, **changes):
    """The steps with the requirement of one changed."""
    return tuple(
        replace(step, requirement=step.requirement and replace(step.requirement, **changes))
        if step.trigger == trigger
        else step
        for step in STEPS
    )


def without(trigger, *instead):
    """The bindings without that of one step, and others instead."""
    return (*(binding for each, binding in BINDINGS.items() if each != trigger), *instead)


def test_every_step_has_its_binding():
    """In the order of the steps, and what only checks has nothing to insert."""
    assert list(BINDINGS) == [step.trigger for step in STEPS]
    assert set(BINDINGS) - set(SEEDING) == {"skip_properties", "mark_ready", "go_live"}
    assert {trigger for trigger in Trigger if seeds(trigger)} == set(SEEDING)


@pytest.mark.parametrize(
    ("steps", "rows", "error"),
    [
        (STEPS, without("complete_links"), "not exactly one binding: .*complete_links"),
        (STEPS, without("", LINKS), "not exactly one binding: .*complete_links"),
        (STEPS, without("", StepBinding(Trigger.SUSPEND)), "bindings without a step: .*suspend"),
        (STEPS, without("complete_links", StepBinding(Trigger.COMPLETE_LINKS)), "facts that are not counted.*links"),
        (
            STEPS,
            without("complete_links", replace(LINKS, seeder=None)),
            "complete_links: what is counted needs a seeder",
        ),
        (
            STEPS,
            without("complete_links", replace(LINKS, count=None)),
            "complete_links: what is counted needs a seeder",
        ),
        (
            STEPS,
            without("mark_ready", StepBinding(Trigger.MARK_READY, Count("pwb_links"), LINKS.seeder)),
            "mark_ready: it seeds what no requirement asks for",
        ),
        (with_entry("complete_links", minimum=5), without(""), "complete_links: its defaults bring 4, .* needs 5"),
        (with_entry("complete_field_keys", minimum=8), without(""), "complete_field_keys: its defaults bring 7, .* 8"),
        (
            with_entry("seed_properties", required=True),
            without(""),
            "seed_properties: its defaults bring 0, .* needs 1",
        ),
        (with_entry("complete_links", fact="subdomain"), without(""), "facts that are not counted.*links"),
    ],
)
def test_what_does_not_match_is_refused(steps, rows, error):
    """A step without a binding or with two, a binding without a step, a fact that nobody counts, defaults too few."""
    with pytest.raises(ValueError, match=error):
        bound(steps, rows)


def test_a_step_without_its_binding_cannot_be_imported(tmp_path):
    """The check runs when the bindings are imported, not when a website comes to that step."""
    source = Path(step_bindings.__file__).read_text()
    broken = tmp_path / "broken_bindings.py"
    broken.write_text(source.replace("        StepBinding(T.MARK_READY),\n", ""))
    assert broken.read_text() != source
    spec = importlib.util.spec_from_file_location("broken_bindings", broken)
    with pytest.raises(ValueError, match="mark_ready"):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


def test_every_fact_is_counted():
    """The statement has a column for each, but for the one that the website's own row tells."""
    for field in fields(Facts):
        assert (f" AS {field.name}" in STATEMENTS["facts"]) is (field.name != "subdomain")


@pytest.mark.parametrize("trigger", SEEDING)
def test_a_requeue_forecast_knows_every_seeder(trigger):
    """After a step with a pack that cannot be used, its guard holds: the owner is the signup's, the rest defaults."""
    entry = STEP_OF[trigger].requirement
    facts = after_step(trigger, Facts(), PackError("gone"), {}, owner_named=True)
    assert bool(unmet([entry], facts)) is not entry.required
    assert unmet([entry], after_step(trigger, Facts(), PackError("gone", strict=True), {}, owner_named=False))


@pytest.mark.parametrize("state", CHAIN[:-1])
def test_a_requeue_forecast_walks_every_step(state):
    """A website that has nothing but a named owner goes all the way, wherever it failed."""
    website = {
        "id": 7, "provisioning_state": "failed", "provisioning_failed_from": state, "site_type": None,
        "seed_pack_name": None, "provisioning_error": "Cannot go live - x", "owner_named": True,
        "skip_properties": False, "auto_go_live": True,
    }  # fmt: skip
    told = forecast_website(website, Facts(subdomain="sunny"), PackError("gone"))
    assert (told.prospect, told.about) == (RequeueProspect.ADVANCES, "pending")
    required = [step.requirement.key for step in STEPS if seeds(step.trigger) and step.requirement.required]
    assert [seed.partition(" ")[0] for seed in told.seeds] == required


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.trigger)
def test_a_redrive_forecast_knows_every_seeder(step):
    """A step that seeds is carried out whatever is there now; of one that only checks, it says what is lacking."""
    website = make_website(id=1, state=step.source)
    command = decode(make_delivery({"website_id": 1}, type=f"provisioning.{step.trigger}"))
    prospect, about = redrive_prospect(command, ReferencedRows({1: website}, facts={1: Facts()}))
    assert prospect == RedriveProspect.CARRIED_OUT
    assert ("does not succeed now" in about) is (step.cumulative and not seeds(step.trigger))


def test_a_state_at_rest_has_no_step():
    """Where a website rests, no binding is ever looked up."""
    assert not {step.source for step in STEPS} & {State.LIVE, State.FAILED, State.SUSPENDED, State.TERMINATED}
