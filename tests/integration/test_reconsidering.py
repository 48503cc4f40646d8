"""What is forecast of dead letters is what happens to them when they are sent back, to workers that really work."""

import json
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from consumer.broker import Message
from consumer.messages import decode
from consumer.store import Store, Website
from consumer.topology import Topology
from ops.looking import look
from ops.reconsidering import NOTHING, Known, Prospect, prospect_of, reconsider, summary
from ops.redriving import redrive
from ops.sending import publish_all, publishing
from statemachine import Facts, State
from tests.factories import make_delivery
from tests.service import NAMESPACE, Service, starter
from tests.worker_processes import until

ANA = {"owner": {"email": "ana@example.com"}}


async def dead(service: Service, letters: list[tuple[str, Any, str, Prospect]]) -> None:
    """Make dead letters."""
    queue = Topology(NAMESPACE).dead_letters
    async with publishing(service.broker) as session:
        await publish_all(
            session,
            [
                Message(message_id, name, json.dumps(body).encode(), "", queue, True, {"x-reason": "a test"})
                for name, body, message_id, _ in letters
            ],
        )


async def test_what_is_forecast_is_what_happens(database_url: str, tmp_path: Path, store: Store) -> None:
    """Each kind of end that a forecast knows, compared with what the workers made of the very letter."""
    async with starter(database_url, tmp_path)() as service:
        done = await service.created(1, subdomain="taken-1")
        await service.reaches(1, "live")
        await service.created(2, subdomain="site-2")
        await service.reaches(2, "live")
        await service.command("suspend", 2)
        await service.lose_links(2, keep=1)
        await service.created(3, subdomain="site-3", owner=None)
        await service.reaches(3, "failed")

        def new() -> str:
            return str(uuid.uuid4())

        letters: list[tuple[str, Any, str, Prospect]] = [
            ("website.created", {"website_id": 1}, new(), Prospect.STALE),
            ("website.created", {"website_id": 1}, done, Prospect.ALREADY_DONE),
            ("provisioning.suspend", {"website_id": 2}, new(), Prospect.STALE),
            ("provisioning.go_live", {"website_id": 1, "expected_seq": 1}, new(), Prospect.STALE),
            ("provisioning.go_live", {"website_id": 1, "expected_seq": 99}, new(), Prospect.AHEAD),
            ("provisioning.terminate", {"website_id": 1}, new(), Prospect.ILLEGAL),
            ("provisioning.reactivate", {"website_id": 2}, new(), Prospect.REFUSED),
            ("website.created", {"website_id": 3, **ANA}, new(), Prospect.CARRIED_OUT),
            ("website.created", {"website_id": 9}, new(), Prospect.UNKNOWN_WEBSITE),
            ("website.created", {"website_id": 10, "subdomain": "site-10", **ANA}, new(), Prospect.CARRIED_OUT),
            ("website.created", {"website_id": 11, "subdomain": "taken-1"}, new(), Prospect.SUBDOMAIN_TAKEN),
            ("website.created", {"website_id": 12, "owner": {"user_id": 10**6}}, new(), Prospect.UNKNOWN_USER),
            ("website.created", {"website_id": "x"}, new(), Prospect.POISON),
            ("provisioning.bogus", {"website_id": 1}, new(), Prospect.POISON),
        ]
        assert {prospect for *_, prospect in letters} == set(Prospect)
        await dead(service, letters)
        told = await reconsider(store, (await look(service.broker, NAMESPACE)).letters)
        expected = {message_id: prospect for _, _, message_id, prospect in letters}
        assert {item["message_id"]: item["prospect"] for item in told} == expected
        assert {item["message_id"] for item in told if item["contract"]} == {
            message_id for message_id, prospect in expected.items() if prospect == Prospect.POISON
        }
        assert len(await redrive(service.broker, NAMESPACE)) == len(letters)
        again = {m: p for m, p in expected.items() if p not in NOTHING | {Prospect.CARRIED_OUT}}

        async def back() -> bool:
            return len(service.letters()) == len(again)

        await until(back, 10, "those that come back")
        await service.settled()
        assert dict(service.letters()) == {message_id: prospect.value for message_id, prospect in again.items()}
        log = "SELECT message_id::text FROM provisioning_transitions"
        carried_out = {record["message_id"] for record in await service.connection.fetch(log)}
        assert {m for m in expected if m in carried_out} == {
            m for m, p in expected.items() if p in (Prospect.CARRIED_OUT, Prospect.ALREADY_DONE)
        }
        await service.reaches(3, "live")
        await service.reaches(10, "live")


async def test_two_letters_with_one_id(store: Store) -> None:
    """A redrive that died half-way leaves a second copy: only one of them is counted as carried out."""
    body = {"website_id": 9, "subdomain": "fresh-one"}
    found = await reconsider(store, [make_delivery(body, type="website.created") for _ in range(2)])
    assert summary(found) == "2 selected: 1 may be carried out, 1 already done"


def test_a_push_that_would_not_succeed() -> None:
    """A website held at ready that lacks something: the letter is carried out, and the sentence says what it lacks."""
    held = Website(1, "held", None, None, None, False, False, State.READY, None, 6, 0, {}, datetime.now(UTC))
    known = Known({1: held}, facts={1: Facts(0, 1, 4, 5, 1, "held")})
    prospect, about = prospect_of(decode(make_delivery({"website_id": 1}, type="provisioning.go_live")), known)
    assert prospect == Prospect.CARRIED_OUT
    assert "which does not succeed now: Cannot go live - missing: owner membership" in about
