"""The estimate of the time left: from recent websites, or none at all."""

from typing import Any

import pytest

from consumer.factories import make_store
from ops.websites.customer_progress import customer_progress, estimate_time_left
from ops.websites.service_figures import MIN_SAMPLE, durations_to_live
from tests.console.conftest import READER, Console
from tests.factories import LIVE, SEQ, STEPS


def test_an_estimate_knows_how_long_it_has_been_waited() -> None:
    """Of those that had been there as long: the longer the wait, the fewer of them, and in the end no estimate."""
    known = {"pending": [float(n) for n in range(1, 101)]}
    assert estimate_time_left(known, "pending", 0) == {"seconds": 50.5, "at_most_seconds": 90.9, "websites": 100}
    assert estimate_time_left(known, "pending", 50) == {"seconds": 25.5, "at_most_seconds": 45.9, "websites": 50}
    assert estimate_time_left(known, "pending", 100 - MIN_SAMPLE)["websites"] == MIN_SAMPLE
    assert estimate_time_left(known, "pending", 101 - MIN_SAMPLE) is None
    assert estimate_time_left(known, "ready", 0) is None


@pytest.mark.parametrize("change", [{"attempts": 1}, {"state": "suspended"}, {"auto_go_live": False}])
def test_no_estimate_for_what_does_not_simply_go_on(change: dict[str, object]) -> None:
    """A website that waits for an attempt, for people, or for nothing has none."""
    status = {
        "website_id": 7, "state": "ready", "seq": 6, "progress": 95, "message": "m", "attempts": 0, "missing": [],
        "checklist": {}, "subdomain": "x", "auto_go_live": True, "in_state_seconds": 0.0,
    }  # fmt: skip
    known = {state: [float(n) for n in range(1, 101)] for state in ("ready", "suspended")}
    assert customer_progress(status, known, "d")["time_left"]
    assert customer_progress(status | change, known, "d")["time_left"] is None


async def figures_of(console: Console) -> dict[str, Any]:
    async with console.client(READER) as client:
        found: dict[str, Any] = (await client.get("/api/figures")).json()
        return found


async def test_the_oldest_on_its_way_is_named(console: Console) -> None:
    """The one that was born first among those that move by themselves; too few tell no time to live."""
    await console.db.execute(
        "INSERT INTO pwb_websites (id, created_at, updated_at) VALUES (7, now() - interval '1 h', now()), "
        "(8, now(), now())"
    )
    told = await figures_of(console)
    assert told["oldest"]["website_id"] == 7
    assert 3600 <= told["oldest"]["seconds"] < 3700
    assert told["time_to_live"] is None


async def test_it_rests_on_websites_that_went_by_themselves(working: Console) -> None:
    """Ten that went live count, in each state; one held and released by a person does not."""
    for number in range(1, 11):
        await working.sign_up(number)
    await working.sign_up(11, auto_go_live=False)
    for number in range(1, 11):
        await working.reaches(number, "live")
    await working.reaches(11, "ready")
    store = make_store(working.settings, size=1)
    known = await durations_to_live(store)
    await store.close()
    figures = await figures_of(working)
    assert figures["oldest"] is None
    assert figures["last_minute"] == {"transitions": 10 * STEPS + SEQ["ready"], "live": 10, "failed": 0}
    assert {state: len(seconds) for state, seconds in known.items()} == dict.fromkeys(["pending", *LIVE[:-1]], 10)
    assert all(0 < second < 60 for seconds in known.values() for second in seconds)
