"""Sessions: rows that end by signing out, by time or with their token, and cookies that open no more than it does."""

import asyncio
from base64 import urlsafe_b64encode
from datetime import UTC, datetime
from secrets import token_hex
from typing import Any

import pytest
from starlette.requests import Request

from consumer.store.database import Store
from ops.console.access.auth import Authenticator, Person
from ops.console.access.sessions import MAX_SESSIONS, SESSION_COOKIE, SQL, Sessions, sign
from ops.console.access.settings import ConsoleSettings
from ops.console.access.tokens import Role, digest_of
from ops.doctor.database_checks import NEEDED_RIGHTS
from tests.console.conftest import OPERATOR, READER, Console

CHANGED = "changed-" + "c" * 24
COUNT = "SELECT count(*) FROM provisioning_sessions"


def people(store: Store, **settings: Any) -> Authenticator:
    """Return who is let in."""
    given = {"operator_tokens": f"ana={OPERATOR}", "reader_tokens": f"wall={READER}"} | settings
    return Authenticator(ConsoleSettings(**given), Sessions(store, 3600))


async def signed_in(authenticator: Authenticator, cookie: str) -> tuple[str, Role] | None:
    """Return who a request with this cookie is from."""
    scope = {
        "type": "http", "scheme": "http", "path": "/", "query_string": b"", "client": ("127.0.0.1", 1),
        "server": ("inside", 8480), "headers": [(b"cookie", f"{SESSION_COOKIE}={cookie}".encode("latin-1"))],
    }  # fmt: skip
    person = authenticator.claimed(Request(scope))
    assert person is None or (person.ambient and person.session == cookie)
    return (person.name, person.role) if person and await authenticator.confirm(person) else None


async def start(authenticator: Authenticator, token: str = OPERATOR) -> str:
    """Return the cookie of somebody who signs in."""
    person = authenticator.by_token(token, ambient=True)
    assert person
    return await authenticator.sign_in(person)


async def test_signing_out_ends_a_session_wherever_its_cookie_is(console: Console) -> None:
    """A copy of the cookie is worth nothing from then on, in every process; other sessions go on."""
    async with console.client() as browser, console.client() as thief, console.client() as other:
        for client in (browser, other):
            await console.sign_in(client, OPERATOR)
        thief.cookies.update(browser.cookies)
        assert (await thief.get("/api/machine")).status_code == 200
        gone = await browser.post("/logout", headers={"origin": console.url})
        assert (gone.status_code, gone.headers["location"], SESSION_COOKIE in browser.cookies) == (303, "/login", False)
        assert (await thief.get("/api/machine")).status_code == 401
        assert (await thief.post("/logout", headers={"origin": console.url})).status_code == 401
        assert (await other.get("/api/machine")).status_code == 200
        assert await console.db.fetchval(COUNT) == 1
        # Who signs in again in the same browser leaves no earlier session behind.
        await console.sign_in(other, OPERATOR)
        assert await console.db.fetchval(COUNT) == 1


async def test_a_session_ends_with_its_token(store: Store) -> None:
    """It is a session for whoever showed the token, until that is changed, renamed, moved or taken away."""
    cookie = await start(people(store))
    assert await signed_in(people(store), cookie) == ("ana", Role.OPERATOR)
    both = f"ana={CHANGED},ana={OPERATOR}"
    assert await signed_in(people(store, operator_tokens=both), cookie) == ("ana", Role.OPERATOR)
    hashed = f"ana=sha256:{digest_of(OPERATOR).hex()}"
    assert await signed_in(people(store, operator_tokens=hashed), cookie) == ("ana", Role.OPERATOR)
    for changed in (f"ana={CHANGED}", "", f"eva={OPERATOR}"):
        assert await signed_in(people(store, operator_tokens=changed), cookie) is None
    moved = people(store, operator_tokens="", reader_tokens=f"ana={OPERATOR}")
    assert await signed_in(moved, cookie) is None


async def test_a_session_expires_and_its_row_goes(console: Console) -> None:
    """It is valid until its time; the next sign-in deletes the rows whose time is over."""
    async with console.client() as browser, console.client() as other:
        await console.sign_in(browser, OPERATOR)
        row = await console.db.fetchrow("SELECT * FROM provisioning_sessions")
        assert row["owner"] == "operator:ana"
        assert 43190 < (row["expires_at"] - datetime.now(UTC)).total_seconds() <= 43200
        await console.db.execute("UPDATE provisioning_sessions SET expires_at = now() + interval '1 minute'")
        assert (await browser.get("/api/machine")).status_code == 200
        await console.db.execute("UPDATE provisioning_sessions SET expires_at = now()")
        assert (await browser.get("/api/machine")).status_code == 401
        await console.sign_in(other, READER)
        assert [owner for (owner,) in await console.db.fetch("SELECT owner FROM provisioning_sessions")] == [
            "reader:wall"
        ]


async def test_one_person_has_a_number_of_sessions(store: Store) -> None:
    """Signing in again and again, also at once, ends the oldest, and nobody else's."""
    authenticator = people(store)
    first, reader = await start(authenticator), await start(authenticator, READER)
    cookies = [await start(authenticator) for _ in range(MAX_SESSIONS)]
    assert await signed_in(authenticator, first) is None
    for cookie in (*cookies, reader):
        assert await signed_in(authenticator, cookie)
    await asyncio.gather(*(start(authenticator) for _ in range(10)))
    await start(authenticator)
    async with store.connection() as connection:
        assert await connection.fetchval(COUNT) == MAX_SESSIONS + 1


async def test_the_rights_that_the_doctor_asks_for_are_enough(store: Store) -> None:
    """A role with these and no others starts, finds and ends sessions."""
    name = f"console_{token_hex(4)}"
    rights = ", ".join(NEEDED_RIGHTS["provisioning_sessions"])
    async with store.connection() as connection, connection.transaction():
        await connection.execute(f"CREATE ROLE {name}; GRANT {rights} ON provisioning_sessions TO {name}")
        await connection.execute(f"SET LOCAL ROLE {name}")
        await connection.execute(SQL["start_session"], b"x", "operator:ana", 60.0, MAX_SESSIONS)
        assert await connection.fetchval(SQL["find_session"], b"x", "operator:ana")
        await connection.execute(SQL["end_session"], b"x")
        await connection.execute(f"RESET ROLE; DROP OWNED BY {name}; DROP ROLE {name}")


async def test_the_database_has_no_cookie(console: Console) -> None:
    """Neither the id nor the cookie is in the row: who reads it can sign nothing, and who knows a secret has no id."""
    async with console.client() as browser:
        await console.sign_in(browser, OPERATOR)
        row = await console.db.fetchrow("SELECT * FROM provisioning_sessions")
        cookie = browser.cookies[SESSION_COOKIE]
    assert cookie.partition(".")[0] not in str(dict(row))
    for forged in (row["id_hash"].hex(), urlsafe_b64encode(row["id_hash"]).decode(), "x"):
        async with console.client(cookie=f"{SESSION_COOKIE}={sign(forged, digest_of(OPERATOR))}") as client:
            assert (await client.get("/api/machine")).status_code == 401


async def test_nobody_signs_for_somebody_else(store: Store) -> None:
    """A reader's secret signs no operator's session, not even with the id of one; nor does what is no cookie."""
    authenticator = people(store)
    cookie = await start(authenticator)
    session_id, _, signature = cookie.rpartition(".")
    reader = sign(session_id, digest_of(READER))
    for forged in (reader, f"{session_id}A.{signature}", f"{session_id}.{reader.rpartition('.')[2]}", session_id):
        assert await signed_in(authenticator, forged) is None
    for nonsense in ("", ".", "..", "x.y.z", "é", "9" * 5000, ".eJw.x.y"):
        assert await signed_in(authenticator, nonsense) is None
    assert await signed_in(authenticator, cookie) == ("ana", Role.OPERATOR)


async def test_a_cookie_that_nobody_signed_costs_no_query(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused before the database is asked."""

    async def asked(*_: object) -> bool:
        raise AssertionError("the database was asked")

    monkeypatch.setattr(console.server.context.authenticator.sessions, "is_open", asked)
    async with console.client() as browser:
        browser.cookies.set(SESSION_COOKIE, sign("x" * 43, digest_of("somebody else's")))
        assert (await browser.get("/api/machine")).status_code == 401


async def test_the_cookie_is_for_this_site_and_no_script(console: Console) -> None:
    """HttpOnly and SameSite=Strict; behind https Secure, and named so that no other host of the domain can set it."""
    async with console.client() as browser:
        for path in ("/login", "/", "/websites", "/static/console.css"):
            assert "set-cookie" not in (await browser.get(path)).headers
        made = await browser.post("/login", data={"token": OPERATOR})
        name, *flags = made.headers["set-cookie"].lower().split("; ")
        assert name.startswith(f"{SESSION_COOKIE}=")
        assert {"httponly", "samesite=strict", "path=/", "max-age=43200"} <= set(flags)
        assert "secure" not in flags
        assert (await browser.post("/login", data={"token": "x" * 40})).status_code == 401
        assert (await browser.post("/login", content=r'{"token": "\ud800"}')).status_code == 400
        console.server.context.console.public_url = "https://ops.example.com"
        made = await browser.post("/login", data={"token": OPERATOR})
        name, *flags = made.headers["set-cookie"].split("; ")
        assert name.startswith(f"__Host-{SESSION_COOKIE}=")
        assert {"secure", "path=/"} <= {flag.lower() for flag in flags}
        assert not any(flag.lower().startswith("domain") for flag in flags)
        cookie = name.partition("=")[2]
    async with console.client(cookie=f"{SESSION_COOKIE}={cookie}") as planted:
        assert (await planted.get("/api/machine")).status_code == 401, "whatever any other host could have set"
    async with console.client(cookie=f"__Host-{SESSION_COOKIE}={cookie}", origin="https://ops.example.com") as browser:
        assert (await browser.get("/api/machine")).status_code == 200
        gone = await browser.post("/logout")
        assert gone.headers["set-cookie"].startswith(f'__Host-{SESSION_COOKIE}="";')
        assert "Secure" in gone.headers["set-cookie"]
        assert (await browser.get("/api/machine")).status_code == 401


def test_a_person_is_printed_without_key_and_cookie() -> None:
    """What may come into a log or a traceback."""
    person = Person("ana", Role.OPERATOR, ambient=True, key=b"secret", session="cookie")
    assert "secret" not in repr(person)
    assert "cookie" not in repr(person)
