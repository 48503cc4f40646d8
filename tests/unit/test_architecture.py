"""The shape of the code, as the house rules have it: read from the sources, not from good intentions."""

import ast
import re
import sys
import tomllib
from collections import Counter
from fnmatch import fnmatch

import pytest

from tests.source_tree import PACKAGES, ROOT

MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
STATEMENTS = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.sql"))
BANNED = {
    "manager", "managers", "helper", "helpers", "util", "utils", "common", "base", "data", "process", "handler",
    "handlers", "misc", "shared",
}  # fmt: skip
WHOLE_FILES = {"migrations", "removals"}
"""Folders of SQL files that are run whole; each of the others has one statement."""
ROOTS = {
    "consumer.app": {"ops.cli.commands.workers", "ops.cli.demo"},
    "ops.cli.main": {"ops.__main__"},
    "ops.console.app": {"ops.cli.commands.console"},
}
"""The composition roots, and who runs each."""
BLOCKING = {"ops/sandbox/child_process.py", "ops/sandbox/reaper.py"}
"""They start and watch servers from outside any event loop, so they alone may wait with time.sleep."""

MAX_LINES, MAX_METHODS, MAX_FUNCTION_LINES, MAX_ENTRIES = 300, 15, 60, 14
"""A module, a class, a function and a folder that are larger are two."""
LONG_MODULES: set[str] = set()
WIDE_CLASSES: set[str] = set()
LONG_FUNCTIONS: set[str] = set()
FULL_FOLDERS: set[str] = set()
TWICE: set[str] = set()
"""Class names that stand for two things."""
SEVERAL: set[str] = set()
"""Names of functions and classes that more than two modules define."""
METAPHORS = re.compile(
    r"\b(told|desk|errands?|deeds?|strangers?|crowds?|scouts?|pulse|in hand|in the hands|the clock has|answered for"
    r"|says so by itself|hears? (?:that|what|whether))\b",
    re.IGNORECASE,
)
"""Words that stand for a term of the field: docs/glossary.md has it."""
METAPHORICAL = {"ops.console.routes"}
"""Folders in which such words still are."""
EXEMPT_FOLDERS = {"sql", "packs", "templates"}
"""One statement, pack or page a file: they are lists, read by name."""


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def tree_of(path):
    return ast.parse(path.read_text(), filename=str(path))


def module_of(path):
    return name_of(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def folder_of(module):
    """The folder of a module; one that stands directly in one of the four packages counts as a folder of its own."""
    parts = module.split(".")
    return module if len(parts) == 2 else ".".join(parts[:-1])


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


def test_no_two_folders_import_each_other():
    """Of two folders at most one imports the other; only a composition root imports all."""
    names = {name_of(path).removesuffix(".py").replace("/", "."): path for path in MODULES if path.stem != "__init__"}
    imports, roots_imported_by = {}, {}
    for name, path in names.items():
        for target in imports_of(path) & names.keys():
            if target in ROOTS:
                roots_imported_by.setdefault(target, set()).add(name)
            elif name not in ROOTS and folder_of(target) != folder_of(name):
                imports.setdefault(folder_of(name), set()).add(folder_of(target))
    mutual = {tuple(sorted((one, other))) for one in imports for other in imports[one] if one in imports.get(other, ())}
    assert not mutual
    assert roots_imported_by == ROOTS, "who runs a composition root is listed, and nobody else"


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


def test_only_one_package_knows_the_rabbitmq_client():
    """aio-pika, aiormq and pamqp are named in consumer/broker/rabbitmq/ alone."""
    knowing = importers("aio_pika", "aiormq", "pamqp")
    assert "consumer/broker/rabbitmq/connection.py" in knowing
    assert all(name.startswith("consumer/broker/rabbitmq/") for name in knowing)


def test_few_modules_know_asyncpg():
    """The store and its sessions talk to it, and errors knows what it raises."""
    knowing = importers("asyncpg") - {"consumer/store/database.py", "consumer/error_classification.py"}
    assert knowing
    assert all(name.startswith("consumer/store/sessions/") for name in knowing)


def test_few_modules_know_prometheus():
    """The metrics, the gauges, the cluster metrics, and a parent that merges those of its processes."""
    knowing = importers("prometheus_client")
    assert knowing == {
        "consumer/telemetry/metrics.py",
        "consumer/monitoring/worker_metrics_page.py",
        "consumer/monitoring/cluster_metrics.py",
        "ops/workers/health_aggregator.py",
    }


def test_only_the_console_knows_the_web():
    """Its libraries are an extra, named in ops/console alone, which only the command line opens."""
    knowing = importers("fastapi", "itsdangerous", "jinja2", "sse_starlette", "starlette", "uvicorn")
    assert "ops/console/app.py" in knowing
    assert all(name.startswith("ops/console/") for name in knowing)
    opening = {name_of(path) for path in MODULES if any(name.startswith("ops.console") for name in imports_of(path))}
    assert {name for name in opening if not name.startswith("ops/console/")} == {
        "ops/cli/commands/console.py",
        "ops/cli/commands/follow_token.py",
    }


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


@pytest.mark.parametrize("path", [path for path in STATEMENTS if path.parent.name not in WHOLE_FILES], ids=name_of)
def test_an_sql_file_is_one_statement_that_says_what_it_does(path):
    """It opens with a comment, and holds one statement; what is run whole holds as many as it takes."""
    text = path.read_text()
    assert re.match(r"-- \S.*\n", text), "opens with a sentence"
    code = re.sub(r"--[^\n]*", "", text)
    code = re.sub(r"'(?:[^']|'')*'", "''", code).strip()
    assert code, "a file without a statement"
    assert ";" not in code.removesuffix(";"), "more than one statement"


def defined_in(path, *kinds):
    return [node for node in ast.walk(tree_of(path)) if isinstance(node, kinds)]


def is_exception(definition):
    bases = {ast.unparse(base).rpartition(".")[2] for base in definition.bases}
    return bool({base for base in bases if base.endswith(("Error", "Exception"))})


def test_modules_are_short():
    """A module has at most 300 lines; those that are still longer are listed."""
    assert {name_of(path) for path in MODULES if len(path.read_text().splitlines()) > MAX_LINES} == LONG_MODULES


def test_classes_are_small():
    """A class has at most 15 methods; those that still have more are listed."""
    wide = {
        f"{name_of(path)}:{definition.name}"
        for path in MODULES
        for definition in defined_in(path, ast.ClassDef)
        if sum(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) for node in definition.body) > MAX_METHODS
    }
    assert wide == WIDE_CLASSES


def test_functions_are_short():
    """A function has at most 60 lines, its decorators not counted; those that are still longer are listed."""
    long = {
        f"{name_of(path)}:{definition.name}"
        for path in MODULES
        for definition in defined_in(path, ast.FunctionDef, ast.AsyncFunctionDef)
        if definition.end_lineno - definition.lineno + 1 > MAX_FUNCTION_LINES
    }
    assert long == LONG_FUNCTIONS


def test_folders_are_small():
    """A folder has at most 14 entries, not counting its __init__.py; those that still have more are listed."""
    left_out = {"__init__.py", "__pycache__", "py.typed"}
    folders = {path.parent for path in MODULES if path.parent.name not in EXEMPT_FOLDERS}
    entries = {
        # A folder that a checkout left behind has nothing but compiled files.
        folder: {entry.name for entry in folder.iterdir() if entry.is_file() or any(entry.glob("[!_]*"))} - left_out
        for folder in folders
    }
    assert {name_of(folder) for folder, names in entries.items() if len(names) > MAX_ENTRIES} == FULL_FOLDERS


def test_exceptions_are_called_errors():
    """What is derived from an exception has a name that ends in Error, and so has nothing else."""
    definitions = [definition for path in MODULES for definition in defined_in(path, ast.ClassDef)]
    assert {d.name for d in definitions if is_exception(d)} == {d.name for d in definitions if d.name.endswith("Error")}


def test_a_class_name_has_one_meaning():
    """No two classes have one name; those that still do are listed."""
    counted = Counter(definition.name for path in MODULES for definition in defined_in(path, ast.ClassDef))
    assert {name for name, count in counted.items() if count > 1} == TWICE


def test_a_name_stands_for_few_things():
    """No public function or class of a module has the name of two others; those that still have are listed."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    counted = Counter(node.name for path in MODULES for node in tree_of(path).body if isinstance(node, kinds))
    assert {name for name, count in counted.items() if count > 2 and not name.startswith("_")} == SEVERAL


def test_words_are_the_terms_of_the_field():
    """No metaphor stands where there is a term; the folders in which some still do are listed."""
    assert {folder_of(module_of(path)) for path in MODULES if METAPHORS.search(path.read_text())} == METAPHORICAL


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_opens_with_a_sentence(path):
    """Every module has a docstring that ends its first sentence."""
    docstring = ast.get_docstring(tree_of(path))
    assert docstring
    assert re.search(r"[.!?:]", docstring.partition("\n\n")[0]), docstring


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_module_has_a_name_that_says_nothing(path):
    """Banned words are no part of a module's or a folder's name; a `child_process` is a thing of that name."""
    named = [part for part in path.relative_to(ROOT).with_suffix("").parts if part != "child_process"]
    parts = {word for part in named for word in part.split("_")}
    assert not parts & BANNED


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_class_has_a_name_that_says_nothing(path):
    """Banned words end no class name."""
    endings = tuple(word.capitalize() for word in BANNED - {"base", "data"})
    assert not [
        node.name for node in ast.walk(tree_of(path)) if isinstance(node, ast.ClassDef) and node.name.endswith(endings)
    ]
