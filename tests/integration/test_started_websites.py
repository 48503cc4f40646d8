"""Websites of the existing product started by people: which, what is said of them before, and what comes of it."""

import re
from pathlib import Path
from typing import Any

import pytest

import seeders
from consumer.broker.protocol import BrokerDownError
from consumer.broker.topology import Topology
from consumer.config import Settings
from consumer.domain.existing_product_states import LockedState
from consumer.store.database import Store
from ops.audit.queries import action_details, recent_actions
from ops.doctor.run import run_checks
from ops.websites import queries
from ops.websites.explain import explain_website
from ops.websites.service_figures import durations_to_live
from ops.websites.start_asleep import asleep_website_ids, plan_start, start_websites
from ops.websites.verb_execution import carry_out as carry_out_verb
from ops.websites.verb_registry import START, VERBS_BY_NAME
from seeders.loading.pack_library import PackLibrary
from tests.contract.faulty_broker import FaultyMemoryBroker
from tests.existing_product import CHAIN, IDS, LOCKED, OPERATIONS, ROLE, STATES, carry_out
from tests.factories import LIVE
from tests.invariants import check_events
from tests.service import NAMESPACE, Start, starter

PACKS = Path(seeders.__file__).parent / "packs"
BY = {"actor": "cli:ana", "reason": "they slept"}
ASLEEP = [IDS[state] for state in CHAIN]
NOT_STARTED = {
    **dict.fromkeys(LOCKED, "a state of the existing product's own"),
    "live": "it is live", "failed": "`provisioner requeue 11`", "suspended": "`provisioner reactivate 12`",
    "terminated": "it is terminated",
}  # fmt: skip


@pytest.fixture
def start(guest_url: str) -> Start:
    """Start this service there."""
    return starter(guest_url, PACKS)


def library() -> PackLibrary:
    """The packs that ship."""
    return PackLibrary([PACKS])


async def remarks(store: Store) -> dict[str, dict[str, Any]]:
    """Return the doctor's findings about websites, by what they are about."""
    broker = FaultyMemoryBroker()
    await broker.declare(Topology(NAMESPACE))
    settings = Settings.model_validate({"namespace": NAMESPACE, "amqp_url": "inprocess://"})
    report = await run_checks(settings, store, broker, {})
    return {each["what"]: each for each in report["findings"] if each["area"] == "websites"}


async def test_all_that_sleep_are_started_and_no_other(guest_store: Store, start: Start, guest: Any) -> None:
    """Of a website in each state those on the chain go live; the others are refused, each with what to do instead."""
    assert await asleep_website_ids(guest_store) == ASLEEP
    plan = {each["state"]: each for each in await plan_start(guest_store, library(), list(IDS.values()))}
    for state in STATES:
        if state in CHAIN:
            assert (plan[state]["works"], plan[state]["why"]) == (True, None), plan[state]
            assert plan[state]["would"] == f"take {plan[state]['step']} from {state}, and go on to live"
        else:
            assert plan[state]["would"] is None
            assert NOT_STARTED[state] in plan[state]["why"]
    assert await recent_actions(guest_store) == [], "the plan has sent nothing"
    async with start() as service:
        results = await start_websites(guest_store, service.broker, NAMESPACE, list(IDS.values()), **BY)
        assert {each["state_before"]: each["step"] for each in results if each["sent"]} == {
            state: plan[state]["step"] for state in CHAIN
        }
        for website_id in ASLEEP:
            await service.reaches(website_id, "live")
        for state in CHAIN:
            rows = await service.history(IDS[state])
            assert [row["to_state"] for row in rows] == LIVE[CHAIN.index(state) :]
            (sent,) = [each for each in results if each["state_before"] == state]
            assert str(rows[0]["message_id"]) == sent["message_id"]
            (action,) = await recent_actions(guest_store, website_id=IDS[state])
            assert (action["verb"], action["actor"], action["reason"]) == (START, "cli:ana", "they slept")
            assert (action["message_id"], action["outcome"]) == (sent["message_id"], "published")
            assert action["detail"] == {"step": sent["step"], "from": state}
        assert service.letters() == []
        await check_events(guest, service.events())
        others = await queries.statuses(guest_store, [IDS[state] for state in NOT_STARTED])
        assert [each["state"] for each in others] == list(STATES[7:])
    assert await asleep_website_ids(guest_store) == []
    again = await start_websites(guest_store, FaultyMemoryBroker(), NAMESPACE, ASLEEP, **BY)
    assert {each["why"] for each in again} == {"it is live: nothing is left to do"}


async def test_a_year_of_sleep_is_no_time_to_live(guest_store: Store, start: Start, guest: Any) -> None:
    """What customers are told of the time left is learnt from websites that nobody let sleep."""
    await guest.execute("UPDATE pwb_websites SET created_at = now() - interval '1 year' WHERE id = 1")
    async with start() as service:
        await start_websites(guest_store, service.broker, NAMESPACE, [1], **BY)
        await service.reaches(1, "live")
        await service.created(20)
        await service.reaches(20, "live")
    durations = await durations_to_live(guest_store)
    assert {state: len(seconds) for state, seconds in durations.items()} == dict.fromkeys(CHAIN, 1)


async def test_started_twice_it_moves_once(guest_store: Store, start: Start, guest: Any) -> None:
    """A second start before the workers have seen the first is sent, and changes nothing; after it, it is not sent."""
    async with start(retry_base_seconds=60, retry_cap_seconds=60) as service:
        await guest.execute("DELETE FROM pwb_user_memberships WHERE website_id = 2")
        twice = [await start_websites(guest_store, service.broker, NAMESPACE, [2], **BY) for _ in range(2)]
        assert [len([each for each in results if each["sent"]]) for results in twice] in ([1, 1], [1, 0])
        await service.settled()
        (status,) = await queries.statuses(guest_store, [2])
        assert (status["attempts"], status["state"], status["under_way"], status["ours"]) == (
            1, "owner_assigned", True, True,
        )  # fmt: skip
        (refused,) = await start_websites(guest_store, service.broker, NAMESPACE, [2], **BY)
        assert refused["why"].startswith("it is under way: attempt 2 is due at")


async def test_what_the_workers_do_is_what_was_forecast(guest_store: Store, start: Start, guest: Any) -> None:
    """A website over whose guards the product went fails, or waits for its owner; the plan says which, and why."""
    await guest.execute(
        """DELETE FROM pwb_links WHERE website_id IN (5, 7) AND slug = 'link-1';
        DELETE FROM pwb_user_memberships WHERE website_id = 3"""
    )
    plan = {each["website_id"]: each for each in await plan_start(guest_store, library(), [3, 5, 7])}
    owner, links = "Owner assignment failed - no active owner membership", "links (have 2, need 3)"
    assert plan[3]["would"] == f"be tried again for a while, then fail: {owner}"
    assert plan[5]["would"] == "fail from field_keys_created: Links creation failed - need at least 3, have 2"
    assert plan[7]["would"] == f"fail from ready: missing: {links}"
    assert not any(each["works"] for each in plan.values())
    async with start(retry_base_seconds=60, retry_cap_seconds=60) as service:
        await start_websites(guest_store, service.broker, NAMESPACE, [3, 5, 7], **BY)
        for website_id, error in ((5, "Links creation failed"), (7, f"Cannot go live - missing: {links}")):
            row = await service.reaches(website_id, "failed")
            assert row["provisioning_error"].startswith(error)
        await service.settled()
        assert (await service.website(3))["provisioning_attempt_error"] == owner


async def test_a_website_that_the_product_is_about(guest_store: Store, start: Start, guest: Any) -> None:
    """Inserted and moved by the product it has ten minutes; it is not asleep, is explained so, and may be started."""
    reserve, configure = (next(each for each in OPERATIONS if each.number == number) for number in (3, 4))
    await carry_out(guest, ROLE, reserve, None)
    website_id = await guest.fetchval("SELECT max(id) FROM pwb_websites")
    await carry_out(guest, ROLE, configure, website_id)
    assert website_id not in await asleep_website_ids(guest_store)
    waits = (await explain_website(guest_store, None, NAMESPACE, website_id))["waits_for"]
    assert waits["kind"] == "message"
    assert waits["why"].startswith("website.created has not come since ")
    assert "without it, provisioning.complete_agency is sent at " in waits["why"]
    assert f"`provisioner start {website_id}` starts it now" in waits["why"]
    async with start() as service:
        (sent,) = await start_websites(guest_store, service.broker, NAMESPACE, [website_id], **BY)
        assert sent["sent"]
        await service.reaches(website_id, "live")


async def test_a_website_of_ours_without_a_due_time(guest_store: Store, start: Start, guest: Any) -> None:
    """Whoever took it, `start` takes the website on from where its log ends; a held one is not asleep."""
    async with start() as service:
        await service.created(20, auto_go_live=False)
        await service.reaches(20, "ready")
        assert 20 not in await asleep_website_ids(guest_store)
        (held,) = await start_websites(guest_store, service.broker, NAMESPACE, [20], **BY)
        assert held["why"] == "it is held at ready: `provisioner go-live 20` lets it go live"
        await guest.execute("UPDATE pwb_websites SET provisioning_auto_go_live = true WHERE id = 20")
        assert 20 in await asleep_website_ids(guest_store)
        await start_websites(guest_store, service.broker, NAMESPACE, [20], **BY)
        await service.reaches(20, "live")


async def test_as_a_verb_it_goes_where_every_verb_goes(guest_store: Store) -> None:
    """The console carries it out by the registry, with the seq that the page showed."""
    broker, verb = FaultyMemoryBroker(), VERBS_BY_NAME[START]
    await broker.declare(Topology(NAMESPACE))
    (moved,) = await carry_out_verb(guest_store, broker, NAMESPACE, verb, [2], **BY, expected_seqs={2: 7})
    assert moved["why"] == "it has moved since you looked, and is owner_assigned"
    (sent,) = await carry_out_verb(guest_store, broker, NAMESPACE, verb, [2], **BY, expected_seqs={2: 0})
    assert [message.message_id for message in broker.ready(Topology(NAMESPACE).signups)] == [sent["message_id"]]


async def test_without_a_broker_the_outcome_is_not_known(guest_store: Store) -> None:
    """What may have been sent stands in the audit trail before it is published, without an outcome."""
    broker = FaultyMemoryBroker()
    await broker.declare(Topology(NAMESPACE))
    refused = FaultyMemoryBroker.accept

    class Away(FaultyMemoryBroker):
        def accept(self, message: Any) -> Any:
            refused(self, message)
            return BrokerDownError("connection lost")

    away = Away()
    await away.declare(Topology(NAMESPACE))
    with pytest.raises(BrokerDownError):
        await start_websites(guest_store, away, NAMESPACE, [1, 2], **BY)
    (action,) = await recent_actions(guest_store)
    assert (action["target"], action["result"]) == ("2 websites", "failure")
    assert action["outcome"].startswith("2 not known; RabbitMQ: connection lost")
    items = (await action_details(guest_store, action["id"]))["results"]
    assert [(item["website_id"], item["outcome"]) for item in items] == [(1, None), (2, None)]


@pytest.mark.parametrize("state", CHAIN)
async def test_one_that_sleeps_is_said_to(guest_store: Store, state: str) -> None:
    """By its status, by `explain` with what a start would do, and by the doctor, with a command that can be typed."""
    (status,) = await queries.statuses(guest_store, [IDS[state]])
    assert (status["asleep"], status["under_way"], status["ours"]) == (True, False, False)
    explained = await explain_website(guest_store, None, NAMESPACE, IDS[state], library())
    assert explained["waits_for"]["kind"] == "people"
    assert re.fullmatch(
        rf"asleep: nothing is under way for it, and nothing sends \w+; `provisioner start {IDS[state]}` does",
        explained["waits_for"]["why"],
    )
    (verb,) = [each for each in explained["may"] if each["verb"] == START]
    assert verb["works"]
    assert verb["would"].endswith(f" from {state}, and go on to live")
    asleep = (await remarks(guest_store))["asleep"]
    assert (asleep["level"], str(IDS[state]) in asleep["have"] or state in CHAIN[5:]) == ("warn", True)
    assert asleep["next"].startswith("`provisioner start --asleep` starts them")


@pytest.mark.parametrize(("state", "percent"), [(LOCKED[0], 95), (LOCKED[1], 98)])
async def test_a_locked_website_shows_what_its_event_says(
    guest_store: Store, guest: Any, state: str, percent: int
) -> None:
    """Progress and sentence of status and list are those of the event; both list by its state."""
    await guest.execute("UPDATE pwb_websites SET provisioning_request = '{}', provisioning_auto_go_live = false")
    before = IDS["ready"] if state == LOCKED[0] else IDS[LOCKED[0]]
    asked = next(each for each in OPERATIONS if each.number == 11 + LOCKED.index(state))
    await carry_out(guest, ROLE, asked, before)
    event = await guest.fetchrow(
        "SELECT detail ->> 'progress' AS progress, detail ->> 'message' AS message FROM provisioning_transitions"
    )
    (status,) = await queries.statuses(guest_store, [before])
    assert (status["state"], status["progress"], str(percent)) == (state, percent, event["progress"])
    assert status["message"] == event["message"]
    listed = await queries.list_statuses(guest_store, LockedState(state), 10)
    found = await queries.search_websites(guest_store, state=LockedState(state))
    for each in (listed, found["websites"]):
        assert {website["website_id"] for website in each} == {before, IDS[state]}


async def test_the_doctor_counts_what_a_start_would_start(guest_store: Store, guest: Any) -> None:
    """The doctor fails the check for websites of this service's own that lost their due time: there should be none."""
    count = len(await asleep_website_ids(guest_store))
    assert (await remarks(guest_store))["asleep"]["have"].startswith(f"{count} websites: ")
    await guest.execute("UPDATE pwb_websites SET provisioning_seq = 1, provisioning_published_seq = 1 WHERE id = 2")
    asleep = (await remarks(guest_store))["asleep"]
    assert asleep["level"] == "fail"
    assert asleep["have"].startswith(f"{count} websites: ")
    assert asleep["have"].endswith("; this service had begun with 1 websites: 2")
    assert len(await asleep_website_ids(guest_store)) == count


# --------------------------------------------------------------------------------------- the doctor and live customers


async def test_the_doctor_fails_nothing_of_the_products(guest_store: Store, guest: Any) -> None:
    """Whatever the product's own websites lack is named and counted; what there is of this service's is still found."""
    await guest.execute(
        """DELETE FROM pwb_agencies; DELETE FROM pwb_links;
        UPDATE pwb_websites SET provisioning_failed_at = NULL, provisioning_error = NULL"""
    )
    found = await remarks(guest_store)
    assert {what: each["level"] for what, each in found.items() if each["level"] != "ok"} == {"asleep": "warn"}
    assert found["live with a guard unmet"]["have"].endswith(
        "; but for 1 websites: 10, which this service never provisioned"
    )
    assert "5 websites: 7, 6, 5, 4, 3" in found["half-provisioned"]["have"]
    told = found["never provisioned here"]["have"]
    assert told.startswith("13 websites (1 agency_created, 1 failed, ")
    await guest.execute("UPDATE pwb_websites SET provisioning_request = '{}' WHERE id IN (5, 10)")
    found = await remarks(guest_store)
    assert (found["live with a guard unmet"]["level"], found["half-provisioned"]["level"]) == ("fail", "warn")
    assert "1 websites: 10" in found["live with a guard unmet"]["have"]
    assert "4 websites: 7, 6, 4, 3, which this service never provisioned" in found["half-provisioned"]["have"]
    assert found["never provisioned here"]["have"].startswith("11 websites")


async def test_no_remedy_takes_a_live_customer_offline(guest_store: Store, guest: Any) -> None:
    """Neither the doctor's for what is wrong, nor an explanation's for any state, says suspend."""
    await guest.execute(
        """DELETE FROM pwb_agencies; DELETE FROM pwb_links;
        UPDATE pwb_websites SET provisioning_request = '{}'"""
    )
    texts = [each["next"] for each in (await remarks(guest_store)).values()]
    live = (await explain_website(guest_store, None, NAMESPACE, IDS["live"]))["waits_for"]
    texts += [
        (await explain_website(guest_store, None, NAMESPACE, number))["waits_for"]["why"] for number in IDS.values()
    ]
    assert [text for text in texts if "`provisioner suspend" in text or "suspend it" in text] == []
    assert "provisioner" not in live["why"]
    (remedy,) = [text for text in texts if text.startswith("it stays live")]
    assert f"`provisioner status {IDS['live']}`" in remedy


async def test_the_products_own_pace_is_no_stall(guest_store: Store, guest: Any) -> None:
    """A website that the product moved a moment ago is not stalled, however old it is; left alone, it is at last."""
    reserve, configure = (next(each for each in OPERATIONS if each.number == number) for number in (3, 4))
    await carry_out(guest, ROLE, reserve, None)
    website_id = await guest.fetchval("SELECT max(id) FROM pwb_websites")
    await carry_out(guest, ROLE, configure, website_id)
    change = "UPDATE pwb_websites SET created_at = now() - interval '2 hours', updated_at = {} WHERE id = $1"
    await guest.execute(change.format("now()"), website_id)
    assert (await remarks(guest_store))["stalled"]["level"] == "ok"
    await guest.execute(change.format("now() - interval '21 minutes'"), website_id)
    assert (await remarks(guest_store))["stalled"]["have"] == f"1 websites: {website_id}"


async def test_a_failure_without_a_reason_is_mended_as_the_doctor_says(
    guest_store: Store, start: Start, guest: Any
) -> None:
    """A requeue takes the website on, and the row complies with the check again."""
    async with start() as service:
        await service.created(20)
        await service.reaches(20, "live")
        await guest.execute(
            """ALTER TABLE pwb_websites DROP CONSTRAINT provisioning_failed_has_error;
            SET session_replication_role = replica;
            UPDATE pwb_websites SET provisioning_state = 'failed', provisioning_failed_from = 'ready' WHERE id = 20;
            SET session_replication_role = origin"""
        )
        found = (await remarks(guest_store))["failed without reason"]
        assert (found["level"], found["have"]) == ("fail", "1 websites: 20")
        assert found["next"].startswith("`provisioner requeue 20`")
        (sent,) = await carry_out_verb(guest_store, service.broker, NAMESPACE, VERBS_BY_NAME["requeue"], [20], **BY)
        assert sent["sent"]
        await service.reaches(20, "live")
        assert (await remarks(guest_store))["failed without reason"]["level"] == "ok"
