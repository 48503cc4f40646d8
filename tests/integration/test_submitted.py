"""`submit --wait`: whose website it is that rests under the id of a signup."""

from pathlib import Path
from typing import Any

import pytest

from ops.websites.signups.submission import publish_signups, wait_for_signups
from seeders.canonical_email import canonical_email
from tests.service import NAMESPACE, SECONDS, starter


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"subdomain": "another-one"}, "its subdomain is first-one, not another-one"),
        ({"owner": {"email": "late@example.com"}}, "it has another owner"),
        ({"owner": {"user_id": 999_999}}, None),
        ({"owner": {"email": "FIRST@Bücher.example"}}, ""),
    ],
)
async def test_somebody_elses_website_is_not_ours(
    database_url: str, tmp_path: Path, changes: dict[str, Any], why: str | None
) -> None:
    """A signup with an id that is taken is told so, with exit 1, and never the URL of whoever has it."""
    async with starter(database_url, tmp_path)() as service:
        store = service.app.store
        first = {"website_id": 1, "subdomain": "first-one", "owner": {"email": "first@bücher.example"}}

        async def submitted(body: dict[str, Any]) -> dict[str, Any]:
            bodies = await publish_signups(store, service.broker, NAMESPACE, [body])
            (result,) = await wait_for_signups(store, service.broker, NAMESPACE, bodies, SECONDS)
            return result

        result = await submitted(first)
        assert (result["state"], result["url"]) == ("live", "https://first-one.propertywebbuilder.com")
        result = await submitted(first | changes)
        if why == "":
            assert result["state"] == "live"
        else:
            assert result["state"] == "conflict"
            assert (why or "it has another owner") in result["error"]
            assert "without --website-id" in result["error"]
            assert "url" not in result


@pytest.mark.parametrize(
    ("stored", "typed"),
    [
        ("ana@xn--bcher-kva.example", "Ana@BÜCHER.example"),
        ("ANA@XN--BCHER-KVA.example", "ana@xn--bcher-kva.example"),
        ("ana@bu\u0308cher.example", "ana@bücher.example"),
        ("jose\u0301@example.com", "JOSÉ@example.com"),
        ("josé@xn--bcher-kva.example", "JOSE\u0301@bücher.example"),
        ("josé@bücher.example", "JOSE\u0301@xn--BCHER-kva.example"),
    ],
)
async def test_one_person_is_one_user(database_url: str, tmp_path: Path, stored: str, typed: str) -> None:
    """The user who is there already becomes the owner, as he is spelled, however the signup typed the address."""
    async with starter(database_url, tmp_path)() as service:
        sql = "INSERT INTO pwb_users (email, created_at, updated_at) VALUES ($1, now(), now())"
        await service.connection.execute(sql, stored)
        await service.created(1, owner={"email": typed, "name": "Ana"})
        await service.created(2, owner={"email": canonical_email(typed)})
        for website_id in (1, 2):
            await service.reaches(website_id, "live")
        assert [row["email"] for row in await service.connection.fetch("SELECT email FROM pwb_users")] == [stored]
        owners = "SELECT website_id FROM pwb_user_memberships WHERE role = 'owner' AND active ORDER BY 1"
        assert [row["website_id"] for row in await service.connection.fetch(owners)] == [1, 2]


async def test_of_two_spellings_the_canonical_one(database_url: str, tmp_path: Path) -> None:
    """Where two users have one address already, the owner is the one that is spelled as addresses are now."""
    async with starter(database_url, tmp_path)() as service:
        sql = "INSERT INTO pwb_users (id, email, created_at, updated_at) VALUES ($1, $2, now(), now())"
        for user_id, email in (
            (7, "ana@xn--bcher-kva.example"),
            (8, "ana@bücher.example"),
            (9, "ana@bu\u0308cher.example"),
        ):
            await service.connection.execute(sql, user_id, email)
        await service.created(1, owner={"email": "ana@xn--bcher-kva.example"})
        await service.reaches(1, "live")
        assert await service.connection.fetchval("SELECT user_id FROM pwb_user_memberships") == 8
