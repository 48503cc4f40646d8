"""Outbound messages: pure functions of a row, the same with the same ids whoever makes them."""

import copy
import json
from datetime import UTC, datetime
from uuid import UUID

import pytest

from consumer.messages.inbound import decode
from consumer.messages.outbound import command_message, encode_body, event_message, next_command
from statemachine import State, Trigger, is_step
from tests.factories import MESSAGE_ID, TOPOLOGY, make_delivery, make_row

EVENT_KEYS = [
    "website_id", "subdomain", "seq", "trigger", "from_state", "to_state", "progress", "message", "error", "missing",
    "actor", "occurred_at",
]  # fmt: skip
OTHER_ID = UUID("7c9e6679-7425-40de-944b-e07fc1f90ae7")
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def make_command(**overrides):
    """A command of the engine's own."""
    fields = {
        "website_id": 42,
        "trigger": Trigger.COMPLETE_LINKS,
        "seq": 2,
        "attempt": 0,
        "last_message_id": MESSAGE_ID,
    }
    return command_message(TOPOLOGY, **({"traceparent": None} | fields | overrides))


def test_an_event_says_what_the_contract_says():
    """Exactly its keys, in its order, with the row's values."""
    body = json.loads(event_message(make_row(), TOPOLOGY).body)
    assert list(body) == EVENT_KEYS
    assert body == {
        "website_id": 42,
        "subdomain": "sunny-meadow-42",
        "seq": 1,
        "trigger": "assign_owner",
        "from_state": "pending",
        "to_state": "owner_assigned",
        "progress": 15,
        "message": "Owner account created",
        "error": None,
        "missing": ["agency"],
        "actor": None,
        "occurred_at": "2026-07-01T12:30:00+00:00",
    }


def test_an_event_goes_to_whoever_listens():
    """To the events exchange, named by the new state, and not mandatory: nobody need be there."""
    message = event_message(make_row(), TOPOLOGY)
    assert (message.exchange, message.routing_key, message.type, message.mandatory) == (
        "provisioning.events",
        "website.owner_assigned",
        "website.owner_assigned",
        False,
    )


@pytest.mark.parametrize("state", [state.value for state in State])
def test_only_live_has_a_url(state):
    """The event of a website that is live carries its address, no other event has the key."""
    row = make_row(to_state=State(state), detail={"url": "https://sunny-meadow-42.example.com"})
    body = json.loads(event_message(row, TOPOLOGY).body)
    assert list(body) == [*EVENT_KEYS, "url"] if state == "live" else EVENT_KEYS
    assert body.get("url") == ("https://sunny-meadow-42.example.com" if state == "live" else None)


def test_an_event_of_a_bare_row_still_has_every_key():
    """A row whose detail says nothing makes an event with nulls and an empty list, not an error."""
    body = json.loads(event_message(make_row(detail={}), TOPOLOGY).body)
    assert list(body) == EVENT_KEYS
    assert (body["subdomain"], body["progress"], body["missing"]) == (None, None, [])


def test_the_same_row_makes_the_same_messages():
    """Ids, bodies and headers: a worker, a second worker and the dispatcher publish the same."""
    one, other = make_row(), make_row()
    assert event_message(one, TOPOLOGY) == event_message(other, TOPOLOGY)
    assert next_command(one, TOPOLOGY) == next_command(other, TOPOLOGY)


def test_nothing_is_changed_by_looking():
    """The row's detail is what it was."""
    row = make_row()
    before = copy.deepcopy(row)
    event_message(row, TOPOLOGY)
    next_command(row, TOPOLOGY)
    assert row == before


def test_ids_are_the_same_in_every_release():
    """A worker of an older release and one of a newer send one message, not two."""
    assert event_message(make_row(), TOPOLOGY).message_id == "74f62c61-9ab4-5e03-8432-cf351ec618c5"
    assert next_command(make_row(), TOPOLOGY).message_id == "d13f6652-46ca-531b-81f0-733ff83d1e9c"
    assert make_command(last_message_id=None).message_id == "ec0cac98-5b6b-54a3-86df-60bfd8cd069d"


def test_an_id_depends_on_all_that_makes_a_message_another_one():
    """Another website, seq, attempt, trigger, cause, state or kind is another message."""
    ids = [
        make_command().message_id,
        make_command(website_id=43).message_id,
        make_command(seq=3).message_id,
        make_command(attempt=1).message_id,
        make_command(attempt=2).message_id,
        make_command(trigger=Trigger.COMPLETE_AGENCY).message_id,
        make_command(last_message_id=OTHER_ID).message_id,
        make_command(last_message_id=None).message_id,
        make_command(website_id=4, seq=22).message_id,
        *(
            event_message(row, TOPOLOGY).message_id
            for row in (
                make_row(),
                make_row(seq=2),
                make_row(website_id=43),
                make_row(to_state=State.FAILED),
                make_row(message_id=OTHER_ID),
            )
        ),
        str(MESSAGE_ID),
    ]
    assert len(set(ids)) == len(ids)
    assert all(str(UUID(text)) == text for text in ids)


def test_an_id_does_not_depend_on_where_it_is_sent():
    """A trace, a namespace or a clock makes it no other message."""
    assert make_command(traceparent=TRACEPARENT).message_id == make_command().message_id
    later = make_row(occurred_at=datetime(2027, 1, 1, tzinfo=UTC), detail={})
    assert event_message(later, TOPOLOGY).message_id == event_message(make_row(), TOPOLOGY).message_id


def test_the_next_command_goes_straight_to_its_queue():
    """Through the default exchange, mandatory: an exchange with an alternate would never return it."""
    message = next_command(make_row(), TOPOLOGY)
    assert (message.exchange, message.routing_key, message.type, message.mandatory) == (
        "",
        "provisioning.commands",
        "provisioning.complete_agency",
        True,
    )
    assert json.loads(message.body) == {
        "website_id": 42,
        "expected_seq": 1,
        "attempt": 0,
        "actor": None,
        "reason": None,
    }


def test_a_website_at_rest_is_owed_no_command():
    """Without a next trigger in the row there is nothing to send."""
    assert next_command(make_row(to_state=State.LIVE, detail={"next": None}), TOPOLOGY) is None
    assert next_command(make_row(detail={}), TOPOLOGY) is None


@pytest.mark.parametrize("trigger", [trigger for trigger in Trigger if is_step(trigger)])
@pytest.mark.parametrize("attempt", [0, 7])
def test_what_we_send_is_what_we_read(trigger, attempt):
    """Every command of the engine is understood by decode(), as it was meant."""
    message = make_command(trigger=trigger, attempt=attempt, traceparent=TRACEPARENT)
    delivery = make_delivery(
        message.body,
        message_id=message.message_id,
        type=message.type,
        exchange=message.exchange,
        routing_key=message.routing_key,
        headers=message.headers,
    )
    read = decode(delivery)
    assert (str(read.message_id), read.trigger, read.website_id) == (message.message_id, trigger, 42)
    assert (read.expected_seq, read.attempt, read.traceparent) == (2, attempt, TRACEPARENT)


def test_the_trace_goes_on():
    """Event and command carry the trace of their row, or no such header at all."""
    traced = make_row(detail={"next": "complete_agency", "traceparent": TRACEPARENT})
    assert event_message(traced, TOPOLOGY).headers == {"traceparent": TRACEPARENT}
    assert next_command(traced, TOPOLOGY).headers == {"traceparent": TRACEPARENT}
    assert event_message(make_row(), TOPOLOGY).headers == {}


def test_a_body_is_compact_utf8():
    """Without blanks, and letters as letters."""
    assert encode_body({"a": 1, "b": "ü"}) == '{"a":1,"b":"ü"}'.encode()
