"""The page of a group of failures: what its websites have in common, and they themselves, to be requeued."""

import re
import time
from typing import Any

import pytest

from consumer.broker.topology import Topology
from ops.console.pages.hour_bars import HEIGHT, MAX_BARS, WIDTH, hour_bars
from tests.console.conftest import OPERATOR, READER, SIGNUP, Console

FAILED = """
WITH made AS (
    INSERT INTO pwb_websites (id, subdomain, site_type, seed_pack_name, provisioning_request, created_at, updated_at)
    SELECT n, 'site-' || n, CASE WHEN n % 3 = 0 THEN 'commercial' END, CASE WHEN n % 2 = 0 THEN 'mine' END,
           '{"owner": {"email": "a@b.cd"}}', now(), now()
      FROM generate_series(1, $1::bigint) AS n RETURNING id)
SELECT count(*) FROM made"""
MARKED = """
UPDATE pwb_websites SET provisioning_state = 'failed', provisioning_failed_from = 'pending',
       provisioning_attempts = id % 4,
       provisioning_failed_at = timestamptz '2026-11-01 12:30Z' + id % 5 * interval '1 h',
       provisioning_error = 'out of ' || id || ' for a@b.cd'"""


async def group_of(console: Console, count: int) -> str:
    """Make failed websites of one cause; return their group."""
    await console.db.fetchval(FAILED, count)
    await console.db.execute(MARKED)
    async with console.client(OPERATOR) as client:
        (group,) = (await client.get("/api/failures")).json()
    found: str = group["group"]
    return found


async def test_what_they_have_in_common(console: Console) -> None:
    """By pack, site type, state and hour; in pages by any column; addresses are masked for readers."""
    group = await group_of(console, 12)
    at = f"/api/failures/groups/{group}"
    async with console.client(READER) as reader, console.client(OPERATOR) as operator:
        found = (await operator.get(at, params={"limit": 5})).json()
        assert (found["websites"], found["offset"], found["next"], found["attempts"]) == (12, 0, 5, [0, 3])
        assert found["breakdown"]["pack"] == [
            {"value": "mine", "websites": 6}, {"value": "base", "websites": 4}, {"value": "commercial", "websites": 2},
        ]  # fmt: skip
        assert [each["websites"] for each in found["breakdown"]["site_type"]] == [8, 4]
        assert found["breakdown"]["failed_from"] == [{"value": "pending", "websites": 12}]
        assert [(each["value"], each["websites"]) for each in found["breakdown"]["hour"]] == [
            (f"2026-11-01T{hour}:00:00+00:00", count) for hour, count in enumerate((2, 3, 3, 2, 2), start=12)
        ]  # fmt: skip
        assert [member["id"] for member in found["members"]] == [4, 9, 3, 8, 2], "those that failed last come first"
        assert found["last_requeue"] is None
        last = (await operator.get(at, params={"limit": 5, "offset": 10})).json()
        assert ([member["id"] for member in last["members"]], last["next"]) == ([5, 10], None)
        for sort, ids in (
            ("attempts", [3, 7, 11]),
            ("pack", [1, 5, 7]),
            ("subdomain", [1, 10, 11]),
            ("error", [1, 10, 11]),
        ):
            sorted_ids = [
                each["id"] for each in (await operator.get(at, params={"sort": sort, "limit": 3})).json()["members"]
            ]
            assert sorted_ids == ids, sort
        assert found["members"][0]["error"] == "out of 4 for a@b.cd"
        assert (await reader.get(at)).json()["members"][0]["error"] == "out of 4 for a…@b…"
        for wrong in ({"sort": "id"}, {"offset": "-1"}, {"limit": "0"}, {"limit": "501"}):
            assert (await operator.get(at, params=wrong)).status_code == 400, wrong
        assert (await operator.get("/api/failures/groups/none")).status_code == 404
        assert (await operator.get("/failures/groups/none")).status_code == 404
        page = (await reader.get(f"/failures/groups/{group}?limit=5")).text
        assert "<b>Pack</b>: mine 6, base 4, commercial 2" in page
        assert "None of these was requeued before." in page
        assert page.count("<rect") == 5
        assert "1 to 5 of 12." in page
        assert "checkbox" not in page
        assert f"/failures/groups/{group}" in (await reader.get("/failures")).text
    async with console.client(SIGNUP) as signup:
        assert (await signup.get(at)).status_code == 403


async def test_the_chosen_are_requeued(console: Console) -> None:
    """Those alone, and none where none was chosen. The page then says who requeued last, and how it ended."""
    group = await group_of(console, 6)
    at = f"/failures/groups/{group}"
    async with console.client() as browser, console.client(READER) as reader:
        await console.sign_in(browser, OPERATOR)
        (token, *_) = re.findall('name="csrf" value="([^"]+)"', (await browser.get(at)).text)
        form: dict[str, Any] = {"csrf": token, "reason": "two of them"}
        none = await browser.post(f"{at}/requeue", data=form)
        assert (none.status_code, "websites: choose one website at least" in none.text) == (400, True)
        assert (await reader.post(f"{at}/requeue", data=form | {"websites": "2"})).status_code == 403
        assert (await browser.post(f"{at}/requeue", data=form | {"websites": ["2", "two"]})).status_code == 400
        assert not console.broker.ready(Topology("t").commands)
        sent = await browser.post(f"{at}/requeue", data=form | {"websites": ["2", "5", "99"]})
        assert sent.status_code == 303
        job = sent.headers["location"].partition("job=")[2]
        shown = (await reader.get(f"/api/failures/requeues/{job}")).json()
        while shown["state"] == "running":
            shown = (await reader.get(f"/api/failures/requeues/{job}")).json()
        assert (shown["state"], shown["sent"], shown["about"]["chosen"], shown["about"]["group"]) == (
            "done",
            2,
            3,
            group,
        )
        assert len(console.broker.ready(Topology("t").commands)) == 2
        last = (await reader.get(f"/api{at}")).json()["last_requeue"]
        assert (last["actor"], last["reason"], last["websites"]) == ("console:ana", "two of them", 2)
        page = (await reader.get(at)).text
        assert "Requeued last by console:ana" in page
        assert f'href="/actions/{last["id"]}"' in page
        assert (await reader.get(f"/actions/{last['id']}")).status_code == 200


async def test_a_large_group_costs_a_few_pages(console: Console) -> None:
    """However many websites are in it, each with an error of its own: measured, less than three pages of websites."""
    group = await group_of(console, 3000)

    async def cost(client: Any, path: str) -> float:
        seconds = []
        for _ in range(5):
            began = time.perf_counter()
            assert (await client.get(path)).status_code == 200
            seconds.append(time.perf_counter() - began)
        return sorted(seconds)[2]

    async with console.client(READER) as reader:
        ratio = await cost(reader, f"/failures/groups/{group}") / await cost(reader, "/websites")
    assert ratio < 8


def hours(*counted: tuple[str | None, int]) -> list[dict[str, Any]]:
    """Return counts by hour, as a group has them."""
    return [{"value": value, "websites": websites} for value, websites in counted]


def test_hours_without_failures_have_no_bar() -> None:
    """The tallest bar has the height of the drawing; what has no time is left out."""
    bars = hour_bars(hours((None, 7), ("2026-11-01T12:00:00+00:00", 2), ("2026-11-01T15:00:00+00:00", 4)))
    assert [bar.height for bar in bars] == [HEIGHT / 2, 0, 0, HEIGHT]
    assert [bar.x for bar in bars] == [0, WIDTH / 4, WIDTH / 2, WIDTH * 3 / 4]
    assert bars[0].title == "2 from 2026-11-01 12:00"
    assert hour_bars([]) == hour_bars(hours((None, 7))) == []


@pytest.mark.parametrize("days", [1, 3, 400])
def test_a_long_time_has_bars_of_several_hours(days: int) -> None:
    """Never more bars than can be seen, and none is lost."""
    counted = hours(
        *((f"{2026 + day // 365}-{day % 365 // 31 + 1:02}-01T{day % 24:02}:00:00+00:00", 1) for day in range(days))
    )
    bars = hour_bars(counted)
    assert len(bars) <= MAX_BARS
    assert sum(int(bar.title.partition(" ")[0]) for bar in bars) == len({each["value"] for each in counted})
