"""A signup that can never be begun is told by an event, once, before it becomes a dead letter."""

import uuid
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from consumer.messages.rejected_signups import CODE_OF, CUSTOMER_MESSAGES, RejectionCode
from consumer.worker.gate import ClosedBy
from tests.service import SECONDS, Service, Start, starter
from tests.worker_processes import until

KEPT = "SELECT message_id::text, website_id, code, rejected_at FROM provisioning_rejections ORDER BY rejected_at"


@pytest.fixture
def start(database_url: str, tmp_path: Path) -> Start:
    """Start a service with settings of the test's choice."""
    return starter(database_url, tmp_path)


def rejections(service: Service) -> list[dict[str, Any]]:
    """Return the events of signups that were rejected."""
    return [event for event in service.events() if event["type"] == "website.rejected"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"website_id": 2, "subdomain": "taken-one", "owner": {"email": "ben@example.com"}}, "subdomain_taken"),
        ({"website_id": 2, "subdomain": "free-one", "owner": {"user_id": 999}}, "unknown_user"),
        ({"website_id": 2}, "unknown_website"),
        ({"website_id": 1, "owner": {"email": "mallory@evil.example"}}, "conflict"),
        ({"website_id": 2, "subdomain": "free-one", "site_type": "castle"}, "invalid"),
        ({"website_id": 2, "subdomain": "-"}, "invalid"),
    ],
)
async def test_what_cannot_be_begun_is_told_by_an_event(start: Start, body: dict[str, Any], code: str) -> None:
    """The event has a code and a sentence for the customer; a second delivery repeats its id and time."""
    async with start() as service:
        await service.created(1, subdomain="taken-one", owner={"email": "ana@example.com"})
        await service.reaches(1, "live")
        message_id = await service.publish("website.created", body)
        await service.settled()
        (event,) = rejections(service)
        (kept,) = await service.connection.fetch(KEPT)
        assert (kept["message_id"], kept["website_id"], kept["code"]) == (message_id, body["website_id"], code)
        assert event["message_id"] == str(uuid.uuid5(uuid.UUID(message_id), "website.rejected"))
        assert event["body"] == {
            "website_id": body["website_id"],
            "signup_message_id": message_id,
            "subdomain": None if code == "invalid" else body.get("subdomain"),
            "code": code,
            "message": CUSTOMER_MESSAGES[RejectionCode(code)],
            "occurred_at": kept["rejected_at"].isoformat(),
        }
        assert datetime.fromisoformat(event["body"]["occurred_at"]).tzinfo
        await service.publish("website.created", body, message_id)
        await service.settled()
        assert rejections(service) == [event, event]
        assert await service.connection.fetchval("SELECT count(*) FROM provisioning_rejections") == 1
        assert [letter for letter, _ in service.letters()] == [message_id, message_id]


async def test_what_names_no_website_or_is_no_signup_is_told_nowhere_else(start: Start) -> None:
    """A signup that names no website is a dead letter, and has no event."""
    async with start() as service:
        for body in ({}, {"website_id": 0}, {"website_id": True}, {"website_id": "7"}, {"website_id": 2**63}):
            await service.publish("website.created", body)
        await service.publish("website.created", {"website_id": 7, "site_type": "castle"}, "no uuid")
        await service.publish("provisioning.suspend", {"website_id": 7})
        await service.settled()
        assert len(service.letters()) == 7
        assert rejections(service) == []
        assert await service.connection.fetch(KEPT) == []


async def test_what_is_older_than_progress_answers_from_goes(start: Start) -> None:
    """Each rejection that is stored deletes some rows that are older than 30 days."""
    async with start() as service:
        await service.connection.execute(
            """INSERT INTO provisioning_rejections (message_id, website_id, code, rejected_at)
               SELECT gen_random_uuid(), 5, 'invalid', now() - make_interval(days => 29 + n)
                 FROM generate_series(0, 9) AS n"""
        )
        await service.publish("website.created", {"website_id": 2})
        await service.settled()
        kept = await service.connection.fetch(KEPT)
        assert [record["website_id"] for record in kept] == [5, 2]


async def test_while_it_cannot_be_kept_it_is_not_settled(start: Start) -> None:
    """The dead letter waits as well: nobody could be told any more once it is acked."""
    async with start() as service:
        await service.connection.execute("ALTER TABLE provisioning_rejections RENAME TO hidden")
        await service.publish("website.created", {"website_id": 2})

        async def closed() -> bool:
            return ClosedBy.DATABASE in service.app.gate.reasons

        await until(closed, SECONDS, "the gate closed")
        assert service.letters() == []
        assert rejections(service) == []
        await service.connection.execute("ALTER TABLE hidden RENAME TO provisioning_rejections")
        await service.settled()
        assert [reason for _, reason in service.letters()] == ["unknown_website"]
        assert len(rejections(service)) == 1


def test_every_code_has_a_sentence() -> None:
    """For customers, without a word of ours."""
    assert CUSTOMER_MESSAGES.keys() == set(RejectionCode) == set(CODE_OF.values())
