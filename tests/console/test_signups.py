"""Signups over HTTP: ids, subdomains, and a signup that is carried out once, however often it is sent."""

import asyncio
import uuid

import httpx
import pytest

from consumer.messages.inbound_contracts import RESERVED_SUBDOMAINS
from tests.console.conftest import OPERATOR, READER, SIGNUP, Console
from tests.factories import STEPS
from tests.worker_processes import until

ANA = {"email": "ana@example.com", "name": "Ana"}
TEXTS = {
    "invalid": "This web address ",
    "reserved": "This web address ",
    "taken": "This web address is taken already. Please choose another one.",
    None: "This web address is free.",
}


async def looked_up(client: httpx.AsyncClient, name: str, **query: object) -> dict[str, object]:
    """Return what the API says of a subdomain."""
    answer = await client.get(f"/api/subdomains/{name}", params={key: str(value) for key, value in query.items()})
    assert answer.status_code == 200, answer.text
    found: dict[str, object] = answer.json()
    assert str(found["text"]).startswith(TEXTS[found["reason"]])  # type: ignore[index]
    assert found["available"] == (found["reason"] is None)
    return found


async def test_a_website_by_http_alone(working: Console) -> None:
    """An id, a look at the name, the signup, and its progress until it is live: with the signup token and no AMQP."""
    async with working.client(SIGNUP) as client:
        website_id = (await client.post("/api/website-ids")).json()["website_id"]
        assert (await looked_up(client, "anas-homes"))["available"]
        body = {"website_id": website_id, "subdomain": "Anas-Homes", "owner": ANA}
        answer = await client.post("/api/websites", json=body)
        assert answer.status_code == 202
        accepted = answer.json()
        await working.reaches(website_id, "live")
        progress = (await client.get(accepted["url"])).json()
        assert (progress["state"], progress["progress"]) == ("live", 100)
        assert (await looked_up(client, "anas-homes"))["reason"] == "taken"
        assert (await looked_up(client, "ANAS-homes ", website_id=website_id))["available"], "it may keep its own"


@pytest.mark.parametrize("with_key", [True, False], ids=["a key", "no key"])
async def test_sent_again_it_is_carried_out_once(working: Console, with_key: bool) -> None:
    """By the key, which is the message id, or by the body: five at once and one after, and one history."""
    key = {"idempotency-key": str(uuid.uuid4())} if with_key else {}
    body = {"website_id": 7, "subdomain": "site-seven", "owner": ANA}
    async with working.client(SIGNUP) as client:
        answers = await asyncio.gather(*(client.post("/api/websites", json=body, headers=key) for _ in range(5)))
        await working.reaches(7, "live")
        answers.append(await client.post("/api/websites", json=body, headers=key))
    assert {answer.status_code for answer in answers} == {202}
    ids = {answer.json()["message_id"] for answer in answers}
    assert ids == ({key["idempotency-key"]} if with_key else ids)
    assert len(ids) == 1
    rows = "SELECT count(*) FROM provisioning_transitions WHERE website_id = 7"
    assert await working.db.fetchval(rows) == STEPS
    settled = lambda: not working.broker.ready("t.signups") and not working.broker.unsettled("t.signups")  # noqa: E731
    await until(lambda: asyncio.sleep(0, settled()), 60, "all six are settled")
    assert working.broker.ready("t.dead-letters") == ()
    assert await working.db.fetchval(rows) == STEPS


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("ab", "invalid"),
        ("a" * 41, "invalid"),
        ("a_b_c", "invalid"),
        ("-abc", "invalid"),
        ("abc-", "invalid"),
        ("ünïcode", "invalid"),
        ("a%00b", "invalid"),
        ("a b c", "invalid"),
        *((name, "reserved") for name in sorted(RESERVED_SUBDOMAINS)),
        ("WWW", "reserved"),
        ("abc", None),
        ("a-b-c", None),
        ("123", None),
    ],
)
async def test_the_rules_of_names(console: Console, name: str, reason: str | None) -> None:
    """The same that the contract of website.created has."""
    async with console.client(SIGNUP) as client:
        assert (await looked_up(client, name))["reason"] == reason


async def test_names_of_the_products_pool(console: Console) -> None:
    """A name that the product has reserved is free to the address that it is reserved for, and to nobody else."""
    await console.db.execute(
        "CREATE TABLE pwb_subdomains (id bigserial PRIMARY KEY, name varchar NOT NULL, aasm_state varchar NOT NULL, "
        "website_id bigint, reserved_by_email varchar, reserved_until timestamp)"
    )
    await console.db.execute(
        "INSERT INTO pwb_subdomains (name, aasm_state, reserved_by_email, reserved_until, website_id) VALUES "
        "('kept', 'reserved', 'Ana@example.com', NULL, NULL), ('lapsed', 'reserved', 'x@example.com', "
        "now() - interval '1 day', NULL), ('given', 'allocated', NULL, NULL, 9)"
    )
    async with console.client(SIGNUP) as client:
        assert (await looked_up(client, "kept"))["reason"] == "reserved"
        assert (await looked_up(client, "kept", email="bob@example.com"))["reason"] == "reserved"
        assert (await looked_up(client, "kept", email="ana@example.com"))["reason"] is None
        assert (await looked_up(client, "lapsed"))["reason"] is None
        assert (await looked_up(client, "given"))["reason"] == "reserved"
        body = {"website_id": 5, "subdomain": "kept", "owner": {"email": "bob@example.com"}}
        answer = await client.post("/api/websites", json=body)
        assert (answer.status_code, "reserved" in answer.json()["error"]) == (409, True)
        assert (await client.post("/api/websites", json=body | {"owner": ANA})).status_code == 202


async def test_a_taken_name_is_refused_at_once(console: Console) -> None:
    """With 409, and nothing is published; the website that has it may be signed up again."""
    await console.db.execute(
        "INSERT INTO pwb_websites (id, subdomain, created_at, updated_at) VALUES (3, 'Taken', now(), now())"
    )
    async with console.client(SIGNUP) as client:
        refused = await client.post("/api/websites", json={"website_id": 4, "subdomain": "taken", "owner": ANA})
        assert refused.status_code == 409
        assert refused.json() == {"error": "subdomain: taken is taken; nothing was published"}
        again = await client.post("/api/websites", json={"website_id": 3, "subdomain": "taken", "owner": ANA})
        assert again.status_code == 202
        assert (await client.post("/api/websites", json={"website_id": 3})).status_code == 202


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({}, "website_id: is required"),
        ({"website_id": "7"}, "website_id: must be a whole number"),
        ({"website_id": 0}, "website_id: must be 1 or more"),
        ({"website_id": 7, "colour": "red"}, "colour: is not known"),
        ({"website_id": 7, "subdomain": "a"}, "subdomain: must be at least 3 characters"),
        ({"website_id": 7, "owner": {"email": "nobody"}}, "owner.email: "),
    ],
)
async def test_a_wrong_signup_is_refused_by_its_field(console: Console, body: dict[str, object], error: str) -> None:
    """With 400, before anything is published."""
    async with console.client(SIGNUP) as client:
        answer = await client.post("/api/websites", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(error)


async def test_a_key_that_stands_twice_is_refused(console: Console) -> None:
    """As in a message: nobody knows which website is meant."""
    async with console.client(SIGNUP) as client:
        answer = await client.post("/api/websites", content=b'{"website_id": 77, "website_id": 42}')
    assert (answer.status_code, "the same key twice" in answer.text) == (400, True)


async def test_a_key_is_a_uuid(console: Console) -> None:
    """It is the message id."""
    async with console.client(SIGNUP) as client:
        answer = await client.post("/api/websites", json={"website_id": 7}, headers={"idempotency-key": "order 66"})
    assert (answer.status_code, "Idempotency-Key: must be a UUID" in answer.text) == (400, True)


@pytest.mark.parametrize(("token", "status"), [(None, 401), (READER, 403), (SIGNUP, 202), (OPERATOR, 202)])
async def test_who_may_sign_up(console: Console, token: str | None, status: int) -> None:
    """The signup system, and operators."""
    async with console.client(token) as client:
        answer = await client.post("/api/websites", json={"website_id": 7, "subdomain": "seven", "owner": ANA})
        assert answer.status_code == status
        reads = await client.get("/api/subdomains/seven")
        assert reads.status_code == (200 if status == 202 else status)


async def test_a_broker_that_is_away(console: Console) -> None:
    """Is a 503; the same request later does what this one could not."""
    body = {"website_id": 7, "subdomain": "seven", "owner": ANA}
    console.broker.refuse_connections = True
    async with console.client(SIGNUP) as client:
        away = await client.post("/api/websites", json=body)
        assert away.status_code == 503
        assert not console.broker.ready("t.signups")
        console.broker.refuse_connections = False
        assert (await client.post("/api/websites", json=body)).status_code == 202
