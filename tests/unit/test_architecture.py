"""The shape of the code, as the house rules have it: read from the sources, not from good intentions."""

import ast
import re
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("statemachine", "seeders", "consumer", "ops")
"""From the bottom up: a package imports itself and what stands before it."""
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
STATEMENTS = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.sql"))
BANNED = {
    "manager", "managers", "helper", "helpers", "util", "utils", "common", "base", "data", "process", "handler",
    "handlers", "misc", "shared",
}  # fmt: skip
BLOCKING = {"ops/local_child.py", "ops/local_guard.py"}
"""They start and watch servers from outside any event loop, so they alone may wait with time.sleep."""


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def tree_of(path):
    return ast.parse(path.read_text(), filename=str(path))


def imports_of(path):
    """Every module that a file imports, wherever in it, by its full name."""
    found = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}: imports are absolute"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def tops_of(path):
    return {name.partition(".")[0] for name in imports_of(path)}


def importers(*libraries):
    return {name_of(path) for path in MODULES if tops_of(path) & set(libraries)}


def names_of(path):
    """Every dotted name that a file uses or imports: asyncio.timeout, self._session.closed, time.sleep."""
    used = {ast.unparse(node) for node in ast.walk(tree_of(path)) if isinstance(node, ast.Attribute)}
    return used | imports_of(path)


def test_there_is_something_to_look_at():
    """Every package has modules, so that the rest of this file is about something."""
    assert {name_of(path).partition("/")[0] for path in MODULES} == set(PACKAGES)
    assert len(STATEMENTS) > 10


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_only_point_down(path):
    """ops → consumer → seeders → statemachine, never the reverse."""
    package = name_of(path).partition("/")[0]
    above = set(PACKAGES[PACKAGES.index(package) + 1 :])
    assert not tops_of(path) & above
    assert "tests" not in tops_of(path)


@pytest.mark.parametrize("path", [path for path in MODULES if name_of(path).startswith("statemachine/")], ids=name_of)
def test_the_machine_is_pure(path):
    """It imports the standard library and itself, and of the standard library nothing with a clock, chance or I/O."""
    assert tops_of(path) <= set(sys.stdlib_module_names) | {"statemachine"}
    impure = {"asyncio", "datetime", "logging", "os", "pathlib", "random", "secrets", "socket", "time", "uuid"}
    assert not tops_of(path) & impure
    names = {
        node.func.id for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call) and hasattr(node.func, "id")
    }
    assert not names & {"open", "print", "input"}


def test_only_the_rabbitmq_side_of_the_broker_knows_its_libraries():
    """aio-pika, aiormq and pamqp are named in consumer/broker_* alone: not in the protocol, nor in the other broker."""
    knowing = importers("aio_pika", "aiormq", "pamqp")
    assert "consumer/broker_rabbitmq.py" in knowing
    assert all(name.startswith("consumer/broker_") for name in knowing)
    assert "consumer/broker_inprocess.py" not in knowing


def test_two_modules_know_asyncpg():
    """The store talks to it, and errors knows what it raises."""
    assert importers("asyncpg") == {"consumer/store.py", "consumer/errors.py"}


def test_few_modules_know_prometheus():
    """What is counted, what is told, the census, and a parent that passes it on."""
    knowing = importers("prometheus_client")
    assert knowing == {"consumer/metrics.py", "consumer/health.py", "consumer/census.py", "ops/answering.py"}


def test_only_the_console_knows_the_web():
    """starlette, uvicorn and jinja2 are an extra, named in ops/console alone, which only the command line opens."""
    knowing = importers("starlette", "uvicorn", "jinja2")
    assert "ops/console/app.py" in knowing
    assert all(name.startswith("ops/console/") for name in knowing)
    opening = {name_of(path) for path in MODULES if any(name.startswith("ops.console") for name in imports_of(path))}
    assert {name for name in opening if not name.startswith("ops/console/")} == {"ops/commands/service.py"}


def test_exceptions_are_caught_only_where_pyproject_says_so():
    """`except Exception` stands where BLE001 is ignored for the file, and no bare except stands anywhere."""
    ignores = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]["per-file-ignores"]
    allowed = [pattern for pattern, rules in ignores.items() if "BLE001" in rules]
    catchers = set()
    for path in MODULES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ExceptHandler):
                assert node.type is not None, f"{name_of(path)}:{node.lineno}: a bare except"
                caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
                if any(isinstance(kind, ast.Name) and kind.id == "Exception" for kind in caught):
                    catchers.add(name_of(path))
    strangers = {name for name in catchers if not any(fnmatch(name, pattern) for pattern in allowed)}
    assert not strangers
    assert catchers == set(allowed), "an exemption that nobody needs any more"


@pytest.mark.parametrize(
    ("pattern", "instead"),
    [
        (r"asyncio\.wait_for", "asyncio.timeout(): wait_for can lose a cancellation on Python 3.11"),
        (r".*\bconnect_robust", "plain connect: what is lost is seen, and the supervisor connects anew"),
        (r".*\.process", "ack after the work: message.process settles by exceptions, and rejects without a reason"),
        (r"time\.sleep", "asyncio.sleep: a blocked loop misses heartbeats"),
    ],
)
def test_what_the_libraries_offer_and_we_refuse(pattern, instead):
    """wait_for, connect_robust, message.process and time.sleep are used in no module."""
    exempt = BLOCKING if pattern == r"time\.sleep" else set()
    users = {name_of(path) for path in MODULES if any(re.fullmatch(pattern, name) for name in names_of(path))}
    assert not users - exempt, f"use {instead}"
    assert exempt <= users, "an exemption that nobody needs any more"


@pytest.mark.parametrize("path", STATEMENTS, ids=name_of)
def test_an_sql_file_is_one_statement_that_says_what_it_does(path):
    """It opens with a comment, and holds one statement."""
    text = path.read_text()
    assert re.match(r"-- \S.*\n", text), "opens with a sentence"
    code = re.sub(r"--[^\n]*", "", text)
    code = re.sub(r"'(?:[^']|'')*'", "''", code).strip()
    assert code, "a file without a statement"
    assert ";" not in code.removesuffix(";"), "more than one statement"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_opens_with_a_sentence(path):
    """Every module has a docstring that ends its first sentence."""
    docstring = ast.get_docstring(tree_of(path))
    assert docstring
    assert re.search(r"[.!?:]", docstring.partition("\n\n")[0]), docstring


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_module_has_a_name_that_says_nothing(path):
    """Banned words are no part of a module's or a folder's name, the pack `base` apart."""
    parts = {word for part in path.relative_to(ROOT).with_suffix("").parts for word in part.split("_")}
    assert not parts & BANNED


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_class_has_a_name_that_says_nothing(path):
    """Banned words end no class name."""
    endings = tuple(word.capitalize() for word in BANNED - {"base", "data"})
    assert not [
        node.name for node in ast.walk(tree_of(path)) if isinstance(node, ast.ClassDef) and node.name.endswith(endings)
    ]
