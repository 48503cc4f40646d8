"""What comes in: both contracts, and every way to break them. A refusal helps its reader and tells nothing personal."""

import json
from uuid import UUID

import pytest

from consumer.messages import inbound
from consumer.messages.inbound import MAX_BODY_BYTES, PoisonError, decode
from consumer.messages.inbound_contracts import CONTRACTS, RESERVED_SUBDOMAINS, OwnerByEmail, OwnerById, WebsiteCreated
from statemachine import Trigger
from tests.factories import MESSAGE_ID, make_delivery

CANARY = "jane.canary@secret.example"
CANARIES = ("canary", "Canary", "CANARY", "secret.example")
SIGNUP = {
    "website_id": 42,
    "subdomain": "sunny-meadow-42",
    "site_type": "residential",
    "seed_pack": "base",
    "owner": {"email": CANARY, "name": "Jane Canary"},
    "skip_properties": False,
    "auto_go_live": True,
}
STEP = {"website_id": 42, "expected_seq": 3, "attempt": 0, "actor": "Canary", "reason": CANARY}
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def signup(body=None, **overrides):
    """A delivery of website.created: the full one with changes, or any body."""
    return make_delivery(SIGNUP if body is None else body, type="website.created", **overrides)


def step(body=None, **overrides):
    """A delivery of provisioning.complete_links: the full one, or any body."""
    return make_delivery(STEP if body is None else body, **{"type": "provisioning.complete_links"} | overrides)


def without(body, *names):
    return {name: value for name, value in body.items() if name not in names}


def refusal(delivery):
    """The sentence with which a delivery is refused: fit for people, headers and logs, and free of canaries."""
    with pytest.raises(PoisonError) as caught:
        decode(delivery)
    sentence = str(caught.value)
    sentence.encode()  # no lone surrogate may reach a header
    assert 15 < len(sentence) < 1000
    assert sentence.isprintable(), "no newline, no escape sequence of a sender may reach a terminal"
    for canary in CANARIES:
        assert canary not in sentence
    assert caught.value.__suppress_context__ or caught.value.__context__ is None, "a traceback would quote the body"
    return sentence


# ------------------------------------------------------------------------------------------------- happy paths


def test_a_full_signup_is_understood():
    """Every field of website.created reaches the command; it is the first command, assign_owner."""
    command = decode(signup(headers={"traceparent": TRACEPARENT}))
    assert (command.message_id, command.type) == (MESSAGE_ID, "website.created")
    assert (command.trigger, command.website_id) == (Trigger.ASSIGN_OWNER, 42)
    assert (command.expected_seq, command.attempt, command.actor, command.reason) == (None, 0, None, None)
    assert command.traceparent == TRACEPARENT
    assert command.created == WebsiteCreated(
        website_id=42,
        subdomain="sunny-meadow-42",
        site_type="residential",
        seed_pack="base",
        owner=OwnerByEmail(email=CANARY, name="Jane Canary"),
        skip_properties=False,
        auto_go_live=True,
    )
    assert command.created.registers


def test_a_signup_needs_nothing_but_its_website():
    """The rest has defaults, and such a message registers nothing."""
    created = decode(signup({"website_id": 42})).created
    assert created == WebsiteCreated(website_id=42)
    assert (created.skip_properties, created.auto_go_live, created.owner, created.seed_pack) == (
        False,
        True,
        None,
        None,
    )
    assert not created.registers


@pytest.mark.parametrize("name", sorted(without(SIGNUP, "website_id")))
def test_any_further_field_registers_the_website(name):
    """One thing more than the id is enough to make the row."""
    assert decode(signup({"website_id": 42, name: SIGNUP[name]})).created.registers


def test_an_owner_may_be_a_user_that_exists():
    """By id instead of by e-mail address."""
    assert decode(signup({"website_id": 42, "owner": {"user_id": 7}})).created.owner == OwnerById(user_id=7)


def test_what_a_signup_brought_is_kept_as_json():
    """The request is what provisioning_request stores: all but the id and what was not said."""
    request = decode(signup({"website_id": 42, "owner": {"email": "a@b.example"}})).created.request
    assert json.loads(json.dumps(request)) == {
        "owner": {"email": "a@b.example"},
        "skip_properties": False,
        "auto_go_live": True,
    }


@pytest.mark.parametrize("trigger", [trigger.value for trigger in Trigger])
def test_every_trigger_is_a_command(trigger):
    """provisioning.<trigger> is understood for all thirteen, with every field."""
    command = decode(step(type=f"provisioning.{trigger}", headers={"traceparent": TRACEPARENT}))
    assert (command.message_id, command.type) == (MESSAGE_ID, f"provisioning.{trigger}")
    assert (command.trigger, command.website_id, command.expected_seq) == (trigger, 42, 3)
    assert (command.attempt, command.actor, command.reason) == (0, "claimed: Canary", CANARY)
    assert (command.traceparent, command.created) == (TRACEPARENT, None)


def test_a_command_needs_nothing_but_its_website():
    """Any seq will do, and it is the first attempt."""
    command = decode(step({"website_id": 42}))
    assert (command.expected_seq, command.attempt, command.actor, command.reason) == (None, 0, None, None)


@pytest.mark.parametrize("website_id", [1, 2**31, 2**63 - 1])
def test_ids_go_as_far_as_the_column(website_id):
    """A bigint."""
    assert decode(step({"website_id": website_id})).website_id == website_id


@pytest.mark.parametrize("subdomain", ["abc", "a" * 40, "a-b", "a--b", "007", "Sunny-Meadow", "  sunny-meadow-42\n"])
def test_a_subdomain_is_normalised_before_it_is_judged(subdomain):
    """Stripped and lower-cased first, as the website's row will have it."""
    assert decode(signup({"website_id": 42, "subdomain": subdomain})).created.subdomain == subdomain.strip().lower()


@pytest.mark.parametrize(
    "email",
    [
        "a@b.example",
        "  Jane.Doe+Tag@Example.COM ",
        "o'neil_x-y@mail.some-host.example",
        "jörg@müller.example",
        "x" * 64 + "@b.example",
    ],
)
def test_an_email_is_normalised_before_it_is_judged(email):
    """Stripped and lower-cased, so that one person is one user; leniently, for the mail itself is the proof."""
    owner = decode(signup({"website_id": 42, "owner": {"email": email}})).created.owner
    assert owner.email == email.strip().lower()


@pytest.mark.parametrize(
    "properties",
    [{}, {"content_type": "text/plain"}, {"delivery_mode": 1}, {"content_encoding": "utf-8"}, {"priority": 200}],
)
def test_other_properties_are_optional(properties):
    """Content type, persistence and the rest are the sender's affair, as long as the body is plain UTF-8 JSON."""
    assert decode(step(properties=properties)).website_id == 42


@pytest.mark.parametrize("traceparent", ["", "junk", TRACEPARENT + "x", TRACEPARENT.upper(), b"00-", 7, None, [], {}])
def test_a_malformed_trace_is_no_reason_to_refuse(traceparent):
    """It is dropped, for it is about watching and not about the work."""
    assert decode(step(headers={"traceparent": traceparent})).traceparent is None


def test_junk_headers_are_ignored():
    """A forged x-death, a forged tenant and a thousand more change nothing."""
    forged = {"x-death": [{"count": 10**9}], "website_id": 7, "x-reason": "live", **{f"h{n}": "x" for n in range(1000)}}
    assert decode(step(headers=forged)) == decode(step())


def test_a_message_straight_to_the_queue_needs_no_matching_routing_key():
    """The engine and a redrive use the default exchange, whose routing key is the queue."""
    assert decode(step(exchange="", routing_key="provisioning.commands")).trigger == Trigger.COMPLETE_LINKS


def test_a_body_of_the_largest_size_is_read():
    """The bound is inclusive."""
    body = json.dumps(STEP).encode()
    assert decode(step(body + b" " * (MAX_BODY_BYTES - len(body)))).website_id == 42


def test_a_signup_is_not_shown_by_a_command():
    """A command that lands in a log by accident tells nothing personal of its signup."""
    assert CANARY not in repr(decode(signup()))


# ----------------------------------------------------------------------------------------- message id and type


@pytest.mark.parametrize(
    ("message_id", "fragment"),
    [
        (None, "message_id is missing"),
        ("", "message_id is missing"),
        (CANARY, "no UUID (26 characters)"),
        ("42", "no UUID (2 characters)"),
        ("x" * 255, "no UUID (255 characters)"),
        (str(MESSAGE_ID) + " ", "no UUID (37 characters)"),
        (f"urn:uuid:{MESSAGE_ID}", "no UUID (45 characters)"),
        ("0f8fad5b-d9cb-469f-a165-70867728950g", "no UUID (36 characters)"),
        ("0x" + "1" * 30, "no UUID (32 characters)"),
        ("1_" * 15 + "11", "no UUID (32 characters)"),
        ("+" + "1" * 31, "no UUID (32 characters)"),
        ("\0" * 36, "no UUID (36 characters)"),
        ("\x1b[31m", "no UUID (5 characters)"),
    ],
)
def test_a_message_id_is_a_uuid(message_id, fragment):
    """Missing, oversized, or anything else than a UUID: without it no delivery can be told from its copy."""
    assert fragment in refusal(step(message_id=message_id))


@pytest.mark.parametrize("message_id", [str(MESSAGE_ID), str(MESSAGE_ID).upper()])
def test_a_uuid_is_one_in_either_case(message_id):
    """Both spellings are the same message."""
    assert decode(step(message_id=message_id)).message_id == UUID(str(MESSAGE_ID))


@pytest.mark.parametrize("kind", [None, ""])
def test_a_missing_type_is_named(kind):
    """With an example of what it should be."""
    sentence = refusal(step(type=kind, routing_key="provisioning.complete_links"))
    assert "property type is missing" in sentence
    assert "website.created" in sentence


@pytest.mark.parametrize(
    "kind",
    [
        "provisioning.fly", "provisioning.", "provisioning", "website.live", "WEBSITE.CREATED", "website.created ",
        "provisioning.v2.complete_links", "x" * 255, "'; DROP TABLE pwb_websites; --", "<script>", "\x1b[31m\r\n",
    ],
)  # fmt: skip
def test_an_unknown_type_is_refused_with_the_known_ones(kind):
    """Not dropped: it may be of a later version, and can be redriven after the upgrade."""
    sentence = refusal(make_delivery(STEP, type=kind))
    assert "unknown message type" in sentence
    assert all(known in sentence for known in CONTRACTS)


@pytest.mark.parametrize("routing_key", ["provisioning.go_live", "website.created", "", "x" * 255, "\x1b]0;\x07"])
def test_the_routing_key_must_equal_the_type(routing_key):
    """What is bound by one and read by the other would be two messages in one."""
    sentence = refusal(step(routing_key=routing_key))
    assert "is not the routing key" in sentence
    assert "'provisioning.complete_links'" in sentence


# ------------------------------------------------------------------------------------------------- not even JSON


@pytest.mark.parametrize(
    ("body", "fragment"),
    [
        (b"", "not JSON"),
        (b" \n", "not JSON"),
        (b"canary", "not JSON"),
        (b"{'website_id': 42}", "not JSON"),
        (b'{"website_id": 42', "not JSON"),
        (b'{"website_id": 42,}', "not JSON"),
        (b'{"website_id": 42} canary', "not JSON"),
        (b'{"website_id": 042}', "not JSON"),
        (b'{"website_id": +42}', "not JSON"),
        (b'{"website_id": 42, "reason": "a\0canary"}', "not JSON"),
        (b'{"website_id": 42, "reason": "a\ncanary"}', "not JSON"),
        (b"\0", "not JSON"),
        (b'\xef\xbb\xbf{"website_id": 42}', "BOM"),
        (b'\xff\xfe{\0"\0', "not UTF-8 (byte 0)"),
        (b'{"website_id": 42, "reason": "canary \xc3\x28"}', "not UTF-8"),
        (b'{"website_id": 42, "reason": "canary \xed\xa0\x80"}', "not UTF-8"),
        (b'{"website_id": NaN}', "NaN is not a JSON number"),
        (b'{"website_id": Infinity}', "Infinity is not a JSON number"),
        (b'{"website_id": -Infinity}', "-Infinity is not a JSON number"),
        (b"[" * 2000 + b"]" * 2000, "nested too deeply"),
        (b'{"a":' * 1200 + b"1" + b"}" * 1200, "nested too deeply"),
        (b"[" * MAX_BODY_BYTES, "65536 commas, colons and opening brackets, at most 2500 are read"),
        (b'{"website_id": [' + b"1," * 5000 + b"1]}", "5003 commas, colons and opening brackets"),
        (b"{" + b",".join(b'"%d": 1' % n for n in range(33)) + b"}", "an object has 33 members, at most 32 are read"),
        (b'{"website_id": 42, "website_id": 43}', "same key twice"),
        (b'{"website_id": 42, "owner": {"user_id": 7, "user_id": 8}}', "same key twice"),
        (b'{"website_id": ' + b"9" * 5000 + b"}", "website_id: "),
        (b'{"website_id": 42, "attempt": -' + b"9" * 5000 + b"}", "attempt: "),
    ],
)
@pytest.mark.parametrize("make", [signup, step])
def test_a_body_that_is_no_json_is_refused(make, body, fragment):
    """Whatever the bytes, the sentence says what is wrong with them and quotes none."""
    assert fragment in refusal(make(body))


@pytest.mark.parametrize("size", [MAX_BODY_BYTES + 1, 65 * 1024, 17 * 1024 * 1024])
def test_an_oversized_body_is_refused_before_it_is_parsed(size, monkeypatch):
    """By its length alone: nothing reads it."""

    def refuse(*_args, **_named):
        raise AssertionError("it was parsed")

    monkeypatch.setattr(inbound.json, "loads", refuse)
    assert f"the body has {size} bytes, at most 65536 are read" in refusal(signup(b"canary" + b"x" * (size - 6)))


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "deflate", "br", "utf-16", "x" * 255, b"gzip", 7])
def test_an_encoded_body_is_refused(encoding):
    """Only plain UTF-8 is read, and the sentence says so."""
    assert "send plain UTF-8" in refusal(step(properties={"content_encoding": encoding}))


@pytest.mark.parametrize("body", [b"null", b"[]", b"[42]", b'"canary"', b"42", b"true"])
@pytest.mark.parametrize("make", [signup, step])
def test_a_body_that_is_no_object_is_refused(make, body):
    """JSON, but not a message."""
    assert "body: " in refusal(make(body))


# ------------------------------------------------------------------------------------------------ wrong contents


@pytest.mark.parametrize(
    "website_id",
    [True, False, 42.0, 42.5, 1e300, "42", None, [42], {"id": 42}, 0, -1, 2**63, 2**64, 10**4000, -(2**63)],
)
@pytest.mark.parametrize("make", [signup, step])
def test_a_website_id_is_a_positive_bigint(make, website_id):
    """No bool, no float, no text, nothing past 64 bits."""
    assert "website_id: " in refusal(make({"website_id": website_id}))


@pytest.mark.parametrize("make", [signup, step])
def test_a_website_id_is_required(make):
    """The one field that is."""
    assert "website_id: is required" in refusal(make({}))


@pytest.mark.parametrize("name", ["version", "Website_id", "__proto__", "state", "provisioning_state"])
@pytest.mark.parametrize("make", [signup, step])
def test_an_unknown_field_is_refused_by_name(make, name):
    """It may be of a later version: what it says must not be lost in silence."""
    assert f"{name}: is not known" in refusal(make({"website_id": 42, name: "canary"}))


@pytest.mark.parametrize(
    "name",
    [CANARY, "Jane Canary", "\x1b[31mred", "two\nlines", "\r", "\0", "", "x" * 10_000, "\ud800", "\u202egnp", "💥"],
)
@pytest.mark.parametrize("make", [signup, step])
def test_the_name_of_an_unknown_field_is_content_too(make, name):
    """A name that is no plain word is not repeated: it may be a person, or an escape sequence."""
    body = json.dumps({"website_id": 42, name: 1}).encode()
    assert "website_id" not in refusal(make(body)), "what is right is not complained of"


def test_an_unknown_field_of_the_owner_is_refused():
    """Contracts are closed at every depth."""
    assert "owner" in refusal(signup({"website_id": 42, "owner": {"email": CANARY, "phone": "canary"}}))


@pytest.mark.parametrize("owner", [{"email": CANARY, "user_id": 7}, {}, {"name": "Canary"}, [], "canary", 7, True])
def test_an_owner_has_one_form_or_the_other(owner):
    """By e-mail address or by user id, not both and not neither."""
    assert "owner" in refusal(signup({"website_id": 42, "owner": owner}))


@pytest.mark.parametrize("user_id", [True, 7.0, "7", 0, -7, 2**63, None])
def test_a_user_id_is_a_positive_bigint(user_id):
    """As strictly as a website's."""
    assert "owner.user_id: " in refusal(signup({"website_id": 42, "owner": {"user_id": user_id}}))


@pytest.mark.parametrize(
    ("subdomain", "fragment"),
    [
        ("", "at least 3 characters"),
        ("ab", "at least 3 characters"),
        ("  ab  ", "at least 3 characters"),
        ("a" * 41, "40 characters or fewer"),
        ("canary" * 1000, "40 characters or fewer"),
        ("-canary", "can only contain"),
        ("canary-", "can only contain"),
        ("canary_x", "can only contain"),
        ("canary.x", "can only contain"),
        ("canary x", "can only contain"),
        ("canary\nx", "can only contain"),
        ("canaryé", "can only contain"),
        ("٣٣٣٣", "can only contain"),
        ("can\0ary", "NUL"),
        ("canary\ud800", "subdomain: "),
        (7, "subdomain: "),
        (True, "subdomain: "),
        (["canary"], "subdomain: "),
    ],
)
def test_a_malformed_subdomain_is_refused(subdomain, fragment):
    """Too short, too long or of the wrong characters, and the sentence says which."""
    sentence = refusal(signup({"website_id": 42, "subdomain": subdomain}))
    assert "subdomain: " in sentence
    assert fragment in sentence


@pytest.mark.parametrize(
    "name",
    [
        "www", "api", "admin", "app", "mail", "ftp", "smtp", "pop", "imap", "ns1", "ns2", "localhost", "staging",
        "test", " WWW ", "Admin",
    ],
)  # fmt: skip
def test_a_reserved_subdomain_is_refused(name):
    """In any case, with any blanks around it."""
    assert "subdomain: is reserved" in refusal(signup({"website_id": 42, "subdomain": name}))


def test_the_reserved_words_are_the_fourteen():
    """Those of the existing product, not one more: demo was removed there."""
    assert len(RESERVED_SUBDOMAINS) == 14
    assert decode(signup({"website_id": 42, "subdomain": "demo"})).created.subdomain == "demo"


@pytest.mark.parametrize(
    "email",
    [
        "", "canary", "canary@", "@secret.example", "canary@secret", "canary@@secret.example", "can ary@secret.example",
        "canary@secret..example", "canary@-secret.example", "canary@secret.example.", "canary@sec ret.example",
        "Jane Canary <canary@secret.example>", "canary@secret.example,eve@evil.example", "canary@secret.example\nbcc:x",
        "c" * 65 + "@secret.example", "canary@" + "s." * 130 + "example", "can\0ary@secret.example",
        "can\x07ary@secret.example", "can\x7fary@secret.example", "canary\ud800@secret.example", "canary@[127.0.0.1]",
        7, True, None, ["canary@secret.example"],
    ],
)  # fmt: skip
def test_a_malformed_email_is_refused(email):
    """What cannot be an address, or cannot be stored or shown; and it is not repeated."""
    assert "owner.email: " in refusal(signup({"website_id": 42, "owner": {"email": email, "name": "Jane Canary"}}))


def test_a_hostile_email_is_refused_at_once():
    """The pattern does not backtrack itself to death: its input is bounded before it is matched."""
    assert "owner.email: " in refusal(signup({"website_id": 42, "owner": {"email": "a@" + "a-" * 20_000}}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("site_type", "canary"), ("site_type", "Residential"), ("site_type", ""), ("site_type", 1), ("site_type", True),
        ("seed_pack", ""), ("seed_pack", "canary" * 11), ("seed_pack", "can\0ary"), ("seed_pack", 7),
        ("seed_pack", "canary\ud800"), ("seed_pack", ["base"]),
        ("skip_properties", 1), ("skip_properties", "true"), ("skip_properties", None), ("skip_properties", "canary"),
        ("auto_go_live", 0), ("auto_go_live", "false"), ("auto_go_live", None), ("auto_go_live", 1.0),
        ("owner", {"email": CANARY, "name": "Canary" * 40}), ("owner", {"email": CANARY, "name": "Can\0ary"}),
        ("owner", {"email": CANARY, "name": "Canary\udfff"}), ("owner", {"email": CANARY, "name": 7}),
    ],
)  # fmt: skip
def test_a_signup_with_a_wrong_field_is_refused(name, value):
    """Exact types, bounded texts, and nothing that PostgreSQL cannot store; the sentence names the field."""
    assert name in refusal(signup({"website_id": 42, name: value}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("expected_seq", -1), ("expected_seq", True), ("expected_seq", 3.0), ("expected_seq", "3"),
        ("expected_seq", 2**31), ("expected_seq", 2**64),
        ("attempt", -1), ("attempt", False), ("attempt", 0.0), ("attempt", "0"), ("attempt", None), ("attempt", 2**31),
        ("actor", 7), ("actor", "canary" * 34), ("actor", "can\0ary"), ("actor", "canary\ud800"),
        ("reason", 7), ("reason", "canary" * 334), ("reason", "can\0ary"), ("reason", "canary\udc00"),
        ("reason", {"canary": CANARY}),
    ],
)  # fmt: skip
def test_a_command_with_a_wrong_field_is_refused(name, value):
    """Exact types, bounded texts, and nothing that PostgreSQL cannot store; the sentence names the field."""
    assert f"{name}: " in refusal(step({"website_id": 42, name: value}))


@pytest.mark.parametrize("text", ["'; DROP TABLE pwb_websites; --", "<script>alert(1)</script>", "\x1b[31m", "a\r\nb"])
def test_hostile_text_is_kept_as_it_is(text):
    """SQL, HTML, escape sequences and newlines are text: inert where it is stored, and escaped where it is shown."""
    assert decode(step({"website_id": 42, "reason": text})).reason == text


def test_many_errors_are_told_in_one_short_sentence():
    """A body of thirty wrong fields does not make a sentence of thirty parts."""
    sentence = refusal(step({"website_id": "canary", **{f"field{n}": CANARY for n in range(30)}}))
    assert "website_id: " in sentence
    assert sentence.count(";") < 10


def test_the_refusal_names_the_message_type():
    """Whoever reads dead letters sees which contract was broken."""
    assert refusal(step({})).startswith("provisioning.complete_links: ")
    assert refusal(signup({})).startswith("website.created: ")


@pytest.mark.parametrize("owner", [{"user_id": 7}, {"email": "ana@example.com"}])
def test_what_a_signup_brought_is_kept_without_a_murmur(owner):
    """Either form of owner is written out as it came in; a warning would be a line on standard error a signup."""
    assert decode(signup({"website_id": 42, "owner": owner})).created.request["owner"] == owner
