"""The environment of the tests and of every process that they start: the same on each machine, in each shell.

A variable that is not listed here is removed: settings of the service (PROVISIONER_*), of PostgreSQL's clients (PG*),
of terminals, proxies, locale and time zone, editors, pip, Python, Node.js and Chromium all change what the tests see.
"""

import locale
import os
import re
import time

KEPT = re.compile(
    r"PATH|HOME|USER|LOGNAME|SHELL|TMPDIR|LD_LIBRARY_PATH|VIRTUAL_ENV|XDG_.*"  # where things are
    r"|PYTHONPATH|PYTHONDONTWRITEBYTECODE"  # `make mutate` runs the tests in a copy of the tree
    r"|CI|PYTEST_.*|COV_.*|COVERAGE_.*"  # of whoever runs pytest
)
SET = {"LC_ALL": "C.UTF-8", "TZ": "UTC"}


def clean() -> None:
    """Remove every variable that is not kept, and set locale and time zone, for this process and its children."""
    for name in [name for name in os.environ if not KEPT.fullmatch(name)]:
        del os.environ[name]
    os.environ.update(SET)
    locale.setlocale(locale.LC_ALL, "")
    time.tzset()
