"""An owner's data is erased from all that is kept of a website at rest; states and seqs stay, and so does a marker."""

import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from consumer.broker.protocol import BrokerError, Message
from consumer.store.database import Store
from ops.audit.queries import action_details, recent_actions
from ops.audit.trail import ActionItem, AuditTrail
from ops.dead_letters.listing import read_listing
from ops.errors import InvalidInputError, NotFoundError
from ops.publishing import publish_all, publishing
from ops.retention import erasure
from ops.retention.erasure import NotAtRestError, erase
from ops.retention.erasure_target import ErasureTarget, find_target
from ops.websites.event_replay import replay
from ops.websites.queries import statuses
from ops.websites.verb_execution import carry_out
from ops.websites.verb_registry import ERASE, VERBS_BY_NAME
from tests.factories import make_delivery
from tests.service import NAMESPACE, Service, Start, starter

WHO: dict[str, Any] = {"actor": "cli:ana", "reason": "request 2026-117"}
OWNER = {"email": "zoë@bücher.example", "name": "Zoë Quill"}
TRACES = ("zoë", "quill", "xn--bcher-kva", "bücher")
OTHER = {"owner": {"email": "other@example.com"}}


@pytest.fixture
def start(database_url: str, tmp_path: Path) -> Start:
    """Start a service with settings of the test's choice."""
    return starter(database_url, tmp_path)


async def dead_letter(service: Service, body: dict[str, Any], error: str = "why", *, ascii_only: bool = False) -> str:
    """Put a dead letter into the queue, as workers do; return its message id."""
    message_id = str(uuid.uuid4())
    headers = {"x-reason": "conflict", "x-error": error, "x-failed-at": "2026-01-01T00:00:00+00:00"}
    text = json.dumps(body, ensure_ascii=ascii_only).encode()
    letter = Message(message_id, "website.created", text, "", service.topology.dead_letters, True, headers)
    async with publishing(service.broker) as session:
        await publish_all(session, [letter])
    return message_id


ACTIONS = ("provisioning_operator_actions", "provisioning_action_items")


async def kept(connection: Any, actions: tuple[str, ...] = ACTIONS) -> str:
    """Return all rows of all our tables as one text, in lower case, and the product's row without its own tables."""
    tables = (
        "pwb_websites", "provisioning_transitions", "provisioning_pruned", "provisioning_rejections",
        "provisioning_dead_letters", "provisioning_dead_letter_readings", *actions,
    )  # fmt: skip
    return "\n".join(
        [
            await connection.fetchval(f"SELECT coalesce(string_agg(t::text, chr(10)), '') FROM {each} AS t")
            for each in tables
        ]
    ).lower()


async def failed_with_traces(service: Service, store: Store) -> None:
    """Bring website 1 to failed with its owner in all that is kept: request, column, error, history, actions, letters;
    and website 2, of another owner, to live."""
    await service.created(1, owner=OWNER)
    await service.reaches(1, "live")
    await service.command("suspend", 1, reason="Zoë Quill asked by phone", actor="zoë@bücher.example")
    await service.reaches(1, "suspended")
    await service.command("reactivate", 1)
    await service.reaches(1, "live")
    await service.created(2, owner={"email": "other@example.com"})
    await service.reaches(2, "live")
    await service.created(3, owner=OWNER, subdomain="third-one", seed_pack="pack-that-is-not-there")
    await service.reaches(3, "live")
    await service.connection.execute(
        """UPDATE provisioning_transitions SET detail = detail || jsonb_build_object(
               'error', 'no mail to Zoë Quill, ZOË@bücher.example.',
               'message', 'Setup failed: zoë@xn--bcher-kva.example')
            WHERE website_id = 1 AND seq = 3"""
    )
    trail = AuditTrail(store, "cli:ana", "Zoë Quill called")
    async with trail.action("redrive", error="it has another owner, zoë@bücher.example", kind="of Zoë Quill") as action:
        recorded = await action.record([
            ActionItem("m-1", 1, {"error": "owner Zoë Quill", "type": "website.created", "note": "Zoë Quill's"}),
            ActionItem("m-4", 2, {"error": "why", "type": "website.created"}),
        ])  # fmt: skip
        await action.settle({recorded[0]: "not done: Zoë Quill", recorded[1]: "done"})
    async with AuditTrail(store, "cli:ana").action("edit") as action:
        (number,) = await action.record(
            [ActionItem("zoë@bücher.example", 9, {"error": "has another owner, zoë@bücher.example"})]
        )
        action.about("dead letter", ["zoë@bücher.example"])
        await action.settle({number: "done"})
    async with AuditTrail(store, "cli:ana", "not-zoë@bücher.example called").action("redrive") as action:
        await action.settle(dict.fromkeys(await action.record([ActionItem("m-3", 2)]), "done"))
    # As version 0.1.0 recorded actions: each about one website or message itself.
    await service.connection.execute(
        """INSERT INTO provisioning_operator_actions (actor, verb, reason, message_id, website_id, detail, outcome)
               VALUES ('cli:ana', 'discard', 'Zoë Quill called', 'old-1', 1, '{"error": "owner Zoë Quill"}',
                       'not done: Zoë Quill'),
                      ('cli:ana', 'discard', NULL, 'old-2', 9, '{"error": "it is zoë@bücher.example"}', 'done')"""
    )


async def test_everything_that_is_kept_of_an_owner_goes(start: Start, store: Store) -> None:
    """Request, column, errors, reasons, the claimed actor, what people wrote, dead letters; of other owners nothing.
    States, seqs, ids, times stay, and what was done by whom; it is recorded, without whose data it was."""
    async with start() as service:
        await failed_with_traces(service, store)
        letters = [
            await dead_letter(service, {"website_id": 1}),
            await dead_letter(service, {"website_id": 77, "owner": OWNER}, ascii_only=True),
            await dead_letter(service, {"website_id": 78, "owner": {"email": "ZOË@xn--bcher-kva.example"}}),
            await dead_letter(service, {"website_id": 79}, error="the address zoë@bücher.example is no address"),
        ]
        others = [
            await dead_letter(service, {"website_id": 2}),
            await dead_letter(service, {"website_id": 80, "owner": {"email": "chzoë@bücher.example"}}),
            await dead_letter(service, {"website_id": 81, "owner": {"email": "zoë@bücher.example.org"}}),
        ]
        before = await service.history(1)
        site, other = await service.website(1), await service.website(2)
        target = await find_target(store, "sunny-meadow-1")
        counted = await erase(store, service.broker, NAMESPACE, target, **WHO, dry_run=True)
        assert [message_id for message_id, _ in service.letters()] == letters + others
        assert "quill" in await kept(service.connection)
        result = await erase(store, service.broker, NAMESPACE, target, **WHO)
        assert result == counted | {"dry_run": False}
        (row,) = result["websites"]
        assert (row["request"], row["owner_email"], row["log_rows"], row["actions"]) == (True, True, 2, 2)
        assert result["actions"] == 3
        assert sorted(result["dead_letters"]) == sorted(letters)
        assert sorted(message_id for message_id, _ in service.letters()) == sorted(others)
        after, erased = await service.history(1), await service.website(1)
        fixed = ("seq", "trigger", "from_state", "to_state", "message_id", "occurred_at")
        assert [[row[name] for name in fixed] for row in after] == [[row[name] for name in fixed] for row in before]
        for name in ("provisioning_state", "provisioning_seq", "provisioning_published_seq", "subdomain"):
            assert erased[name] == site[name]
        assert await service.website(2) == other
        assert (erased["owner_email"], list(json.loads(erased["provisioning_request"]))) == (None, ["erased"])
        (moved,) = [row for row in after if row["reason"]]
        assert (moved["reason"], moved["actor"]) == ("erased", "claimed: erased")
        detail = json.loads(after[2]["detail"])
        assert (detail["error"], detail["message"]) == ("no mail to erased, erased.", "Setup failed: erased")
        assert detail["subdomain"] == "sunny-meadow-1"
        # Website 3 is the same owner's, and was not named; not-zoë is somebody else.
        rest = await kept(service.connection)
        await service.connection.execute("DELETE FROM pwb_websites WHERE id = 3")
        rest = (await kept(service.connection)).replace("not-zoë@bücher.example", "")
        assert [trace for trace in TRACES if trace in rest] == []
        actions = await recent_actions(store)
        assert (actions[0]["verb"], actions[0]["reason"], actions[0]["outcome"]) == (
            "erase",
            "request 2026-117",
            "done",
        )
        (redriven,) = [each for each in actions if each["verb"] == "redrive" and each["items"] == 2]
        assert (redriven["actor"], redriven["reason"], redriven["detail"]) == (
            "cli:ana", "erased", {"error": "erased", "kind": "of erased"},
        )  # fmt: skip
        assert redriven["outcome"] == "1 not done: erased; 1 done"
        mine, others_item = (await action_details(store, redriven["id"]))["results"]
        assert mine["detail"] == {"error": "erased", "type": "website.created", "note": "erased's"}
        assert (mine["message_id"], mine["website_id"], mine["outcome"]) == ("m-1", 1, "not done: erased")
        assert (others_item["detail"], others_item["outcome"]) == ({"error": "why", "type": "website.created"}, "done")
        (untouched,) = [each for each in actions if each["message_id"] == "m-3"]
        assert untouched["reason"] == "not-zoë@bücher.example called"


async def test_what_the_table_has_of_dead_letters_goes(start: Start, store: Store) -> None:
    """Rows about the website or with the address, of letters that are still there, that are gone, and of another queue;
    those of others stay, and the next list has them."""
    address = "the address zoë@bücher.example is no address"
    async with start() as service:
        await service.created(1, owner=OWNER)
        await service.reaches(1, "live")
        await dead_letter(service, {"website_id": 1})
        await dead_letter(service, {"website_id": 79}, error=address)
        stays = await dead_letter(service, {"website_id": 2})

        async def listed() -> list[dict[str, Any]]:
            found = await read_listing(store, service.broker, NAMESPACE, read_by="test", limit=10)
            return found.letters

        assert len(await listed()) == 3
        # One that somebody took out of the queue since, and one of a namespace of before.
        for queue in (service.topology.dead_letters, "before.dead-letters"):
            await service.connection.execute(
                """INSERT INTO provisioning_dead_letters (queue, digest, place, reason, error, bytes)
                   VALUES ($1, 'gone', 9, 'poison', $2, 1)""",
                queue, address,
            )  # fmt: skip
        await erase(store, service.broker, NAMESPACE, await find_target(store, "1"), **WHO)
        rows = await service.connection.fetch("SELECT website_id, message_id FROM provisioning_dead_letters")
        assert [tuple(row) for row in rows] == [(2, stays)]
        assert [each["message_id"] for each in await listed()] == [stays]


async def test_dead_letters_of_every_kind_are_no_obstacle(start: Start, store: Store) -> None:
    """Whoever may publish could otherwise stop every erasure: by a fraction, say, which no contract has."""
    async with start() as service:
        await service.created(1, owner=OWNER, subdomain="erased")
        await service.reaches(1, "live")
        await dead_letter(service, {"x": 1.5, "deep": [[{"y": -0.25}]], "website_id": 300.0})
        about = await dead_letter(service, {"price": 4.5, "owner": OWNER})
        async with publishing(service.broker) as session:
            odd = [b"{", b"\xff", b"[1e400]", b"NaN", b"[" * 5000, b'{"a": 1, "a": 2}', b""]
            queue = service.topology.dead_letters
            await publish_all(
                session, [Message(str(n), "odd", body, "", queue, True, {}) for n, body in enumerate(odd)]
            )
            # The address in what is no JSON for us, escaped, and in the type.
            escaped = b'{"email": "zo\\u00eb\\u0040b\\u00fccher.example", "email": 1'
            await publish_all(session, [Message("escaped", "odd", escaped, "", queue, True, {})])
            await publish_all(session, [Message("typed", f"from {OWNER['email']}", b"{}", "", queue, True, {})])
        result = await erase(store, service.broker, NAMESPACE, ErasureTarget((1,), (OWNER["email"],)), **WHO)
        assert sorted(result["dead_letters"]) == sorted([about, "escaped", "typed"])


async def test_it_can_be_done_again_and_by_the_address(start: Start, store: Store) -> None:
    """All websites of the address in whatever spelling, also where its user is the owner; the second time nothing is
    left to do, and the marker has the time of the first."""
    async with start() as service:
        await failed_with_traces(service, store)
        target = await find_target(store, " ZOË@XN--BCHER-KVA.example")
        assert target.website_ids == (1, 3)
        await erase(store, service.broker, NAMESPACE, target, **WHO)
        first = [await service.website(number) for number in (1, 3)]
        text = (await kept(service.connection)).replace("not-zoë@bücher.example", "")
        assert [trace for trace in TRACES if trace in text] == []
        again = await erase(store, service.broker, NAMESPACE, await find_target(store, "zoë@bücher.example"), **WHO)
        assert again["dead_letters"] == []
        for row in again["websites"]:
            assert (row["request"], row["owner_email"], row["log_rows"], row["actions"]) == (False, False, 0, 0)
        second = [await service.website(number) for number in (1, 3)]
        assert [row["provisioning_request"] for row in first] == [row["provisioning_request"] for row in second]
        letter = await dead_letter(service, {"website_id": 90, "owner": {"email": "nobody@example.com"}})
        nobody = await erase(store, service.broker, NAMESPACE, await find_target(store, "nobody@example.com"), **WHO)
        assert nobody["dead_letters"] == [letter]


async def test_a_website_under_way_is_refused(start: Start, store: Store) -> None:
    """On its way, waiting for an attempt, or with an event that is not published; what to do is said, nothing is gone,
    not even a dead letter, and not the data of another website that rests."""
    async with start() as service:
        await service.created(1, owner=OWNER)
        await service.reaches(1, "live")
        await service.created(2, owner=OWNER, subdomain="second-one")
        await service.reaches(2, "live")
        letter = await dead_letter(service, {"website_id": 1})
        before = await kept(service.connection, ())
        for broken, sentence in (
            ("provisioning_due_at = now() + interval '1 hour'", "wait until it rests; `provisioner explain 2`"),
            ("provisioning_due_at = NULL, provisioning_published_seq = 3", "that nothing sends"),
        ):
            await service.connection.execute(f"UPDATE pwb_websites SET {broken} WHERE id = 2")
            with pytest.raises(NotAtRestError, match=f"website 2: it is live.*{sentence}.*nothing was erased"):
                await erase(store, service.broker, NAMESPACE, await find_target(store, OWNER["email"]), **WHO)
        await service.connection.execute(
            "UPDATE pwb_websites SET provisioning_published_seq = provisioning_seq WHERE id = 2"
        )
        assert before == await kept(service.connection, ())
        refused = await recent_actions(store)
        assert [(each["verb"], each["target"], each["result"]) for each in refused] == [
            ("erase", "2 websites", "failure")
        ] * 2
        assert refused[1]["outcome"].startswith("not erased: it is live, at seq 7, and something is still to be done")
        assert refused[1]["website_id"] == 2
        await service.connection.execute(
            """INSERT INTO pwb_websites (id, subdomain, created_at, updated_at, provisioning_due_at,
                                         provisioning_request)
                    VALUES (3, 'asleep', now(), now(), NULL, '{"owner": {"email": "zoë@bücher.example"}}')"""
        )
        with pytest.raises(NotAtRestError, match=r"website 3: it is pending.*that nothing sends.*start 3"):
            await erase(store, service.broker, NAMESPACE, await find_target(store, OWNER["email"]), **WHO)
        assert [message_id for message_id, _ in service.letters()] == [letter]
        await service.connection.execute("UPDATE pwb_websites SET provisioning_due_at = now() WHERE id = 3")
        await service.connection.execute("UPDATE pwb_websites SET provisioning_attempts = 1 WHERE id = 3")
        with pytest.raises(NotAtRestError, match=r"website 3: it is pending.*wait until it rests"):
            await erase(store, service.broker, NAMESPACE, ErasureTarget((3,), ()), **WHO)
        for reason in (None, " ", "zoë@bücher.example asked"):
            with pytest.raises(InvalidInputError, match="--reason"):
                await erase(store, service.broker, NAMESPACE, ErasureTarget((1,), ()), actor="cli:ana", reason=reason)
        with pytest.raises(NotFoundError):
            await find_target(store, "4711")
        with pytest.raises(InvalidInputError, match="EMAIL"):
            await find_target(store, "zoë@")


async def test_any_later_signup_for_it_is_a_conflict(start: Start, store: Store) -> None:
    """With the owner that it had, another, or none: it becomes a dead letter and changes nothing. A copy of what was
    carried out stays already done. What people do with the website works as before."""
    async with start() as service:
        message_id = await service.created(1, owner=OWNER)
        await service.reaches(1, "live")
        await service.created(2, owner=None)
        await service.reaches(2, "failed")
        for number in ("1", "2"):
            await erase(store, service.broker, NAMESPACE, await find_target(store, number), **WHO)
        before = [await service.website(number) for number in (1, 2)]
        for number in (1, 2):
            for owner in ({"owner": OWNER}, OTHER, {}):
                await service.publish("website.created", {"website_id": number, **owner})
        await service.publish("website.created", {"website_id": 1, "owner": OWNER}, message_id)
        await service.settled()
        assert [reason for _, reason in service.letters()] == ["conflict"] * 6
        assert "its owner was erased" in service.x_error()
        assert [await service.website(number) for number in (1, 2)] == before
        for number in ("1", "2"):
            await erase(store, service.broker, NAMESPACE, await find_target(store, number), **WHO)
        assert service.letters() == []
        await service.command("suspend", 1)
        await service.reaches(1, "suspended")
        await service.command("reactivate", 1)
        await service.reaches(1, "live")
        (status,) = await statuses(store, [1])
        assert status["erased_at"] == json.loads(before[0]["provisioning_request"])["erased"]


async def test_the_subdomain_goes_once_the_row_has_it_no_more(start: Start, store: Store) -> None:
    """As long as the website is called so, its history may say so; then another erasure takes it out of the log, and of
    a website that is deleted at once. Events that are published again have no address then."""
    async with start() as service:
        for number in (1, 2):
            await service.created(number, owner=OWNER, subdomain=f"zoë-{number}".replace("ë", "e"))
            await service.reaches(number, "live")
        await service.connection.execute("UPDATE pwb_websites SET subdomain = 'another-one' WHERE id = 1")
        await service.connection.execute("DELETE FROM pwb_websites WHERE id = 2")
        for number in ("1", "2"):
            result = await erase(store, service.broker, NAMESPACE, await find_target(store, number), **WHO)
            assert result["websites"][0]["log_rows"] == len(await service.history(int(number)))
            assert "zoe-" not in str([dict(row) for row in await service.history(int(number))])
        seen = len(service.events())
        again: dict[str, Any] = {"since_seconds": 3600, "website_id": 1, "base_domain": "example.com", **WHO}
        await replay(store, service.broker, NAMESPACE, **again)
        live = service.events()[-1]
        assert len(service.events()) > seen
        assert (live["type"], live["body"]["subdomain"], live["body"]["url"]) == ("website.live", None, None)


async def test_an_erasure_that_is_interrupted_is_finished_by_another(
    start: Start, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RabbitMQ goes away after the dead letters, or the database does: the addresses are still stored, and the audit
    trail says that it is not finished."""
    async with start() as service:
        await service.created(1, owner=OWNER)
        await service.reaches(1, "live")
        await dead_letter(service, {"website_id": 1})
        await dead_letter(service, {"website_id": 50, "owner": OWNER})
        target = await find_target(store, "1")
        rows, discard = erasure._erase_rows, erasure._discard

        calls = []

        async def lost_rows(*arguments: Any) -> Any:
            calls.append(arguments)
            if len(calls) == 2:  # the first one looks
                raise ConnectionError
            return await rows(*arguments)

        async def lost_acks(*arguments: Any) -> None:
            await discard(*arguments)
            raise BrokerError("the connection was lost")

        monkeypatch.setattr(erasure, "_discard", lost_acks)
        with pytest.raises(BrokerError):
            await erase(store, service.broker, NAMESPACE, target, **WHO)
        monkeypatch.setattr(erasure, "_discard", discard)
        monkeypatch.setattr(erasure, "_erase_rows", lost_rows)
        with pytest.raises(ConnectionError):
            await erase(store, service.broker, NAMESPACE, target, **WHO)
        monkeypatch.setattr(erasure, "_erase_rows", rows)
        assert "quill" in await kept(service.connection)
        assert [each["outcome"] for each in await recent_actions(store)] == [
            "not finished: run it again", "not finished: run it again",
        ]  # fmt: skip
        assert await find_target(store, "1") == target
        await erase(store, service.broker, NAMESPACE, target, **WHO)
        assert "quill" not in await kept(service.connection)


async def test_as_a_verb_of_the_registry(start: Start, store: Store) -> None:
    """The console carries it out as any verb: at the seq that was seen, with what stands in the way as an answer."""
    async with start() as service:
        await service.created(1, owner=OWNER)
        site = await service.reaches(1, "live")
        verb = VERBS_BY_NAME[ERASE]
        arguments: tuple[Any, ...] = (store, service.broker, NAMESPACE, verb, [1])
        (result,) = await carry_out(*arguments, **WHO, expected_seqs={1: 3})
        assert (result["sent"], result["why"]) == (False, "it has moved since you looked, and is live")
        await service.connection.execute("UPDATE pwb_websites SET provisioning_due_at = now() + interval '1 hour'")
        (result,) = await carry_out(*arguments, **WHO)
        assert not result["sent"]
        assert "wait until it rests" in result["why"]
        await service.connection.execute("UPDATE pwb_websites SET provisioning_due_at = NULL")
        (result,) = await carry_out(*arguments, **WHO, expected_seqs={1: site["provisioning_seq"]})
        assert (result["sent"], result["why"]) == (True, None)
        assert "quill" not in await kept(service.connection)


async def test_an_erased_website_is_still_moved_by_people(start: Start, store: Store) -> None:
    """A failed one is requeued, and goes live with the owner whom the product has; nothing erased is back."""
    async with start() as service:
        await service.created(1, owner=OWNER)
        await service.reaches(1, "live")
        await service.command("suspend", 1)
        await service.reaches(1, "suspended")
        await erase(store, service.broker, NAMESPACE, await find_target(store, "1"), **WHO)
        await service.command("reactivate", 1)
        await service.reaches(1, "live")
        await service.created(2, owner=None)
        await service.reaches(2, "failed")
        await erase(store, service.broker, NAMESPACE, await find_target(store, "2"), **WHO)
        await service.connection.execute(
            """INSERT INTO pwb_user_memberships (user_id, website_id, role, created_at, updated_at)
               SELECT id, 2, 'owner', now(), now() FROM pwb_users"""
        )
        await service.command("retry_provisioning", 2)
        await service.reaches(2, "live")
        assert "quill" not in await kept(service.connection)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("ana@example.com", True), ("<ANA@example.com>", True), ("to ana@example.com.", True),
        ("diana@example.com", False), ("x.ana@example.com", False), ("ana@example.com.au", False),
        ("ana@example.community", False), ("mail:ana@example.com", True), ("other@example.com", False),
    ],
)  # fmt: skip
def test_an_address_is_no_part_of_another(text: str, *, found: bool) -> None:
    """Neither in a body nor in a header; a body that is no JSON is looked through as it is."""
    target = ErasureTarget((), ("ana@example.com",))
    for delivery in (
        make_delivery({"note": text}),
        make_delivery(text.encode()),
        make_delivery({}, headers={"x": text}),
    ):
        assert target.is_about(delivery) == found


async def test_in_the_products_database_its_own_address_stays(
    guest: Any, guest_store: Store, guest_url: str, tmp_path: Path
) -> None:
    """An owner_email that the product wrote is the product's; one that came with the signup goes. A website that this
    service never provisioned gets no marker."""
    async with starter(guest_url, tmp_path)() as service:
        await service.created(901, owner=OWNER, subdomain="erased-one")
        await service.reaches(901, "live")
        await service.created(902, owner=OWNER, subdomain="erased-two")
        await service.reaches(902, "live")
        await guest.execute("UPDATE pwb_websites SET owner_email = 'office@example.com' WHERE id = 902")
        target = ErasureTarget((901, 902), ("zoë@bücher.example",))
        result = await erase(guest_store, service.broker, NAMESPACE, target, **WHO)
        emails = [(row["owner_email"], row["owner_email_stays"]) for row in result["websites"]]
        assert emails == [
            (True, False),
            (False, True),
        ]
        assert await guest.fetchval("SELECT owner_email FROM pwb_websites WHERE id = 902") == "office@example.com"
        await guest.execute(
            """INSERT INTO pwb_websites (id, subdomain, provisioning_state, created_at, updated_at)
               VALUES (903, 'product-made', 'live', now(), now())"""
        )
        await erase(guest_store, service.broker, NAMESPACE, ErasureTarget((903,), ()), **WHO)
        assert await guest.fetchval("SELECT provisioning_request FROM pwb_websites WHERE id = 903") is None
