"""The index of decisions lists every page with its title, and every reference to a decision leads to a row of it."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "decisions"
PAGES = sorted(FOLDER.glob("[0-9]*.md"))
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (FOLDER / "README.md").read_text().splitlines()
    if re.match(r"\| \[?\d{4}", line)
]
NUMBERS = [row[0].strip("[").partition("]")[0] for row in ROWS]
FOLDERS = ("bench", "consumer", "deploy", "docs", "ops", "seeders", "statemachine", "tests")
SEARCHED = sorted(
    path
    for folder in (ROOT, *(ROOT / name for name in FOLDERS))
    for path in (folder.iterdir() if folder == ROOT else folder.rglob("*"))
    if path.suffix in (".py", ".sql", ".md", ".toml", ".yml", "") and path.is_file() and FOLDER not in path.parents
)
"""Every text that may name a decision."""
REFERENCE = re.compile(r"\bdecisions?[/ ](\d{4})\b")
"""How code and pages outside of the folder name a decision: docs/decisions/0018, decision 0007."""


def test_the_numbers_have_no_gap():
    """Each number stands once, in order."""
    assert [int(number) for number in NUMBERS] == list(range(1, len(ROWS) + 1))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_page_is_listed_under_its_title(page):
    """The row links to the page, and has its heading and a status."""
    (row,) = [row for row in ROWS if f"({page.name})" in row[0]]
    number, title = re.fullmatch(r"# (\d{4})\. (.+)", page.read_text().partition("\n")[0]).groups()
    assert page.name.startswith(number)
    assert row[0] == f"[{number}]({page.name})"
    assert row[1] == title
    assert re.fullmatch(r"stands|replaced by \[\d{4}\]\(\S+\)", row[2])


def test_what_has_no_page_is_merged_into_one_that_has():
    """A row without a link says where its content is now."""
    for row in ROWS:
        if not row[0].startswith("["):
            number, name = re.fullmatch(r"merged into \[(\d{4})\]\((\S+)\)", row[2]).groups()
            assert name.startswith(number)
            assert (FOLDER / name).exists()


@pytest.mark.parametrize("page", [FOLDER / "README.md", *PAGES], ids=lambda page: page.name)
def test_a_reference_between_pages_leads_to_a_page(page):
    """Links name files that exist, and numbers in brackets are in the index and not merged away."""
    text = page.read_text()
    for name in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (FOLDER / name).exists(), name
    own = {found.name[:4] for found in PAGES}
    assert set(re.findall(r"(?<!\d)(00\d\d)(?![\d:])", text)) - own <= set(NUMBERS)


def test_every_reference_leads_to_a_decision():
    """What code, tests and other pages call a decision is in the index."""
    assert len(SEARCHED) > 200
    found = {(path.name, number) for path in SEARCHED for number in REFERENCE.findall(path.read_text())}
    assert len(found) > 10
    assert not [(name, number) for name, number in found if number not in NUMBERS]
