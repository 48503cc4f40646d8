"""The forecast of a redrive is what happens when dead letters are sent back, to workers that really work."""

import asyncio
import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from consumer.broker.protocol import Message
from consumer.broker.topology import Topology
from consumer.messages.inbound import PoisonError, decode
from consumer.store.database import Store
from ops.audit.trail import AuditTrail
from ops.dead_letters.actions import redrive
from ops.dead_letters.queue_reader import DeadLetterFilter, find_dead_letters
from ops.dead_letters.redrive_forecast import (
    RedriveProspect,
    ReferencedRows,
    forecast_redrive,
    redrive_prospect,
    redrive_summary,
)
from ops.dead_letters.redriven_messages import as_redelivered, original_message
from ops.publishing import publish_all, publishing
from statemachine import Facts, State
from tests.factories import make_delivery, make_website
from tests.service import NAMESPACE, Service, starter
from tests.worker_processes import until

WITHOUT_EFFECT = {RedriveProspect.ALREADY_DONE, RedriveProspect.STALE, RedriveProspect.AHEAD}
"""Acked; all but these and what is carried out come back as dead letters."""
ANA = {"owner": {"email": "ana@example.com"}}


async def dead(service: Service, letters: list[tuple[str, Any, str, RedriveProspect]]) -> None:
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
    async with starter(database_url, tmp_path)(owner_by_id="without_website") as service:
        done = await service.created(1, subdomain="taken-1")
        await service.reaches(1, "live")
        await service.created(2, subdomain="site-2")
        await service.reaches(2, "live")
        await service.command("suspend", 2)
        await service.lose_links(2, keep=1)
        await service.created(3, subdomain="site-3", owner=None)
        await service.reaches(3, "failed")

        theirs = await service.connection.fetchval("SELECT user_id FROM pwb_user_memberships WHERE website_id = 1")

        def new() -> str:
            return str(uuid.uuid4())

        letters: list[tuple[str, Any, str, RedriveProspect]] = [
            ("website.created", {"website_id": 1}, new(), RedriveProspect.STALE),
            ("website.created", {"website_id": 1}, done, RedriveProspect.ALREADY_DONE),
            ("provisioning.suspend", {"website_id": 2}, new(), RedriveProspect.STALE),
            ("provisioning.go_live", {"website_id": 1, "expected_seq": 1}, new(), RedriveProspect.STALE),
            ("provisioning.go_live", {"website_id": 1, "expected_seq": 99}, new(), RedriveProspect.AHEAD),
            ("provisioning.terminate", {"website_id": 1}, new(), RedriveProspect.ILLEGAL),
            ("provisioning.reactivate", {"website_id": 2}, new(), RedriveProspect.REFUSED),
            ("website.created", {"website_id": 3, **ANA}, new(), RedriveProspect.CARRIED_OUT),
            ("website.created", {"website_id": 9}, new(), RedriveProspect.UNKNOWN_WEBSITE),
            ("website.created", {"website_id": 10, "subdomain": "site-10", **ANA}, new(), RedriveProspect.CARRIED_OUT),
            ("website.created", {"website_id": 11, "subdomain": "taken-1"}, new(), RedriveProspect.SUBDOMAIN_TAKEN),
            ("website.created", {"website_id": 12, "owner": {"user_id": 10**6}}, new(), RedriveProspect.UNKNOWN_USER),
            ("website.created", {"website_id": 13, "owner": {"user_id": theirs}}, new(), RedriveProspect.USER_TAKEN),
            ("website.created", {"website_id": 1, **ANA}, new(), RedriveProspect.CONFLICT),
            ("website.created", {"website_id": 2, "subdomain": "taken-1"}, new(), RedriveProspect.CONFLICT),
            ("website.created", {"website_id": "x"}, new(), RedriveProspect.POISON),
            ("provisioning.bogus", {"website_id": 1}, new(), RedriveProspect.POISON),
        ]
        assert {prospect for *_, prospect in letters} == set(RedriveProspect)
        await dead(service, letters)
        found = (await find_dead_letters(service.broker, NAMESPACE)).deliveries
        told = await forecast_redrive(store, found, "without_website")
        expected = {message_id: prospect for _, _, message_id, prospect in letters}
        assert {item["message_id"]: item["prospect"] for item in told} == expected
        assert {item["message_id"] for item in told if item["contract"]} == {
            message_id for message_id, prospect in expected.items() if prospect == RedriveProspect.POISON
        }
        assert len(await redrive(service.broker, NAMESPACE)) == len(letters)
        again = {m: p for m, p in expected.items() if p not in WITHOUT_EFFECT | {RedriveProspect.CARRIED_OUT}}

        async def back() -> bool:
            return len(service.letters()) == len(again)

        await until(back, 60, "those that come back")
        await service.settled()
        assert dict(service.letters()) == {message_id: prospect.value for message_id, prospect in again.items()}
        log = "SELECT message_id::text FROM provisioning_transitions"
        carried_out = {record["message_id"] for record in await service.connection.fetch(log)}
        assert {m for m in expected if m in carried_out} == {
            m for m, p in expected.items() if p in (RedriveProspect.CARRIED_OUT, RedriveProspect.ALREADY_DONE)
        }
        await service.reaches(3, "live")
        await service.reaches(10, "live")


async def test_two_letters_with_one_id(store: Store) -> None:
    """A redrive that died half-way leaves a second copy: only one of them is counted as carried out."""
    body = {"website_id": 9, "subdomain": "fresh-one"}
    found = await forecast_redrive(store, [make_delivery(body, type="website.created") for _ in range(2)])
    assert redrive_summary(found) == "2 selected: 1 may be carried out, 1 already done"


def test_a_push_that_would_not_succeed() -> None:
    """A website held at ready that lacks something: the letter is carried out, and the sentence says what it lacks."""
    held = make_website(id=1, subdomain="held", auto_go_live=False, state=State.READY)
    known = ReferencedRows(
        {1: held}, facts={1: Facts(agencies=1, links=4, field_keys=5, properties=1, subdomain="held")}
    )
    prospect, about = redrive_prospect(decode(make_delivery({"website_id": 1}, type="provisioning.go_live")), known)
    assert prospect == RedriveProspect.CARRIED_OUT
    assert "which does not succeed now: Cannot go live - missing: owner membership" in about


async def test_a_command_under_a_signups_key_stays_poison(database_url: str, tmp_path: Path, store: Store) -> None:
    """Whoever may publish `website.created` alone has no command carried out by its being redriven, however often, nor
    by a header; nor where the broker dead-lettered it before a worker read it."""
    async with starter(database_url, tmp_path)() as service:
        await service.created(1, subdomain="site-1")
        await service.reaches(1, "live")
        topology, body = Topology(NAMESPACE), json.dumps({"website_id": 1, "reason": "fraud"}).encode()
        forged = {"x-sent-with-routing-key": "provisioning.suspend", "x-routing-key": "provisioning.suspend"}
        forged = {f"filler-{number}": "" for number in range(80)} | forged  # more than a copy keeps
        smuggled = Message(
            str(uuid.uuid4()), "provisioning.suspend", body, topology.commands_exchange, "website.created", True, forged
        )
        async with publishing(service.broker) as session:
            await publish_all(session, [smuggled])
        for _ in range(3):
            await until(lambda: asyncio.sleep(0, len(service.letters()) == 1), 60, "it is a dead letter")
            (dead_letter,) = (await find_dead_letters(service.broker, NAMESPACE)).deliveries
            (item,) = await forecast_redrive(store, [dead_letter])
            assert item["prospect"] == "poison", item
            await redrive(service.broker, NAMESPACE, DeadLetterFilter(), AuditTrail(store, "cli:ana", "a test"))
        await until(lambda: asyncio.sleep(0, len(service.letters()) == 1), 60, "it came back")
        assert (await service.website(1))["provisioning_state"] == "live"
    by_broker = make_delivery(
        body, type="provisioning.suspend", exchange=topology.dead_letters, routing_key="website.created",
        headers=forged | {"x-exchange": "", "x-death": [{"routing-keys": ["provisioning.suspend"]}]},
    )  # fmt: skip
    with pytest.raises(PoisonError, match="is not the routing key"):
        decode(as_redelivered(by_broker, original_message(by_broker, topology)))
