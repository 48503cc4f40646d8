"""The estimate of the time left: from recent websites, or none at all."""

import pytest

from consumer.app import make_store
from ops.progressing import ENOUGH, durations, estimate, told
from tests.console.conftest import Console


def test_an_estimate_knows_how_long_it_has_been_waited() -> None:
    """Of those that had been there as long: the longer the wait, the fewer of them, and in the end no estimate."""
    known = {"pending": [float(n) for n in range(1, 101)]}
    assert estimate(known, "pending", 0) == {"seconds": 50.5, "at_most_seconds": 90.9, "websites": 100}
    assert estimate(known, "pending", 50) == {"seconds": 25.5, "at_most_seconds": 45.9, "websites": 50}
    assert estimate(known, "pending", 100 - ENOUGH)["websites"] == ENOUGH
    assert estimate(known, "pending", 101 - ENOUGH) is None
    assert estimate(known, "ready", 0) is None


@pytest.mark.parametrize("change", [{"attempts": 1}, {"state": "suspended"}, {"auto_go_live": False}])
def test_no_estimate_for_what_does_not_simply_go_on(change: dict[str, object]) -> None:
    """A website that waits for an attempt, for people, or for nothing has none."""
    status = {
        "website_id": 7, "state": "ready", "seq": 6, "progress": 95, "message": "m", "attempts": 0, "missing": [],
        "checklist": {}, "subdomain": "x", "auto_go_live": True, "in_state_seconds": 0.0,
    }  # fmt: skip
    known = {state: [float(n) for n in range(1, 101)] for state in ("ready", "suspended")}
    assert told(status, known, "d")["time_left"]
    assert told(status | change, known, "d")["time_left"] is None


async def test_it_rests_on_websites_that_went_by_themselves(working: Console) -> None:
    """Ten that went live count, in each state; one held and released by a person does not."""
    for number in range(1, 11):
        await working.sign_up(number)
    await working.sign_up(11, auto_go_live=False)
    for number in range(1, 11):
        await working.reaches(number, "live")
    await working.reaches(11, "ready")
    store = make_store(working.settings, size=1)
    known = await durations(store)
    await store.close()
    assert {state: len(seconds) for state, seconds in known.items()} == dict.fromkeys(
        ("pending", "owner_assigned", "agency_created", "links_created", "field_keys_created", "properties_seeded",
         "ready"), 10,
    )  # fmt: skip
    assert all(0 < second < 60 for seconds in known.values() for second in seconds)
