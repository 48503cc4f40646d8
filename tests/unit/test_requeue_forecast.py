"""The forecast of a requeue and the batches of a canary: their pure functions."""

from dataclasses import replace
from typing import Any

import pytest

from ops.websites.bulk_requeue import _batches, has_passed
from ops.websites.requeue_forecast import (
    RequeueForecast,
    RequeueProspect,
    forecast_website,
    requeue_remarks,
    requeue_summary,
)
from ops.websites.verb_registry import verb_forecasts
from seeders.pack import AgencyEntry, FieldKeyEntry, LinkEntry, Pack
from seeders.pack_problems import PackError, PackProblem
from statemachine import Facts, State, Trigger
from tests.factories import complete_facts

WEBSITE: dict[str, Any] = {
    "id": 7, "provisioning_state": "failed", "provisioning_failed_from": "agency_created", "site_type": None,
    "seed_pack_name": "mine", "provisioning_error": "Links creation failed - need at least 3, have 2",
    "owner_named": False, "skip_properties": False, "auto_go_live": True,
}  # fmt: skip
FACTS = complete_facts(links=2, field_keys=0, properties=0)
LINKS = (LinkEntry("a"), LinkEntry("b"), LinkEntry("c"))
KEYS = tuple(FieldKeyEntry(f"types.{n}", "property-types") for n in range(5))
TWO = Pack(name="two", agency=AgencyEntry(), links=LINKS[:2], field_keys=KEYS, strict=True)
THREE = Pack(name="three", links=LINKS, field_keys=KEYS, strict=True)
AT_PENDING = {"provisioning_failed_from": "pending"}


@pytest.mark.parametrize(
    ("changes", "facts", "pack", "expected"),
    [
        ({}, FACTS, TWO, (RequeueProspect.FAILS_AGAIN, "links (have 2, need 3)")),
        ({}, FACTS, THREE, (RequeueProspect.ADVANCES, "agency_created")),
        (
            {},
            FACTS,
            Pack(name="poor", links=LINKS, strict=True),
            (RequeueProspect.FAILS_AGAIN, "field_keys (have 0, need 5)"),
        ),
        ({}, FACTS, Pack(name="poor", links=LINKS), (RequeueProspect.ADVANCES, "agency_created")),
        ({}, FACTS, PackError("broken"), (RequeueProspect.ADVANCES, "agency_created")),
        ({}, FACTS, PackError("broken", strict=True), (RequeueProspect.FAILS_AGAIN, "links (have 2, need 3)")),
        ({}, replace(FACTS, subdomain=None), THREE, (RequeueProspect.WAITS, "subdomain")),
        (AT_PENDING, Facts(), THREE, (RequeueProspect.WAITS, "owner membership")),
        (AT_PENDING | {"owner_named": True}, Facts(), THREE, (RequeueProspect.FAILS_AGAIN, "agency")),
        (
            AT_PENDING | {"owner_named": True},
            Facts(subdomain="x"),
            Pack(name="mine"),
            (RequeueProspect.ADVANCES, "pending"),
        ),
        ({"provisioning_state": "terminated"}, FACTS, TWO, (RequeueProspect.NOT_FAILED, "terminated")),
    ],
)
def test_a_forecast(changes: dict[str, Any], facts: Facts, pack: Pack | PackError, expected: Any) -> None:
    """Each step seeds first, then its guard is judged, up to where the website rests: what is in its way is named."""
    told = forecast_website(WEBSITE | changes, facts, pack)
    assert (told.prospect, told.about) == expected


def test_a_strict_pack_and_what_is_there_beside_it() -> None:
    """Two links of the pack and a third of the website's own are enough; two that are the pack's own are not."""
    assert forecast_website(WEBSITE, FACTS, TWO, {Trigger.COMPLETE_LINKS: 1}).prospect == RequeueProspect.ADVANCES
    assert forecast_website(WEBSITE, FACTS, TWO).prospect == RequeueProspect.FAILS_AGAIN


def test_what_is_seeded_first_and_what_cannot_be_promised() -> None:
    """A forecast names what its steps insert, that defaults stand in for a pack, and a cause that no guard knows."""
    good = forecast_website(WEBSITE, FACTS, THREE)
    assert (good.seeds, good.remark) == (("links from pack mine", "field_keys from pack mine"), None)
    broken = forecast_website(WEBSITE, FACTS, PackError("mine: no such file"))
    assert broken.seeds == ("links from defaults", "field_keys from defaults")
    assert broken.remark == "defaults are used, since pack mine cannot be: mine: no such file"
    strict = forecast_website(WEBSITE, FACTS, PackError("mine: no such file", strict=True))
    assert strict.remark == "strict pack mine cannot be used: mine: no such file"
    wrong = PackProblem("mine/links.yml", "holds a text", "links", 1)
    partly = forecast_website(WEBSITE, FACTS, Pack(name="mine", field_keys=KEYS, errors=(wrong,)))
    assert partly.seeds == ("links from defaults", "field_keys from pack mine")
    assert partly.remark == "defaults are used, since pack mine cannot be: mine/links.yml, line 1: holds a text"
    strictly = forecast_website(WEBSITE, FACTS, Pack(name="mine", field_keys=KEYS, errors=(wrong,), strict=True))
    assert (strictly.prospect, strictly.about) == (RequeueProspect.FAILS_AGAIN, "links (have 2, need 3)")
    assert strictly.remark == "strict pack mine cannot be used: mine/links.yml, line 1: holds a text"
    odd = forecast_website(WEBSITE | {"provisioning_error": "PostgreSQL 23514 CheckViolation: row 7"}, FACTS, THREE)
    assert (
        odd.remark == "no guard wrote this error, so its cause may be there still: PostgreSQL # CheckViolation: row #"
    )
    assert (odd.prospect, odd.about) == (RequeueProspect.UNKNOWN, good.about)
    assert requeue_remarks([good, odd, odd]) == [
        "seeded first: links from pack mine (3), field_keys from pack mine (3)",
        "2 of them: no guard wrote this error, so its cause may be there still: PostgreSQL # CheckViolation: row #",
    ]


def test_held_at_ready_is_as_far_as_it_gets() -> None:
    """A website that failed at ready and is held there advances to where it rests."""
    facts = complete_facts(subdomain=None)
    website = WEBSITE | {"provisioning_failed_from": "ready", "auto_go_live": False}
    assert forecast_website(website, facts, THREE).prospect == RequeueProspect.ADVANCES
    assert forecast_website(website | {"auto_go_live": True}, facts, THREE).about == "subdomain"


def test_the_summary_is_one_sentence() -> None:
    """How many, then what of them: those that advance first, those that are not failed last."""
    told = [
        RequeueForecast(1, RequeueProspect.NOT_FAILED, "terminated"),
        RequeueForecast(2, RequeueProspect.FAILS_AGAIN, "links (have 2, need 3)"),
        RequeueForecast(3, RequeueProspect.ADVANCES, "links_created"),
        RequeueForecast(4, RequeueProspect.ADVANCES, "links_created"),
        RequeueForecast(5, RequeueProspect.WAITS, "owner membership"),
        *(RequeueForecast(number, RequeueProspect.UNKNOWN, "pending") for number in range(6, 9)),
    ]
    assert requeue_summary(told) == (
        "8 selected: 2 will advance from links_created, unknown: 3 from pending, 1 waits for owner membership, "
        "1 will fail again: links (have 2, need 3), 1 is terminated"
    )
    assert requeue_summary([]) == "0 selected"


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
    verbs = {item["verb"]: item for item in verb_forecasts(State.SUSPENDED, Facts(owners=1))}
    assert set(verbs) == {"reactivate", "terminate"}
    assert verbs["terminate"]["works"]
    assert not verbs["reactivate"]["works"]
    assert "missing: agency" in verbs["reactivate"]["would"]
    (requeue, terminate) = verb_forecasts(State.FAILED, Facts(owners=1), State.LINKS_CREATED)
    assert requeue["would"].startswith("go on from owner_assigned")
    assert terminate["verb"] == "terminate"
    assert verb_forecasts(State.TERMINATED, Facts()) == []


@pytest.mark.parametrize(
    ("facts", "would"),
    [
        (complete_facts(), "be live"),
        (complete_facts(subdomain=None), "be tried again for a while, then fail: Cannot go live - missing: subdomain"),
        (complete_facts(links=2), "fail: Cannot go live - missing: links (have 2, need 3)"),
    ],
)
def test_what_a_push_would_do(facts: Facts, would: str) -> None:
    """A held website whose guard does not hold is not refused its push: it waits for others' data, or it fails."""
    (push,) = [item for item in verb_forecasts(State.READY, facts) if item["verb"] == "go-live"]
    assert (push["would"], push["works"]) == (would, would == "be live")
