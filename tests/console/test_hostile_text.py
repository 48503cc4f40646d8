"""Nothing that somebody else wrote steers whoever looks at it, on any page, in any answer; and readers see no owner."""

import random
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from starlette.routing import Route

from consumer.broker.topology import Topology
from consumer.messages.foreign_text import printable
from ops.console.routes import WITH_API, WITH_PAGES
from ops.dead_letters.reader_redaction import PROPERTIES
from tests.console.conftest import OPERATOR, READER, Console
from tests.hostile_text import ADDRESS, OWNER, WEBSITE, fill, hostile, send_dead_letters, steering

SEEDS = (1, 2)


def paths(message_ids: list[str], dice: random.Random) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield every path that can be read, new ones too, and those that take a sender's text with such text."""
    routes = [(f"/api{route.path}", route) for resource in WITH_API for route in resource.api.routes]
    routes += [(route.path, route) for resource in WITH_PAGES for route in resource.pages.routes]
    for path, route in routes:
        if isinstance(route, Route) and "GET" in (route.methods or ()):
            yield path.replace("{website_id:int}", str(WEBSITE)).replace("{job}", "none"), {}
    for path in ("/dead-letters/letter", "/api/dead-letters/letter"):
        for message_id in message_ids:
            yield path, {"message_id": message_id}
            yield path, {"message_id": printable(message_id)}
        yield path, {"message_id": hostile(dice)}
    for path in ("/dead-letters", "/api/dead-letters", "/api/dead-letters/forecast"):
        yield path, {name: hostile(dice) for name in ("reason", "type", "text", "group")}
    for path in ("/websites", "/api/websites"):
        yield path, {"q": hostile(dice)}
        yield path, {"seed_pack": hostile(dice), "site_type": hostile(dice)}
    for path in ("/failures", "/api/failures", "/api/failures/preflight"):
        yield path, {"group": hostile(dice), "seed_pack": hostile(dice)}
    yield f"/websites/{WEBSITE}", {"sent": hostile(dice)}
    yield f"/{quote(hostile(dice))}", {}
    yield f"/api/{quote(hostile(dice))}", {}


@pytest.mark.parametrize("token", [OPERATOR, READER], ids=["operator", "reader"])
@pytest.mark.parametrize("seed", SEEDS)
async def test_no_page_or_answer_is_steered_by_a_sender(console: Console, seed: int, token: str) -> None:
    """Every route is read, with hostile text in every column, header and body, and in what is asked for."""
    dice = random.Random(seed)
    await fill(console.db, dice)
    message_ids = await send_dead_letters(console.broker, Topology("t"), dice)
    shown = ""
    async with console.client(token) as client:
        for path, asked in paths(message_ids, dice):
            async with client.stream("GET", path, params=asked or None) as answer:
                is_stream = "event-stream" in answer.headers.get("content-type", "")
                text = await anext(answer.aiter_text()) if is_stream else (await answer.aread()).decode()
            assert answer.status_code < 500, (path, answer.status_code)
            assert steering(text, "\n\r" if is_stream else "\n\t") == [], path
            assert steering("".join(answer.headers.values()), "") == [], path
            shown += text if answer.status_code == 200 else ""
    assert shown.count("forged") > 100, "nothing of it was shown"
    assert (OWNER in shown) == (ADDRESS in shown) == (token == OPERATOR)


async def test_dead_letters_are_found_by_what_is_shown_of_them(console: Console) -> None:
    """An id, a reason and a type of somebody else are copied from a page or a terminal, where they are escaped."""
    message_ids = await send_dead_letters(console.broker, Topology("t"), random.Random(3))
    async with console.client(OPERATOR) as client:
        for letter in (await client.get("/api/dead-letters")).json():
            assert letter["message_id"] in message_ids
            for name in ("message_id", "reason", "type"):
                found = await client.get("/api/dead-letters", params={name: printable(letter[name])})
                assert [each["message_id"] for each in found.json()] == [letter["message_id"]], name
        said = {"message_ids": [printable(message_ids[0])], "why": "a test"}
        (gone,) = (await client.post("/api/dead-letters/discard", json=said)).json()["letters"]
        assert gone["message_id"] == message_ids[0]


async def test_readers_see_of_a_body_what_a_website_needs(console: Console) -> None:
    """The fields that contracts have for websites; every other value, and what is no name of a field, is left out."""
    topology = Topology("t")
    await send_dead_letters(console.broker, topology, random.Random(4))
    async with console.client(READER) as client:
        letters = (await client.get("/api/dead-letters")).json()
        shown = [
            (await client.get("/api/dead-letters/letter", params={"message_id": each["message_id"]})).json()
            for each in letters
        ]
    bodies = sorted(letter["body"] for letter in shown if "body" in letter)
    assert bodies == [
        '{"owner": "…"}',
        '{"website_id": 7, "Owner": "…", "subdomain": "…", "…": "…", "actor": "…", "reason": "…"}',
        '{"website_id": 7, "note": "…", "site_type": "…", "seed_pack": "…"}',
        '{"website_id": 7, "owner": "…"}',
    ]
    assert {name for letter in shown for name in letter["properties"]} <= PROPERTIES
