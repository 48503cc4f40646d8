"""Forecasts and canaries, as far as they are pure."""

from dataclasses import replace
from typing import Any

import pytest

from ops.forecasting import Beside, Forecast, Prospect, forecast, remarks, summary
from ops.requeueing import _batches, has_passed
from ops.verbs import may
from seeders.pack import AgencyEntry, FieldKeyEntry, LinkEntry, Pack, PackError
from statemachine import Facts, State

WEBSITE: dict[str, Any] = {
    "id": 7, "provisioning_state": "failed", "provisioning_failed_from": "agency_created", "site_type": None,
    "seed_pack_name": "mine", "provisioning_error": "Links creation failed - need at least 3, have 2",
    "owner_named": False, "skip_properties": False, "auto_go_live": True,
}  # fmt: skip
FACTS = Facts(owners=1, agencies=1, links=2, subdomain="sunny")
LINKS = (LinkEntry("a"), LinkEntry("b"), LinkEntry("c"))
KEYS = tuple(FieldKeyEntry(f"types.{n}", "property-types") for n in range(5))
TWO = Pack("two", agency=AgencyEntry(), links=LINKS[:2], field_keys=KEYS, strict=True)
THREE = Pack("three", links=LINKS, field_keys=KEYS, strict=True)
AT_PENDING = {"provisioning_failed_from": "pending"}


@pytest.mark.parametrize(
    ("changes", "facts", "pack", "expected"),
    [
        ({}, FACTS, TWO, (Prospect.FAILS_AGAIN, "links (have 2, need 3)")),
        ({}, FACTS, THREE, (Prospect.ADVANCES, "agency_created")),
        ({}, FACTS, Pack("poor", links=LINKS, strict=True), (Prospect.FAILS_AGAIN, "field_keys (have 0, need 5)")),
        ({}, FACTS, Pack("poor", links=LINKS), (Prospect.ADVANCES, "agency_created")),
        ({}, FACTS, PackError("broken"), (Prospect.ADVANCES, "agency_created")),
        ({}, FACTS, PackError("broken", strict=True), (Prospect.FAILS_AGAIN, "links (have 2, need 3)")),
        ({}, replace(FACTS, subdomain=None), THREE, (Prospect.WAITS, "subdomain")),
        (AT_PENDING, Facts(), THREE, (Prospect.WAITS, "owner membership")),
        (AT_PENDING | {"owner_named": True}, Facts(), THREE, (Prospect.FAILS_AGAIN, "agency")),
        (AT_PENDING | {"owner_named": True}, Facts(subdomain="x"), Pack("mine"), (Prospect.ADVANCES, "pending")),
        ({"provisioning_state": "terminated"}, FACTS, TWO, (Prospect.NOT_FAILED, "terminated")),
    ],
)
def test_a_forecast(changes: dict[str, Any], facts: Facts, pack: Pack | PackError, expected: Any) -> None:
    """Each step seeds first, then its guard is judged, up to where the website rests: what is in its way is named."""
    told = forecast(WEBSITE | changes, facts, pack)
    assert (told.prospect, told.about) == expected


def test_a_strict_pack_and_what_is_there_beside_it() -> None:
    """Two links of the pack and a third of the website's own are enough; two that are the pack's own are not."""
    assert forecast(WEBSITE, FACTS, TWO, Beside(links=1)).prospect == Prospect.ADVANCES
    assert forecast(WEBSITE, FACTS, TWO).prospect == Prospect.FAILS_AGAIN


def test_what_is_seeded_first_and_what_cannot_be_promised() -> None:
    """A forecast names what its steps insert, that defaults stand in for a pack, and a cause that no guard knows."""
    good = forecast(WEBSITE, FACTS, THREE)
    assert (good.seeds, good.remark) == (("links from pack mine", "field_keys from pack mine"), None)
    broken = forecast(WEBSITE, FACTS, PackError("mine: no such file"))
    assert broken.seeds == ("links from defaults", "field_keys from defaults")
    assert broken.remark == "defaults are used, since pack mine cannot be: mine: no such file"
    strict = forecast(WEBSITE, FACTS, PackError("mine: no such file", strict=True))
    assert strict.remark == "strict pack mine cannot be used: mine: no such file"
    odd = forecast(WEBSITE | {"provisioning_error": "PostgreSQL 23514 CheckViolation: row 7"}, FACTS, THREE)
    assert odd.remark == "no guard tells whether the cause is mended: PostgreSQL # CheckViolation: row #"
    assert remarks([good, odd, odd]) == [
        "seeded first: links from pack mine (3), field_keys from pack mine (3)",
        "2 of them: no guard tells whether the cause is mended: PostgreSQL # CheckViolation: row #",
    ]


def test_held_at_ready_is_as_far_as_it_gets() -> None:
    """A website that failed at ready and is held there advances to where it rests."""
    facts = Facts(owners=1, agencies=1, links=3, field_keys=5, subdomain=None)
    website = WEBSITE | {"provisioning_failed_from": "ready", "auto_go_live": False}
    assert forecast(website, facts, THREE).prospect == Prospect.ADVANCES
    assert forecast(website | {"auto_go_live": True}, facts, THREE).about == "subdomain"


def test_the_summary_is_one_sentence() -> None:
    """How many, then what of them: those that advance first, those that are not failed last."""
    told = [
        Forecast(1, Prospect.NOT_FAILED, "terminated"),
        Forecast(2, Prospect.FAILS_AGAIN, "links (have 2, need 3)"),
        Forecast(3, Prospect.ADVANCES, "links_created"),
        Forecast(4, Prospect.ADVANCES, "links_created"),
        Forecast(5, Prospect.WAITS, "owner membership"),
    ]
    assert summary(told) == (
        "5 selected: 2 will advance from links_created, 1 waits for owner membership, "
        "1 will fail again: links (have 2, need 3), 1 is terminated"
    )
    assert summary([]) == "0 selected"


@pytest.mark.parametrize(
    ("count", "rate", "canary", "sizes"),
    [
        (1200, None, False, [500, 500, 200]),
        (200, None, True, [1, 2, 5, 20, 100, 72]),
        (10, 3.5, False, [3, 3, 3, 1]),
        (10, 2.0, True, [1, 2, 2, 2, 2, 1]),
    ],
)
def test_batches(count: int, rate: float | None, canary: bool, sizes: list[int]) -> None:
    """A canary begins with one and grows; a rate sends a second's worth at once."""
    assert [len(batch) for batch in _batches(range(count), rate=rate, canary=canary)] == sizes


@pytest.mark.parametrize(
    ("state", "failed_from", "held", "expected"),
    [
        ("links_created", "agency_created", False, True),
        ("agency_created", "agency_created", False, False),
        ("ready", "ready", False, False),
        ("ready", "ready", True, True),
        ("live", "ready", False, True),
        ("suspended", "ready", False, True),
        ("failed", "ready", False, False),
        ("pending", "pending", False, False),
    ],
)
def test_past_its_failure(state: str, failed_from: str, held: bool, expected: bool) -> None:
    """Advanced means past the state in which it failed, or resting where it is held."""
    assert has_passed(State(state), State(failed_from), held=held) is expected


def test_what_people_may_do() -> None:
    """Each verb of a state is named with what it would do; one whose guard does not hold says what is missing."""
    verbs = {item["verb"]: item for item in may(State.SUSPENDED, Facts(owners=1))}
    assert set(verbs) == {"reactivate", "terminate"}
    assert verbs["terminate"]["works"]
    assert not verbs["reactivate"]["works"]
    assert "missing: agency" in verbs["reactivate"]["would"]
    (requeue, terminate) = may(State.FAILED, Facts(owners=1), State.LINKS_CREATED)
    assert requeue["would"].startswith("go on from owner_assigned")
    assert terminate["verb"] == "terminate"
    assert may(State.TERMINATED, Facts()) == []


@pytest.mark.parametrize(
    ("facts", "would"),
    [
        (Facts(1, 1, 3, 5, 0, "sunny"), "be live"),
        (Facts(1, 1, 3, 5), "be tried again for a while, then fail: Cannot go live - missing: subdomain"),
        (Facts(1, 1, 2, 5, 0, "sunny"), "fail: Cannot go live - missing: links (have 2, need 3)"),
    ],
)
def test_what_a_push_would_do(facts: Facts, would: str) -> None:
    """A held website whose guard does not hold is not refused its push: it waits for others' data, or it fails."""
    (push,) = [item for item in may(State.READY, facts) if item["verb"] == "go-live"]
    assert (push["would"], push["works"]) == (would, would == "be live")
