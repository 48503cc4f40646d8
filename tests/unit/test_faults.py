"""Every numbered fault has a test, or a reason why there is none; and the page says which."""

import json

import pytest

from tests.faults.catalogue import FAULTS, IMPOSSIBLE, OPEN, SECTIONS
from tests.faults.page import PAGE, RESULTS, collected, page

WANTED = set().union(*OPEN.values())


@pytest.fixture(scope="module")
def tests():
    """Every test that carries a mark, with its faults."""
    return collected()


def test_the_catalogue_is_whole():
    """The numbers 1 to 116, each in one section, each with a name of its own."""
    numbers = [number for _, section in SECTIONS.values() for number in section]
    assert numbers == list(range(1, 117)) == list(FAULTS)
    assert len(set(FAULTS.values())) == len(FAULTS)
    assert set(FAULTS) > set(IMPOSSIBLE) | WANTED


def test_every_fault_has_a_test_or_a_reason(tests):
    """And none has both."""
    tested = {number for test in tests for number in test["faults"]}
    assert tested <= set(FAULTS), "a mark names a number that the catalogue has not"
    assert not tested & set(IMPOSSIBLE), "what cannot be injected has a test: take it out of IMPOSSIBLE"
    assert not tested & WANTED, "what is said to want a test has one: take it out of OPEN"
    missing = set(FAULTS) - tested - set(IMPOSSIBLE) - WANTED
    assert not missing, f"neither a test nor a reason: {sorted(missing)}"


def test_the_page_is_the_one_that_is_generated(tests):
    """Catalogue, marks and results: `make docs` writes it anew."""
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    assert PAGE.read_text() == page(tests, results), "docs/faults.md is not up to date; `make docs` writes it anew"
