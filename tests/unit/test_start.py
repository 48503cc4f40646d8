"""What a start means for a website, by its status; and what it would come to, by its facts."""

from dataclasses import replace
from typing import Any

import pytest

from consumer.broker.topology import Topology
from consumer.domain.existing_product_states import our_state
from consumer.messages.inbound import decode
from ops.websites.start_asleep import forecast_started, starts_for
from ops.websites.verb_registry import START, asleep_text, verb_forecasts, why_not_started
from seeders.pack import Pack
from seeders.pack_problems import PackError
from statemachine import CHAIN, Facts, State, next_trigger
from tests.factories import complete_facts, make_delivery

TOPOLOGY = Topology("t")
STATUS: dict[str, Any] = {
    "website_id": 12, "subdomain": "sunny", "state": "owner_assigned", "seq": 0, "attempts": 0,
    "next_attempt_at": None, "auto_go_live": True, "skip_properties": False, "under_way": False, "asleep": True,
}  # fmt: skip
WEBSITE: dict[str, Any] = {
    "id": 12, "seed_pack_name": "mine", "site_type": None, "provisioning_state": "owner_assigned",
    "skip_properties": False, "auto_go_live": True, "owner_named": False, "proven": False,
}  # fmt: skip


def status_of(**changes: Any) -> dict[str, Any]:
    """Return the status of a website that is asleep, unless a change says otherwise, with the step before it."""
    status = STATUS | changes
    state, options = our_state(status["state"]), {name: status[name] for name in ("skip_properties", "auto_go_live")}
    return status | {"next_step": next_trigger(state, **options) if state else None}


NONE = PackError("there is no seed pack 'mine'")


@pytest.mark.parametrize("state", CHAIN[:-1])
def test_each_state_of_the_chain_is_started(state: State) -> None:
    """By a website.created that has no more than the id, so that no row is made and no column filled."""
    assert why_not_started(status_of(state=state)) is None
    (result,), (message,) = starts_for([status_of(state=state)], TOPOLOGY)
    assert (result["sent"], result["message_id"], result["state_before"]) == (True, message.message_id, state)
    assert (message.exchange, message.routing_key) == (TOPOLOGY.commands_exchange, "website.created")
    sent = {name: getattr(message, name) for name in ("message_id", "type", "exchange", "routing_key")}
    command = decode(replace(make_delivery(), body=message.body, **sent))
    assert command.created is not None
    assert (command.website_id, command.created.registers) == (12, False)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (
            {"state": "locked_pending_registration"},
            "it is locked_pending_registration, a state of the existing product",
        ),
        ({"state": "failed"}, "it is failed: `provisioner requeue 12` sends it round again"),
        ({"state": "suspended"}, "it is suspended: `provisioner reactivate 12` brings it back"),
        ({"state": "live"}, "it is live: nothing is left to do"),
        ({"state": "terminated"}, "it is terminated for good"),
        ({"state": "ready", "auto_go_live": False}, "it is held at ready: `provisioner go-live 12` lets it go live"),
        ({"under_way": True, "seq": 1}, "it is under way: owner_assigned, at seq 1; `provisioner explain 12` says"),
        (
            {"under_way": True, "attempts": 1, "next_attempt_at": "2026-11-30T10:00:00+00:00"},
            "it is under way: attempt 2 is due at 2026-11-30T10:00:00+00:00",
        ),
    ],
)
def test_what_is_not_started_and_what_to_do_instead(change: dict[str, Any], why: str) -> None:
    """Each refusal says where the website is, and names the command that helps where there is one."""
    (result,), messages = starts_for([status_of(**change)], TOPOLOGY)
    assert (result["sent"], messages, result["step"], result["message_id"]) == (False, [], None, None)
    assert result["why"].startswith(why)


def test_one_that_has_moved_since_it_was_seen_is_left_alone() -> None:
    """As with every verb, the page sends the seq that it showed."""
    (result,), messages = starts_for([status_of()], TOPOLOGY, expected_seqs={12: 3})
    assert (messages, result["why"]) == ([], "it has moved since you looked, and is owner_assigned")


def test_the_sentence_of_one_that_is_asleep() -> None:
    """It names the step that nothing sends, and the command that does."""
    assert asleep_text(status_of()) == (
        "asleep: nothing is under way for it, and nothing sends complete_agency; `provisioner start 12` does"
    )


def test_people_may_start_what_can_be_started() -> None:
    """Of a website on the chain, by its status; without one, verbs that are no transition are left out."""
    verbs = [each["verb"] for each in verb_forecasts(State.OWNER_ASSIGNED, Facts(), status=status_of())]
    assert verbs == [START]
    assert verb_forecasts(State.OWNER_ASSIGNED, Facts(), status=status_of(under_way=True, seq=1)) == []
    assert verb_forecasts(State.OWNER_ASSIGNED, Facts()) == []


@pytest.mark.parametrize(
    ("change", "facts", "would"),
    [
        ({}, Facts(owners=1, subdomain="s"), "take complete_agency from owner_assigned, and go on to live"),
        ({"auto_go_live": False}, Facts(owners=1), "take complete_agency from owner_assigned, and go on to ready"),
        (
            {}, Facts(owners=1),
            ("take complete_agency from owner_assigned, and go on to ready; then wait at ready for subdomain, and fail "
            "where it does not come"),
        ),
        (
            {}, Facts(subdomain="s"),
            "be tried again for a while, then fail: Owner assignment failed - no active owner membership",
        ),
        (
            {"provisioning_state": "field_keys_created"}, complete_facts(links=2),
            "fail from field_keys_created: Links creation failed - need at least 3, have 2",
        ),
        (
            {"provisioning_state": "field_keys_created", "proven": True}, complete_facts(links=2),
            ("take seed_properties from field_keys_created, and go on to properties_seeded; then fail from "
            "properties_seeded: missing: links (have 2, need 3)"),
        ),
        (
            {"provisioning_state": "ready"}, complete_facts(links=2, owners=0),
            "fail from ready: missing: owner membership, links (have 2, need 3)",
        ),
        (
            {"provisioning_state": "pending", "proven": True}, Facts(),
            "wait at pending for owner membership, and fail where it does not come",
        ),
        (
            {"provisioning_state": "field_keys_created", "skip_properties": True}, complete_facts(),
            "take skip_properties from field_keys_created, and go on to live",
        ),
    ],
)  # fmt: skip
def test_what_a_start_would_do(change: dict[str, Any], facts: Facts, would: str) -> None:
    """The guards of the states before are judged as the workers judge them, then the chain is walked."""
    forecast = forecast_started(WEBSITE | change, facts, NONE)
    assert (forecast.would, forecast.works) == (would, would.startswith("take") and "; then" not in would)


def test_a_pack_that_is_there_seeds() -> None:
    """What would be seeded, and from where, is said as of a requeue."""
    forecast = forecast_started(WEBSITE, Facts(owners=1, subdomain="s"), Pack(name="mine"))
    assert "links from pack mine" in forecast.seeds
    assert forecast_started(WEBSITE, Facts(owners=1), NONE).remark == (
        "defaults are used, since pack mine cannot be: there is no seed pack 'mine'"
    )
