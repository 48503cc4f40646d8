"""Breaks the design on purpose, one mutation a time, and shows which test notices: `make mutate`.

Each mutation is made in a copy of the tree; exit code 1 if one survives, or if the tests fail without any.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.mutations.catalogue import MUTATIONS, ROOT, Mutation

TREE = ("consumer", "ops", "seeders", "statemachine", "tests", "docs", "deploy", "schema.sql", "pyproject.toml")
SECONDS = 600


def run(root: Path, tests: tuple[str, ...]) -> tuple[int, str]:
    """Run tests in a tree; return pytest's exit code and what it wrote."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider", *tests]
    environment = os.environ | {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    ran = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    return ran.returncode, ran.stdout


def copied(folder: Path) -> Path:
    """Copy the tree."""
    for name in TREE:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    return folder


def verdict(mutation: Mutation | None, tests: tuple[str, ...]) -> tuple[bool, str]:
    """Return whether all is as it should be, and in words what happened."""
    with tempfile.TemporaryDirectory() as folder:
        root = copied(Path(folder))
        if mutation:
            mutation.apply(root)
        code, told = run(root, tests)
    if mutation is None:
        return code == 0, "all green" if code == 0 else f"red without any mutation:\n{told[-3000:]}"
    # 1 is pytest's word for a test that failed; any other code means that the tests could not run.
    killers = re.findall(r"^(?:FAILED|ERROR) \S*?::(\S+)", told, re.MULTILINE)
    if code == 1 and killers:
        return True, f"killed by {killers[0]}"
    return False, "SURVIVED" if code == 0 else f"could not be run (exit code {code}):\n{told[-2000:]}"


def main(wanted: list[str]) -> int:
    """Go through the mutations whose names contain one of these words; all by default."""
    chosen = [item for item in MUTATIONS if not wanted or any(word in item.name for word in wanted)]
    every = tuple(dict.fromkeys(test for mutation in chosen for test in mutation.tests))
    failed = 0
    for mutation in (None, *chosen):
        good, told = verdict(mutation, mutation.tests if mutation else every)
        failed += not good
        print(f"{mutation.name if mutation else 'no mutation':<52} {told}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
