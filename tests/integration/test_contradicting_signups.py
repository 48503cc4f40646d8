"""Nobody takes over a website by its number: a `website.created` that contradicts what is stored is a conflict."""

from pathlib import Path
from typing import Any

import pytest

from tests.factories import STEPS
from tests.service import Service, Start, starter

MEMBERSHIP = """INSERT INTO pwb_user_memberships (user_id, website_id, role, active, created_at, updated_at)
                VALUES ($1, $2, $3, $4, now(), now())"""
THEIRS = {"owner": {"email": "mallory@evil.example"}}


@pytest.fixture
def start(database_url: str, tmp_path: Path) -> Start:
    """Start a service with settings of the test's choice."""
    return starter(database_url, tmp_path)


async def stored(service: Service, website_id: int) -> Any:
    """Return all that is stored of a website, its owners and the users that there are."""
    owners = "SELECT user_id, role, active FROM pwb_user_memberships WHERE website_id = $1 ORDER BY 1"
    users = "SELECT id, email, website_id FROM pwb_users ORDER BY 1"
    return (
        await service.website(website_id),
        await service.history(website_id),
        await service.connection.fetch(owners, website_id),
        await service.connection.fetch(users),
    )


async def user(service: Service, user_id: int, email: str, website_id: int | None = None) -> None:
    """Insert a user."""
    sql = "INSERT INTO pwb_users (id, email, website_id, created_at, updated_at) VALUES ($1, $2, $3, now(), now())"
    await service.connection.execute(sql, user_id, email, website_id)


async def row(service: Service, website_id: int, **columns: Any) -> None:
    """Insert a website as a signup system does that waits for nothing: nothing is due."""
    names = ["subdomain", *columns]
    values = [f"site-{website_id}", *columns.values()]
    places = ", ".join(f"${number}" for number in range(2, len(values) + 2))
    sql = (
        f"INSERT INTO pwb_websites (created_at, updated_at, id, {', '.join(names)}) VALUES (now(), now(), $1, {places})"
    )
    await service.connection.execute(sql, website_id, *values)


async def is_refused(service: Service, website_id: int, reason: str = "conflict", **changes: Any) -> str:
    """Publish a signup that has to end as a dead letter, with nothing changed but that an event says so; return the
    sentence."""
    before, events = await stored(service, website_id), service.events()
    message_id = await service.publish("website.created", {"website_id": website_id, **changes})
    await service.settled()
    assert (message_id, reason) in service.letters()
    assert await stored(service, website_id) == before
    told = service.events()
    assert [event["type"] for event in told] == [*(event["type"] for event in events), "website.rejected"]
    assert told[-1]["body"]["code"] == reason
    return service.x_error()


async def test_an_owner_or_a_subdomain_that_differs_is_a_conflict_in_every_state(start: Start) -> None:
    """Live, suspended, terminated, failed: the message becomes a dead letter, and nothing of the website changes."""
    async with start() as service:
        await service.created(1, subdomain="first-one", owner={"email": "ana@example.com"})
        await service.reaches(1, "live")
        for trigger, state in ((None, "live"), ("suspend", "suspended"), ("terminate", "terminated")):
            if trigger:
                await service.command(trigger, 1)
                await service.reaches(1, state)
            assert "another owner" in await is_refused(service, 1, **THEIRS)
            assert "subdomain" in await is_refused(service, 1, subdomain="another-one")
            sentence = await is_refused(service, 1, subdomain="another-one", **THEIRS)
            assert "@" not in sentence
        await service.created(2, subdomain="second-one", owner=None)
        await service.reaches(2, "failed")
        await is_refused(service, 2, subdomain="another-one", **THEIRS)


async def test_other_fields_are_no_conflict(start: Start) -> None:
    """Pack, site type, options and the owner's name say nothing about whose website it is: the message is stale."""
    async with start() as service:
        await service.created(1, owner={"email": "ana@example.com", "name": "Ana"})
        before = await service.reaches(1, "live")
        await service.created(
            1, site_type="commercial", seed_pack="other", skip_properties=True, auto_go_live=False,
            subdomain=" SUNNY-meadow-1 ", owner={"email": "ANA@example.com ", "name": "Mallory"},
        )  # fmt: skip
        await service.settled()
        assert service.letters() == []
        assert await service.website(1) == before
        assert len(await service.history(1)) == STEPS


async def test_a_copy_of_what_was_carried_out_stays_already_done(start: Start) -> None:
    """The owner has changed since; a late copy of the very signup is no conflict, and changes nothing."""
    async with start() as service:
        message_id = await service.created(1, owner={"email": "ana@example.com"})
        await service.reaches(1, "live")
        await service.connection.execute("UPDATE pwb_users SET email = 'new@example.com'")
        before = await stored(service, 1)
        await service.publish("website.created", {"website_id": 1, "owner": {"email": "ana@example.com"}}, message_id)
        await service.settled()
        assert service.letters() == []
        assert await stored(service, 1) == before
        await is_refused(service, 1, owner={"email": "ana@example.com"})


@pytest.mark.parametrize(
    ("kept", "members", "owner", "taken"),
    [
        ({}, [(7, "owner", True)], {"email": "ANA@bücher.example"}, True),
        ({}, [(7, "owner", True)], {"user_id": 7}, True),
        ({}, [(7, "owner", True)], {"user_id": 8}, False),
        ({}, [(7, "owner", True)], {"user_id": 999}, False),
        ({}, [(7, "owner", True)], THEIRS["owner"], False),
        ({}, [(7, "owner", True), (8, "owner", True)], {"user_id": 8}, True),
        ({"owner_email": "contact@example.com"}, [(7, "owner", True)], {"user_id": 7}, True),
        ({"owner_email": "contact@example.com"}, [(7, "owner", True)], {"email": "contact@example.com"}, False),
        ({"owner_email": "ana@XN--bcher-kva.example"}, [], {"email": "ana@bücher.example"}, True),
        ({"owner_email": "ana@XN--bcher-kva.example"}, [], {"user_id": 7}, True),
        ({"owner_email": "ana@XN--bcher-kva.example"}, [], {"user_id": 8}, False),
        ({"owner_email": "ana@XN--bcher-kva.example"}, [], THEIRS["owner"], False),
        ({"owner_email": "ana@bücher.example"}, [(7, "owner", False), (8, "admin", True)], THEIRS["owner"], False),
        ({"provisioning_request": '{"owner": {"user_id": 7}}'}, [], {"email": "ana@bücher.example"}, True),
        ({"provisioning_request": '{"owner": {"user_id": 7}}'}, [], {"user_id": 8}, False),
        ({"provisioning_request": '{"owner": {"user_id": 7}}'}, [], THEIRS["owner"], False),
        ({"provisioning_request": '{"owner": {"email": "ana@bücher.example"}}'}, [], {"user_id": 7}, True),
        ({"provisioning_request": '{"owner": {"email": "ana@bücher.example"}}'}, [], THEIRS["owner"], False),
        ({"provisioning_request": '{"owner": {"email": "ana@bücher.example"}}', "owner_email": "b@example.com"}, [],
         {"email": "b@example.com"}, False),
        ({"owner_email": ""}, [], {"user_id": 8}, True),
        ({}, [(7, "owner", False), (8, "admin", True)], {"user_id": 8}, True),
    ],
)  # fmt: skip
async def test_what_is_stored_of_the_owner(
    start: Start, kept: dict[str, Any], members: list[tuple[int, str, bool]], owner: dict[str, Any], *, taken: bool
) -> None:
    """The active owner, else the request, else owner_email: whoever exists and differs is a conflict, at pending too,
    and leaves no user behind."""
    async with start() as service:
        await row(service, 1, provisioning_due_at=None, **kept)
        await user(service, 7, "Ana@xn--bcher-kva.example")
        await user(service, 8, "bob@example.com")
        for user_id, role, active in members:
            await service.connection.execute(MEMBERSHIP, user_id, 1, role, active)
        if taken:
            await service.publish("website.created", {"website_id": 1, "owner": owner})
            await service.reaches(1, "live")
            assert service.letters() == []
        else:
            await is_refused(service, 1, owner=owner)
            assert (await service.website(1))["provisioning_state"] == "pending"


async def test_what_the_row_leaves_empty_is_filled(start: Start) -> None:
    """A row without subdomain and owner takes those of the first signup; whoever comes second contradicts them."""
    async with start() as service:
        await service.connection.execute(
            "INSERT INTO pwb_websites (id, created_at, updated_at) VALUES (1, now(), now())"
        )
        await service.created(1, subdomain="first-one", owner={"email": "ana@example.com"})
        await service.reaches(1, "live")
        await is_refused(service, 1, **THEIRS)
        await is_refused(service, 1, subdomain="another-one")


async def test_neighbours_in_a_batch_are_not_harmed(start: Start) -> None:
    """Signups in one batch with a contradicting one are carried out, each once."""
    async with start(concurrency=1) as service:
        await service.created(5, owner={"email": "ana@example.com"})
        await service.reaches(5, "live")
        for website_id in range(1, 10):
            await service.created(website_id, **(THEIRS if website_id == 5 else {}))
        for website_id in range(1, 10):
            await service.reaches(website_id, "live")
        assert [reason for _, reason in service.letters()] == ["conflict"]
        emails = "SELECT count(*) FROM pwb_users WHERE email = 'mallory@evil.example'"
        assert await service.connection.fetchval(emails) == 0


async def test_a_user_of_another_website_may_be_forbidden(start: Start) -> None:
    """PROVISIONER_OWNER_BY_ID=without_website: who belongs to another website is nobody's owner by his number alone."""
    async with start(owner_by_id="without_website") as service:
        for user_id, website_id in ((7, None), (8, 90), (9, None), (10, 3)):
            await user(service, user_id, f"user-{user_id}@example.com", website_id)
        await row(service, 91)
        await service.connection.execute(MEMBERSHIP, 9, 91, "member", False)
        for user_id in (8, 9):
            await is_refused(service, 2, "user_taken", subdomain="site-2", owner={"user_id": user_id})
            assert await service.website(2) is None
        assert "PROVISIONER_OWNER_BY_ID" in service.x_error()
        for website_id, user_id in ((1, 7), (3, 10)):
            message_id = await service.created(website_id, owner={"user_id": user_id})
            await service.reaches(website_id, "live")
            await service.created(website_id, owner={"user_id": user_id})
            await service.settled()
            assert message_id not in dict(service.letters())
        assert len(service.letters()) == 2
    async with start() as service:
        await service.created(4, owner={"user_id": 8})
        await service.reaches(4, "live")
