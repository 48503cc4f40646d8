"""What a shell has set reaches neither the tests nor the processes that they start."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.environment import SET

ROOT = Path(__file__).parents[2]
SHELL = {
    "PROVISIONER_CONSOLE_OPERATOR_TOKENS": f"ana={'o' * 24}",
    "PROVISIONER_CONSOLE_PORT": "1",
    "PROVISIONER_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nowhere",
    "PROVISIONER_FAILPOINTS": "boot=hang",
    "PROVISIONER_HTTP_PORT": "1",
    "PROVISIONER_LOG_FORMAT": "json",
    "_PROVISIONER_COMPLETE": "bash_source",
    "PGHOST": "nowhere.invalid",
    "PGSSLMODE": "require",
    "COLUMNS": "20",
    "FORCE_COLOR": "1",
    "LC_ALL": "C",
    "TZ": "Asia/Kathmandu",
    "http_proxy": "http://127.0.0.1:1",
    "PROMETHEUS_MULTIPROC_DIR": "/nowhere",
    "NODE_OPTIONS": "--require=/nowhere.js",
    "VISUAL": "false",
}
"""Each changed what some test saw, or would."""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python in such a shell. It is given a minute: a console that was told whom to let in goes on for ever."""
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | SHELL, capture_output=True, text=True, timeout=60, check=False
    )


def test_nothing_of_the_shell_is_left_once_the_tests_are_imported() -> None:
    """No variable is there that is neither kept nor set, and the time zone is in force."""
    program = "import tests, json, os, time; print(json.dumps([dict(os.environ), time.tzname]))"
    environment, zone = json.loads(run("-c", program).stdout)
    assert {name: environment.get(name) for name in SHELL} == dict.fromkeys(SHELL) | SET
    assert environment["PATH"] == os.environ["PATH"]
    assert zone == ["UTC", "UTC"]


def test_a_test_passes_whatever_the_shell_has_set() -> None:
    """One that starts `provisioner console` without tokens and waits for its end, which the shell's would put off."""
    tested = "tests/console/test_program.py::test_without_anybody_to_let_in_it_ends_with_one_line"
    ended = run("-m", "pytest", "-q", "-p", "no:cacheprovider", tested)
    assert ended.returncode == 0, ended.stdout + ended.stderr
