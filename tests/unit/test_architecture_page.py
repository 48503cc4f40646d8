"""The map of docs/architecture.md is the tree: it lists every room, and a room imports only rooms that stand above it.

The other table of that page is checked by tests/integration/test_one_delivery.py.
"""

import ast
import re

import pytest

from tests.source_tree import PACKAGES, ROOT

MODULES = {
    path.relative_to(ROOT).with_suffix("").as_posix().replace("/", "."): path
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
    if path.stem not in ("__init__", "__main__")
}
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("docs/decisions/*.md"))
    if path.name != "CHANGELOG.md"
)
"""What tells of the tree as it is now; the changelog tells of what it was."""
MAP = (ROOT / "docs" / "architecture.md").read_text().partition("\n## The map\n")[2].partition("\n## ")[0]
ROOMS = re.findall(rf"^\| `((?:{'|'.join(PACKAGES)})/\S*)` \| \S", MAP, re.MULTILINE)
"""In the order of the map, from what knows least to what knows most."""


def room_of(path):
    """The room that a module is in: of those that hold it, the narrowest."""
    name = path.relative_to(ROOT).as_posix()
    return max((room for room in ROOMS if name.startswith(room)), key=len, default=None)


def imported_by(path):
    """The modules of ours that a module imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found & MODULES.keys()


def test_the_map_has_every_room():
    """Each folder and each lone module of the four packages stands in it once, and is there."""
    assert len(ROOMS) == len(set(ROOMS))
    assert all((ROOT / room).exists() for room in ROOMS)
    assert not [name for name, path in MODULES.items() if room_of(path) is None]


@pytest.mark.parametrize("name", MODULES)
def test_a_room_imports_only_rooms_above_it(name):
    """The order of the map is the order of the imports."""
    here = ROOMS.index(room_of(MODULES[name]))
    assert not [other for other in imported_by(MODULES[name]) if ROOMS.index(room_of(MODULES[other])) > here]


@pytest.mark.parametrize("page", PAGES)
def test_every_path_that_a_page_names_exists(page):
    """What stands in code quotes and looks like a path of the tree, and every link to a file."""
    text = (ROOT / page).read_text()
    quoted = re.findall(r"`((?:statemachine|seeders|consumer|ops|tests|bench|docs|deploy)/[\w./-]*)`", text)
    assert not [name for name in quoted if not (ROOT / name).exists()]
    linked = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    assert not [name for name in linked if not ((ROOT / page).parent / name).exists()]


def test_contributing_names_the_targets_of_the_makefile():
    """Every target that a page names exists, and CONTRIBUTING.md leaves out none but the list, the demo and clean."""
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        page: set(re.findall(r"(?:`|^    )make ([a-z-]+)", (ROOT / page).read_text(), re.MULTILINE)) for page in PAGES
    }
    assert not set().union(*named.values()) - targets
    assert targets - named["CONTRIBUTING.md"] <= {"help", "demo", "clean"}
