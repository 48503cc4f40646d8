"""The model of the protocol, in worlds that are searched in seconds: its properties hold, and each rule is needed."""

import pytest

from tests.protocol.__main__ import as_expected
from tests.protocol.batch import BATCHES, QUICK_BATCHES, BatchModel
from tests.protocol.configurations import CONFIGURATIONS, DEFECTS, QUICK, Defect
from tests.protocol.model import Model
from tests.protocol.rules import AS_FIRST_WRITTEN, RULES
from tests.protocol.search import search

STATES = 60_000
"""The largest of these searches; more is a change that belongs into `make protocol`."""


@pytest.mark.parametrize("name", QUICK)
def test_properties_hold(name: str) -> None:
    """Whatever happens in this configuration, no property is violated, and without faults every schedule ends."""
    result = search(Model(RULES, CONFIGURATIONS[name]), states_limit=STATES)
    assert result.passed, str(result)


@pytest.mark.parametrize(
    "defect", [each for each in DEFECTS if each.quick], ids=lambda each: f"{each.configuration}: {each.changed}"
)
def test_each_rule_is_needed(defect: Defect) -> None:
    """Without the rule, the search finds what the rule is there to prevent."""
    model = Model(RULES | defect.changed, CONFIGURATIONS[defect.configuration])
    result = search(model, states_limit=STATES)
    assert as_expected(result, defect.error), str(result)


@pytest.mark.parametrize("number", QUICK_BATCHES)
def test_batches(number: int) -> None:
    """A batch carries its messages out as single transactions would, and each of its rules is needed."""
    rules, start, error = BATCHES[number]
    result = search(BatchModel(rules, start), states_limit=STATES)
    assert as_expected(result, error), str(result)


def test_the_first_design_is_refuted() -> None:
    """The search refutes the design as it was first written: it can refute."""
    result = search(Model(AS_FIRST_WRITTEN, CONFIGURATIONS["crash, wipe"]), states_limit=STATES)
    assert result.passed is False


def test_every_rule_is_taken_back() -> None:
    """Each rule has a configuration that shows what happens without it."""
    assert {rule for defect in DEFECTS for rule in defect.changed} == set(RULES)
