"""The pages that people read say what the code does: their examples are decoded, their tables compared."""

import json
import re
from datetime import datetime
from pathlib import Path
from uuid import UUID

import pytest

from consumer.broker.topology import DELIVERY_LIMIT
from consumer.domain import outcomes
from consumer.domain.outcomes import Reason, Rejected
from consumer.messages.inbound import MAX_BODY_BYTES, decode
from consumer.messages.inbound_contracts import (
    CONTRACTS,
    MAX_ID,
    RESERVED_SUBDOMAINS,
    SUBDOMAIN_MAX,
    SUBDOMAIN_MIN,
    StepCommand,
    WebsiteCreated,
)
from consumer.messages.outbound import event_message
from consumer.messages.outbound_dead_letters import OWN_HEADERS, dead_letter
from consumer.messages.rejected_signups import (
    WEBSITE_REJECTED,
    RejectedSignup,
    RejectionCode,
    rejection_message,
)
from statemachine import State, Trigger, status_message
from tests.factories import TOPOLOGY, make_delivery, make_row

DOCS = Path(__file__).parents[2] / "docs"
MESSAGES = (DOCS / "messages.md").read_text()
GLOSSARY = (DOCS / "glossary.md").read_text()
EXAMPLES = [(name, json.loads(text)) for name, text in re.findall(r"```json (\S[^\n]*)\n(.*?)```", MESSAGES, re.DOTALL)]
INCOMING = [(name, body) for name, body in EXAMPLES if name in CONTRACTS]
REJECTED = [(name, body) for name, body in EXAMPLES if name == WEBSITE_REJECTED]
EVENTS = [(name, body) for name, body in EXAMPLES if name.startswith("website.") and name not in CONTRACTS]
EVENTS = [example for example in EVENTS if example not in REJECTED]
SEEN = ("website_id", "seq", "trigger", "from_state", "to_state", "actor", "occurred_at")
"""What an event takes from its row's columns; the rest is the row's detail."""


def table(heading):
    """The rows of the table whose first heading is this, as lists of cells."""
    lines = MESSAGES[MESSAGES.index(f"| {heading} | ") :].partition("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_every_example_is_looked_at():
    """Each is a message in, a message out or the headers of a dead letter; and there are some of each."""
    others = [name for name, _ in EXAMPLES if name not in {known for known, _ in INCOMING + EVENTS + REJECTED}]
    assert others == ["dead-letter headers"]
    assert len(INCOMING) == 5
    assert len(EVENTS) == 3
    assert MESSAGES.count("```") == 2 * len(EXAMPLES)


@pytest.mark.parametrize(("name", "body"), INCOMING)
def test_an_example_that_comes_in_is_understood(name, body):
    """With every value where it was said."""
    command = decode(make_delivery(body, type=name))
    understood = command.created if name == "website.created" else command
    for field, value in body.items():
        read = getattr(understood, field)
        expected = f"claimed: {value}" if field == "actor" else value
        assert (read if not isinstance(value, dict) else read.model_dump()) == expected


def test_the_full_examples_leave_nothing_out():
    """One example of each contract has every field."""
    assert {frozenset(body) for _, body in INCOMING} >= {
        frozenset(WebsiteCreated.model_fields),
        frozenset(StepCommand.model_fields),
    }


@pytest.mark.parametrize(("name", "body"), EVENTS)
def test_an_example_that_goes_out_is_what_we_publish(name, body):
    """The row that it tells of makes exactly this event, its keys in this order."""
    row = make_row(
        website_id=body["website_id"],
        seq=body["seq"],
        trigger=Trigger(body["trigger"]),
        from_state=State(body["from_state"]),
        to_state=State(body["to_state"]),
        actor=body["actor"],
        occurred_at=datetime.fromisoformat(body["occurred_at"]),
        detail={key: value for key, value in body.items() if key not in SEEN},
    )
    message = event_message(row, TOPOLOGY)
    assert message.type == name
    assert json.dumps(json.loads(message.body)) == json.dumps(body)
    assert body["message"] == status_message(State(body["to_state"]), error=body["error"])


def test_the_example_of_a_rejection_is_what_we_publish():
    """The example has the event's keys in their order, and the table has every code."""
    ((_, body),) = REJECTED
    signup = RejectedSignup(
        UUID(body["signup_message_id"]), body["website_id"], RejectionCode(body["code"]), body["subdomain"]
    )
    message = rejection_message(signup, datetime.fromisoformat(body["occurred_at"]), TOPOLOGY)
    assert json.dumps(json.loads(message.body)) == json.dumps(body)
    assert {row[0].strip("`") for row in table("`code`")} == set(RejectionCode)


@pytest.mark.parametrize(
    ("heading", "contract"),
    [("field of `website.created`", WebsiteCreated), ("field of `provisioning.<trigger>`", StepCommand)],
)
def test_the_tables_of_fields_are_the_contracts(heading, contract):
    """Every field with its name, whether it is required and its default, in the contract's order."""
    listed = [(name.strip("`"), required, default.strip("`")) for name, required, default, _ in table(heading)]
    expected = [
        (name, "yes", "–") if field.is_required() else (name, "no", json.dumps(field.default))
        for name, field in contract.model_fields.items()
    ]
    assert listed == expected


@pytest.mark.parametrize(("heading", "field"), [("`website.created`", "subdomain"), ("`website.created`", "site_type")])
def test_the_bounds_in_the_tables_are_those_of_the_code(heading, field):
    """The numbers and words that a meaning repeats."""
    (meaning,) = [row[3] for row in table(f"field of {heading}") if row[0] == f"`{field}`"]
    if field == "subdomain":
        assert meaning.startswith(f"{SUBDOMAIN_MIN} to {SUBDOMAIN_MAX} ")
    else:
        words = re.findall(r"`(\w+)`", meaning)
        assert [decode(make_delivery({"website_id": 1, field: word}, type="website.created")) for word in words]
        assert len(words) == 3


def test_the_limits_are_those_of_the_code():
    """Size of a body, largest id, the broker's fuse."""
    assert f"at most {MAX_BODY_BYTES} bytes" in MESSAGES
    assert MESSAGES.count(f"1 to {MAX_ID}") == 2
    assert f"({DELIVERY_LIMIT} deliveries" in MESSAGES


def test_the_reserved_subdomains_are_listed():
    """All of them, in order."""
    listed = MESSAGES.partition("Reserved subdomains:")[2].partition("\n\n")[0]
    assert re.findall(r"`(\w+)`", listed) == sorted(RESERVED_SUBDOMAINS)


def test_the_names_are_those_of_the_topology():
    """Where a message goes and where it arrives, as the topology binds it."""
    bound = {(b.exchange, b.routing_key): b.queue for b in TOPOLOGY.bindings}
    rows = {row[1]: row[2:] for row in table("publisher") if row[2] == f"`{TOPOLOGY.commands_exchange}`"}
    assert rows["`website.created`"][2] == f"`{bound[TOPOLOGY.commands_exchange, 'website.created']}`"
    assert rows["`provisioning.<trigger>`"][2] == f"`{bound[TOPOLOGY.commands_exchange, 'provisioning.*']}`"
    for exchange in TOPOLOGY.exchanges:
        assert f"`{exchange.name}`" in MESSAGES
    for queue in TOPOLOGY.queues:
        assert f"`{queue.name}`" in MESSAGES


def test_the_headers_of_a_dead_letter_are_those_that_we_write():
    """The example is what this very delivery would get, but for the time."""
    ((_, headers),) = [(name, body) for name, body in EXAMPLES if name == "dead-letter headers"]
    delivery = make_delivery(
        type=headers["x-routing-key"],
        exchange=headers["x-exchange"],
        queue=headers["x-source-queue"],
        properties={"user_id": headers["x-user-id"]},
    )
    rejected = Rejected(Reason(headers["x-reason"]), headers["x-error"])
    written = {**dead_letter(delivery, rejected, TOPOLOGY).headers, "x-failed-at": headers["x-failed-at"]}
    assert written == headers
    assert tuple(headers) == OWN_HEADERS


def test_every_reason_has_its_meaning():
    """The table has each value of x-reason once, in the code's order, with a meaning and a remedy."""
    rows = table("`x-reason`")
    assert [row[0].strip("`") for row in rows] == [reason.value for reason in Reason]
    assert all(len(meaning) > 10 and len(remedy) > 10 for _, meaning, remedy in rows)


def test_the_page_of_states_is_linked():
    """The triggers stand there, once."""
    assert "(states.md)" in MESSAGES
    assert (DOCS / "states.md").exists()


def test_the_glossary_has_every_outcome():
    """What a log line calls an outcome can be looked up."""
    words = re.findall(r"^\| \*\*(.+?)\*\* \|", GLOSSARY, re.MULTILINE)
    assert len(words) == len(set(words))
    assert {"advanced", "refused", "already done", "stale", "ahead", "held"} <= set(words)
    assert len(outcomes.Outcome.__args__) == 8, "a new outcome wants a line in the glossary"


def test_the_glossary_is_short_and_crisp():
    """At most sixty lines, one sentence a word."""
    rows = re.findall(r"^\| \*\*.+?\*\* \| (.*) \|$", GLOSSARY, re.MULTILINE)
    assert len(GLOSSARY.splitlines()) <= 60
    assert all(row.endswith(".") and row.count(". ") == 0 for row in rows)
