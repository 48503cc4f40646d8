"""Searches every configuration whole, and shows what each rule is for.

python -m tests.protocol                          # all of it; exit code 1 where a result is not the expected one
python -m tests.protocol --only "moved; asleep"   # these configurations
python -m tests.protocol --only "moved" --rule created_starts=False
python -m tests.protocol --defects                # each rule taken back: the shortest trace of what then breaks
python -m tests.protocol --batch                  # the protocol of a batch
"""

import argparse
import ast
import sys
from collections.abc import Iterator
from multiprocessing import Pool
from typing import Any

from tests.protocol.batch import BATCHES, BatchModel
from tests.protocol.configurations import CONFIGURATIONS, DEFECTS
from tests.protocol.model import Model
from tests.protocol.rules import RULES, Rules
from tests.protocol.search import Result, search

Work = tuple[str, Any, str | None]
"""A title, a model, and the error that is expected: empty for none, None where any result will do."""


def _search(work: Work) -> tuple[Work, Result]:
    return work, search(work[1])


def as_expected(result: Result, error: str | None) -> bool:
    """Return whether a search found what it was to find."""
    if error is None:
        return True
    return bool(result.passed) if not error else result.passed is False and error in result.error


def _configurations(names: list[str], changed: Rules) -> Iterator[Work]:
    for name in names:
        yield name, Model(RULES | changed, CONFIGURATIONS[name]), None if changed else ""


def _defects() -> Iterator[Work]:
    for defect in DEFECTS:
        rules = ", ".join(f"{rule}={value}" for rule, value in defect.changed.items())
        model = Model(RULES | defect.changed, CONFIGURATIONS[defect.configuration])
        yield f"{defect.configuration}; but {rules}", model, defect.error


def _batches() -> Iterator[Work]:
    for rules, start, error in BATCHES:
        yield f"batch: {rules}, {start}", BatchModel(rules, start), error


def main() -> int:
    """Search, print, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.protocol", description=__doc__.partition("\n")[0])
    parser.add_argument("--only", metavar="NAME; NAME", help="configurations to search")
    parser.add_argument("--rule", action="append", default=[], metavar="NAME=VALUE", help="a rule with another value")
    parser.add_argument("--defects", action="store_true", help="take rules back, one a time")
    parser.add_argument("--batch", action="store_true", help="search the protocol of a batch")
    options = parser.parse_args()
    names = [name.strip() for name in options.only.split(";")] if options.only else list(CONFIGURATIONS)
    if unknown := set(names) - set(CONFIGURATIONS):
        parser.error(f"no configurations: {', '.join(sorted(unknown))}; there are: {'; '.join(CONFIGURATIONS)}")
    changed = {}
    for text in options.rule:
        name, _, value = text.partition("=")
        if name not in RULES:
            parser.error(f"no rule: {name}; there are: {', '.join(RULES)}")
        changed[name] = ast.literal_eval(value) if value in {"True", "False"} else value
    everything = not (options.only or options.rule or options.defects or options.batch)
    works: list[Work] = []
    if everything or options.only or options.rule:
        works += _configurations(names, changed)
    if everything or options.defects:
        works += _defects()
    if everything or options.batch:
        works += _batches()
    unexpected = 0
    with Pool() as pool:
        for (title, _, error), result in pool.imap(_search, works):
            expected = as_expected(result, error)
            unexpected += not expected
            print(f"\n{title}{'' if expected else '  <= NOT AS EXPECTED'}\n  {result}", flush=True)
    print(f"\n{len(works)} searches, {unexpected} not as expected")
    return 1 if unexpected else 0


if __name__ == "__main__":
    sys.exit(main())
