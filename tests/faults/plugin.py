"""What the marks of a collection say, and what a run of `make faults` found: `pytest -p tests.faults.plugin`.

--faults-collected FILE   write every marked test as JSON (used with --collect-only)
--faults-record           write results and page anew after the run
"""

import json
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.faults.page import RESULTS, write_page


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add both options."""
    group = parser.getgroup("faults")
    group.addoption("--faults-collected", metavar="FILE", help="write the marked tests as JSON")
    group.addoption("--faults-record", action="store_true", help="write docs/faults.json and docs/faults.md anew")


def marked(items: list[pytest.Item]) -> list[dict[str, Any]]:
    """Return what the page needs to know of each test with a mark."""
    return [
        {
            "test": item.nodeid.partition("[")[0],
            "id": item.nodeid,
            "faults": sorted({number for mark in item.iter_markers("fault") for number in mark.args}),
            "full_length": item.get_closest_marker("full_length") is not None,
            "scaled": "scaled" in getattr(item, "fixturenames", ()),
        }
        for item in items
        if item.get_closest_marker("fault")
    ]


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Write the marked tests down."""
    if file := session.config.getoption("--faults-collected"):
        Path(file).write_text(json.dumps(marked(session.items)))


def pytest_configure(config: pytest.Config) -> None:
    """Listen to the run where its results are wanted."""
    if config.getoption("--faults-record"):
        config.pluginmanager.register(_Recorder(), "faults-recorder")


class _Recorder:
    """Keeps the outcome of each marked test, and writes what is known of a fault once all its tests have run."""

    def __init__(self) -> None:
        self._outcomes: dict[str, str] = {}
        self._seconds: dict[str, float] = defaultdict(float)
        self._marked: list[dict[str, Any]] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._marked = marked(session.items)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[report.nodeid] += report.duration
        if report.failed or report.nodeid not in self._outcomes:
            self._outcomes[report.nodeid] = report.outcome

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        tests: dict[int, list[str]] = defaultdict(list)
        for found in self._marked:
            for number in found["faults"]:
                tests[number].append(found["id"])
        for number, ids in tests.items():
            ran = [self._outcomes[test] for test in ids if test in self._outcomes]
            if len(ran) == len(ids):
                results[str(number)] = {
                    "result": "passed" if set(ran) == {"passed"} else "FAILED",
                    "tests": len(ids),
                    "seconds": round(sum(self._seconds[test] for test in ids), 1),
                    "date": datetime.now(UTC).date().isoformat(),
                }
        ordered = {number: results[number] for number in sorted(results, key=int)}
        RESULTS.write_text(json.dumps(ordered, indent=0) + "\n")
        write_page()
