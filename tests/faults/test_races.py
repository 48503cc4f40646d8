"""Section G: two at once. Each race is made with a barrier, so that it happens every time."""

import asyncio
import uuid
from typing import Any

import pytest

from consumer.broker.topology import Topology
from consumer.store.provisioning_statements import SQL
from ops.websites.verb_execution import send
from statemachine import Trigger
from tests.contract.faulty_broker import FaultyMemoryBroker
from tests.factories import SEQ, STEPS
from tests.faults.turnstile import Turnstile
from tests.invariants import check_all
from tests.service import NAMESPACE, Service, Start
from tests.worker_processes import until

FAILED_SEQ = SEQ["ready"] + 1
"""Of a website that failed where it was held."""


async def check(service: Service, **states: int) -> None:
    """Check every invariant, once nothing moves."""
    await service.settled()
    assert await check_all(service.connection, service.events()) == states


@pytest.mark.fault(86)
async def test_two_workers_one_command(start: Start, turnstile: Turnstile) -> None:
    """Both stand before the lock with a copy of the same command; one moves the website, the other sees that."""
    message_id = uuid.uuid4()
    async with start(concurrency=2, batch_size=1) as service:
        await service.created(1, auto_go_live=False)
        await service.reaches(1, "ready")
        turnstile.shut("registered", count=2)
        for _ in range(2):
            await service.publish("provisioning.go_live", {"website_id": 1}, message_id)
        await turnstile.stand("registered", 2)
        turnstile.open("registered")
        await service.reaches(1, "live")
        assert len(await service.history(1)) == STEPS
        await check(service, live=1)


@pytest.mark.fault(86)
async def test_two_processes_one_signup(start: Start, turnstile: Turnstile) -> None:
    """Two processes register one website from two copies of its signup: there is one of everything."""
    broker, message_id = FaultyMemoryBroker(), uuid.uuid4()
    async with start(broker, concurrency=1, batch_size=1) as service, start(broker, concurrency=1, batch_size=1):
        turnstile.shut("received", count=2)
        for _ in range(2):
            await service.publish("website.created", {"website_id": 1, "subdomain": "twice",
                                                      "owner": {"email": "a@example.com"}}, message_id)  # fmt: skip
        await turnstile.stand("received", 2)
        turnstile.open("received")
        await service.reaches(1, "live")
        assert len(await service.history(1)) == STEPS
        await check(service, live=1)


@pytest.mark.fault(87)
@pytest.mark.parametrize("first", ["suspend", "go_live"])
async def test_two_commands_at_once(start: Start, turnstile: Turnstile, first: str) -> None:
    """suspend and go_live reach one website together: they happen one after the other, and the walk is legal."""
    other = {"suspend": "go_live", "go_live": "suspend"}[first]
    # The second may come to rest before the first one's event is answered for: then the clock has it, after the stall.
    async with start(concurrency=2, batch_size=1, stall_seconds=1) as service:
        await service.created(1, auto_go_live=False)
        await service.reaches(1, "ready")
        turnstile.shut("locked")
        await service.publish(f"provisioning.{first}", {"website_id": 1})
        await turnstile.stand("locked")
        before = turnstile.passed["registered"]
        await service.publish(f"provisioning.{other}", {"website_id": 1})

        async def came() -> bool:
            return turnstile.passed["registered"] > before

        await until(came, 60, "the other one before the same lock")
        turnstile.open("locked")
        await service.reaches(1, "suspended")
        walk = [row["trigger"] for row in await service.history(1)][SEQ["ready"] :]
        assert walk == (["suspend"] if first == "suspend" else ["go_live", "suspend"])
        assert [reason for _, reason in service.letters()] == (["illegal"] if first == "suspend" else [])
        await check(service, suspended=1)


async def fail(service: Service, website_id: int = 1) -> None:
    """Bring a website to `failed` from `ready`, as ops may."""
    await service.created(website_id, auto_go_live=False)
    await service.reaches(website_id, "ready")
    await service.command("fail_provisioning", website_id, reason="a test")
    await service.reaches(website_id, "failed")


@pytest.mark.fault(88, 89)
async def test_requeued_during_its_retry(start: Start, turnstile: Turnstile) -> None:
    """While one requeue is under lock, the same person asks again with what he saw: the second finds it taken."""
    async with start(concurrency=2, batch_size=1) as service:
        await fail(service)
        turnstile.shut("stepped")
        for _ in range(2):
            await service.publish("provisioning.retry_provisioning", {"website_id": 1, "expected_seq": FAILED_SEQ})
        await turnstile.stand("stepped")
        turnstile.open("stepped")
        await service.reaches(1, "ready")
        await service.settled()
        assert [row["trigger"] for row in await service.history(1)].count("retry_provisioning") == 1
        outcomes = [type(outcome).__name__ for _, batch in service.batches for outcome in batch]
        assert outcomes.count("Stale") == 1
        await check(service, ready=1)


@pytest.mark.fault(88)
async def test_requeued_while_a_step_runs(start: Start, turnstile: Turnstile) -> None:
    """A requeue of a website that is at work, not failed: refused with its reason, and the step is done once."""
    async with start(concurrency=2, batch_size=1, lock_timeout_seconds=5) as service:
        turnstile.shut("stepped", skip=2)
        await service.created(1)
        await turnstile.stand("stepped")
        before = turnstile.passed["registered"]
        message_id = await service.publish("provisioning.retry_provisioning", {"website_id": 1})

        async def came() -> bool:
            return turnstile.passed["registered"] > before

        await until(came, 60, "the requeue before the lock")
        turnstile.open("stepped")
        await service.reaches(1, "live")
        assert service.letters() == [(message_id, "illegal")]
        await check(service, live=1)


@pytest.mark.fault(89)
async def test_requeued_twice_or_when_not_failed(start: Start, turnstile: Turnstile) -> None:
    """The tool refuses what is not failed, with the reason; a second requeue of one failure changes nothing."""
    async with start() as service:
        await fail(service, 1)
        await service.created(2)
        await service.reaches(2, "live")

        async def requeue() -> list[dict[str, Any]]:
            return await send(
                service.app.store, service.broker, NAMESPACE, Trigger.RETRY_PROVISIONING,
                ids=[1, 2], actor="ana", reason="again",
            )  # fmt: skip

        turnstile.shut("received")
        both = await asyncio.gather(requeue(), requeue())
        await turnstile.stand("received")
        turnstile.open("received")
        assert [[answer["sent"] for answer in answers] for answers in both] == [[True, False]] * 2
        assert all("live" in answers[1]["why"] for answers in both)
        await service.reaches(1, "ready")
        await service.settled()
        (again, _) = await requeue()
        assert not again["sent"]
        assert "ready" in again["why"]
        assert [row["trigger"] for row in await service.history(1)].count("retry_provisioning") == 1
        await check(service, ready=1, live=1)


@pytest.mark.fault(90)
async def test_suspended_before_its_step(start: Start, turnstile: Turnstile) -> None:
    """A suspend overtakes the step that a worker has in its hands: the step is stale, and its website rests."""
    async with start(concurrency=2, batch_size=1) as service:
        await service.created(1, auto_go_live=False)
        await service.reaches(1, "ready")
        turnstile.shut("received")
        await service.publish("provisioning.go_live", {"website_id": 1, "expected_seq": SEQ["ready"]})
        await turnstile.stand("received")
        await service.publish("provisioning.suspend", {"website_id": 1, "expected_seq": SEQ["ready"]})

        async def suspended() -> bool:
            return (await service.website(1))["provisioning_state"] == "suspended"

        await until(suspended, 60, "the suspend, while the step stands")
        turnstile.open("received")
        await service.settled()
        outcomes = [type(outcome).__name__ for _, batch in service.batches for outcome in batch]
        assert outcomes[-1] == "Stale"
        await check(service, suspended=1)


@pytest.mark.fault(90)
async def test_terminated_during_a_retry(start: Start, turnstile: Turnstile) -> None:
    """A terminate that saw `failed` comes while a retry is under lock: it hits that state of affairs or none."""
    async with start(concurrency=2, batch_size=1, lock_timeout_seconds=5) as service:
        await fail(service)
        turnstile.shut("stepped")
        await service.publish("provisioning.retry_provisioning", {"website_id": 1, "expected_seq": FAILED_SEQ})
        await turnstile.stand("stepped")
        await service.publish("provisioning.terminate", {"website_id": 1, "expected_seq": FAILED_SEQ})
        turnstile.open("stepped")
        await service.reaches(1, "ready")
        await check(service, ready=1)


@pytest.mark.fault(91)
async def test_rescued_while_merely_slow(start: Start, turnstile: Turnstile) -> None:
    """A command waits in a worker's hands longer than the stall: the clock says it again, and it takes effect once."""
    async with start(concurrency=3, batch_size=1, stall_seconds=0.2) as service:
        turnstile.shut("received", skip=2)
        await service.created(1)
        await turnstile.stand("received")

        async def live() -> bool:
            return (await service.website(1))["provisioning_state"] == "live"

        await until(live, 60, "live by a copy, while the slow one stands")
        assert turnstile.standing["received"] == 1
        turnstile.open("received")
        await service.settled()
        assert len(await service.history(1)) == STEPS
        await check(service, live=1)


@pytest.mark.fault(92)
async def test_two_dispatchers(start: Start) -> None:
    """While one dispatcher's claim is open another one takes the rest, at once; what a dead one had is claimed anew."""
    broker = FaultyMemoryBroker()
    settings: dict[str, Any] = {"dispatch_interval_seconds": 3600}
    async with start(broker, **settings) as service, start(broker, **settings) as other:
        rounds: list[int] = []

        def listen(number: int, app: Any) -> None:
            claim = app.store.claim

            async def heard(limit: int, stall_seconds: float) -> Any:
                claims = await claim(limit, stall_seconds)
                rounds.append(number)
                return claims

            app.store.claim = heard

        listen(1, service.app)
        listen(2, other.app)

        async def first_rounds() -> bool:
            return set(rounds) == {1, 2}

        await until(first_rounds, 60, "the round that each makes when it starts")
        await service.connection.execute(
            """INSERT INTO pwb_websites (id, subdomain, provisioning_request,
                                        provisioning_due_at, created_at, updated_at)
               SELECT n, 'due-' || n,
                      json_build_object('owner', json_build_object('email', 'o' || n || '@example.com')),
                      now(), now(), now()
                 FROM generate_series(1, 60) AS n"""
        )
        claiming = service.connection.transaction()
        await claiming.start()
        claimed = {record["id"] for record in await service.connection.fetch(SQL["claim"], 20, 60.0)}
        assert len(claimed) == 20
        assert await other.app.dispatcher.run_once() == 40, "it waits for nobody and takes none of the first one's"
        await claiming.rollback()
        counts = await asyncio.gather(service.app.dispatcher.run_once(), other.app.dispatcher.run_once())
        assert sum(counts) == 20, "each once"
        for website_id in range(1, 61):
            await service.reaches(website_id, "live")
        assert not broker.ready(Topology(NAMESPACE).dead_letters)
        await check(service, live=60)


@pytest.mark.fault(78, 94)
async def test_deleted_between_delivery_and_lock(start: Start, turnstile: Turnstile) -> None:
    """Its row goes while a worker stands before the lock: a dead letter that says so, and nothing of it comes back."""
    async with start() as service:
        await service.created(1, auto_go_live=False)
        await service.reaches(1, "ready")
        turnstile.shut("registered")
        message_id = await service.publish("provisioning.go_live", {"website_id": 1, "expected_seq": SEQ["ready"]})
        await turnstile.stand("registered")
        await service.connection.execute("DELETE FROM pwb_websites WHERE id = 1")
        turnstile.open("registered")
        await service.settled()
        assert service.letters() == [(message_id, "unknown_website")]
        assert await service.website(1) is None
        assert len(await service.history(1)) == SEQ["ready"], "its history stays"


@pytest.mark.fault(7, 8)
async def test_nothing_leaves_before_the_commit(start: Start, turnstile: Turnstile) -> None:
    """While a transaction stands before its COMMIT, nothing of it is acked, and no event or command of it is out."""
    async with start(concurrency=1, batch_size=1) as service:
        turnstile.shut("pre_commit", skip=1)
        await service.created(1)
        await turnstile.stand("pre_commit")
        held = [message.type for message in service.broker.unsettled(service.topology.commands)]
        assert held == ["provisioning.complete_agency"], "not acked, and no next one"
        assert not service.broker.ready(service.topology.commands)
        assert [event["type"] for event in service.events()] == ["website.owner_assigned"]
        turnstile.open("pre_commit")
        await service.reaches(1, "live")
        await check(service, live=1)
