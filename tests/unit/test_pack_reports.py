"""`provisioner packs`: what it says of packs, to people and to programs, without database and broker."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import seeders
from ops.errors import InvalidInputError, NotFoundError
from ops.packs import reports
from ops.packs.pack_argument import select_all_packs, select_packs

TREE = Path(seeders.__file__).parents[1]
SHIPPED = TREE / "seeders" / "packs"
LINKS = "- slug: a\n- slug: b\n- slug: c\n"
KEYS = "types: [a, b, c, d]\nstates: [good]\n"


def write(root, name, **files):
    """Write a pack that suffices, but for what the files say: `property_a` is properties/a.yml."""
    good = {"pack": "agency: {}\n", "links": LINKS, "field_keys": KEYS}
    for file, text in {**good, **files}.items():
        path = root / name / (f"properties/{file[9:]}.yml" if file.startswith("property_") else f"{file}.yml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


async def check(root, name=None):
    """Check one pack of a folder, or all."""
    return await reports.check_packs(select_packs([root], name) if name else select_all_packs([root]))


async def test_a_good_pack_has_nothing_to_tell(tmp_path):
    """Neither errors, nor warnings, nor consequences."""
    write(tmp_path, "mine", property_a="reference: A\nsale: {price_cents: 1}\n")
    found = await check(tmp_path)
    assert (found["errors"], found["warnings"], found["problems"]) == (0, 0, [])
    [pack] = found["packs"]
    assert pack["rows"] == {"agency": 1, "links": 3, "field_keys": 5, "properties": 1}
    assert (pack["folder"], pack["parents"], pack["fallback"], pack["consequences"]) == (
        *(str(tmp_path / "mine"), []),
        *(True, []),
    )


WRONG = [
    ({"links": "- {slug: a, visible: '1'}\n"}, "links: websites get the defaults instead"),
    ({"pack": "fallback: false\nagency: {}\n", "links": "- {slug: ''}\n"}, "links: websites fail there"),
    ({"field_keys": "types: 3\n"}, "field_keys: websites get the defaults instead"),
    ({"pack": "agency: 3\n"}, "agency: websites get the defaults instead"),
    ({"property_a": "reference: [a]\n"}, "properties: none of them are seeded"),
    ({"property_a": "{}", "property_b": "reference: B\nsale: {price_cents: 1}\n"}, "properties: 1 of them is seeded"),
    ({"pack": "inherits_from: nobody\n"}, "websites that ask for it get the defaults instead"),
    ({"pack": "inherits_from: nobody\nfallback: false\n"}, "websites that ask for it fail"),
    ({"pack": "fallback: false\n"}, "agency: websites fail there"),
]


@pytest.mark.parametrize(("files", "consequence"), WRONG)
async def test_what_an_error_costs_is_told(tmp_path, files, consequence):
    """By step, and whether the pack is strict."""
    write(tmp_path, "mine", **files)
    found = await check(tmp_path)
    assert found["errors"] == 1
    assert found["packs"][0]["consequences"] == [consequence]


@pytest.mark.parametrize(
    ("pack", "kind", "text"),
    [
        ("", "warnings", "mine has 2 links, need 3; defaults are added"),
        ("fallback: false\n", "errors", "mine has 2 links, need 3, and its fallback is off"),
    ],
)
async def test_a_pack_that_brings_too_little_is_told(tmp_path, pack, kind, text):
    """Where defaults fill it up it may be meant; where they do not, websites fail."""
    write(tmp_path, "mine", pack=f"{pack}agency: {{}}\n", links="- slug: a\n- slug: b\n")
    found = await check(tmp_path)
    assert found[kind] == found["errors"] + found["warnings"] == 1
    assert [problem["text"] for problem in found["packs"][0][kind]] == [text]


async def test_every_error_is_told_with_its_place(tmp_path):
    """File, line, entry, key and reason apart, for programs."""
    write(
        tmp_path,
        "mine",
        links="- slug: a\n- slug: b\n  sort_order: x\n- {slug: c, visible: x}\n",
        property_a="reference: A\nbedrooms: x\nsale:\n  price_cents: 450.000\n",
    )
    found = await check(tmp_path)
    places = [
        (error["file"], error["line"], error["entry"], error["key"], error["step"])
        for error in found["packs"][0]["errors"]
    ]
    assert places == [
        ("mine/links.yml", 3, "b", "sort_order", "links"),
        ("mine/links.yml", 4, "c", "visible", "links"),
        ("mine/properties/a.yml", 2, "A", "bedrooms", "properties"),
        ("mine/properties/a.yml", 4, "A", "sale.price_cents", "properties"),
    ]
    assert found["errors"] == 4


async def test_a_folder_is_a_pack_or_holds_packs(tmp_path, monkeypatch):
    """Parents are looked for beside it, and then among the packs that can be found."""
    write(tmp_path / "other", "mine", pack="inherits_from: parent\nagency: {}\n")
    write(tmp_path / "other", "parent", pack="inherits_from: base\nagency: {}\n")
    for wanted in (str(tmp_path / "other" / "mine"), f"{tmp_path}/other/mine/", "mine/.", "./mine", "mine"):
        monkeypatch.chdir(tmp_path / "other")
        found = await reports.check_packs(select_packs([SHIPPED], wanted))
        assert (found["errors"], [pack["parents"] for pack in found["packs"]]) == (0, [["parent", "base"]])
    found = await reports.check_packs(select_packs([SHIPPED], str(tmp_path / "other")))
    assert [pack["name"] for pack in found["packs"]] == ["mine", "parent"]
    monkeypatch.chdir(tmp_path / "other" / "mine")
    assert select_packs([SHIPPED], ".").names == ("mine",)
    with pytest.raises(InvalidInputError, match="no pack is named"):
        select_packs([SHIPPED], " ")


async def test_the_name_of_a_pack_comes_before_a_folder(tmp_path, monkeypatch):
    """A folder that happens to be called like a pack is not checked in its place."""
    write(tmp_path / "packs", "mine")
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    [pack] = (await reports.check_packs(select_packs([tmp_path / "packs"], "mine")))["packs"]
    assert pack["folder"] == str(tmp_path / "packs" / "mine")


def test_what_is_neither_is_named(tmp_path):
    """With the packs that there are; a folder without a pack, and one by an impossible name."""
    write(tmp_path, "My Pack")
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotFoundError, match="no seed pack and no folder 'nobody'; there are base, commercial"):
        select_packs([SHIPPED], "nobody")
    with pytest.raises(InvalidInputError, match=r"has no pack\.yml, and no folder with one"):
        select_packs([SHIPPED], str(tmp_path / "empty"))
    with pytest.raises(InvalidInputError, match="'My Pack' is no pack name; rename the folder"):
        select_packs([SHIPPED], str(tmp_path / "My Pack"))


async def test_folders_that_no_signup_can_ask_for_are_errors(tmp_path):
    """They hold a pack.yml, and no name reaches them."""
    write(tmp_path, "My Pack")
    write(tmp_path, "mine")
    found = await check(tmp_path)
    assert [pack["name"] for pack in found["packs"]] == ["mine"]
    assert found["errors"] == 1
    assert found["problems"][0]["text"].startswith("My Pack: is no pack name")


async def test_a_folder_of_impossible_packs_alone_is_no_folder_without_packs(tmp_path):
    """What is wrong with each is said, not that there is none."""
    write(tmp_path, "My Pack")
    found = await reports.check_packs(select_packs([SHIPPED], str(tmp_path)))
    assert (found["packs"], found["errors"]) == ([], 1)
    assert found["problems"][0]["text"].startswith("My Pack: is no pack name")


@pytest.mark.parametrize("file", ["pack.yaml", "Pack.yml", "links.yml", "Links.yml", "field_keys.yml", "properties"])
async def test_a_folder_with_files_of_a_pack_and_no_head_is_an_error(tmp_path, file):
    """Nobody would look for it in a list of packs; a folder of something else is left alone."""
    write(tmp_path, "mine")
    for folder, name in (("headless", file), ("images", "a.jpg"), (".git", "links.yml")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text("")
    found = await check(tmp_path)
    other = f"has {file}, which is not read; name it pack.yml"
    told = other if file.lower().startswith("pack.") else "has no pack.yml; a seed pack needs one"
    assert [problem["text"] for problem in found["problems"]] == [f"headless: {told}"]
    assert (
        "name its pack.yaml so" in str(await reports.read_pack(select_all_packs([tmp_path]).library, "headless"))
    ) == (file == "pack.yaml")


def test_a_path_that_no_system_takes_is_named():
    """As one line, not as a traceback."""
    with pytest.raises(InvalidInputError, match="cannot be read: File name too long"):
        select_packs([SHIPPED], "x" * 5000)


async def test_a_folder_that_may_not_be_entered_hides_no_other(tmp_path, monkeypatch):
    """The others are listed; the pack that is asked for says why it cannot be read."""
    write(tmp_path, "mine")
    write(tmp_path, "closed")
    honest = Path.is_file

    def is_file(path):
        if path.parent.name == "closed":
            raise PermissionError(13, "Permission denied")
        return honest(path)

    monkeypatch.setattr(Path, "is_file", is_file)
    library = select_packs([tmp_path], "mine").library
    assert library.names() == ["mine"]
    error = str(await reports.read_pack(library, "closed"))
    assert error == "closed: cannot be read (Permission denied); make it readable for the user that runs the workers"


async def test_a_pack_that_hides_another_is_told(tmp_path):
    """Whoever edits the hidden one looks for the change in vain."""
    write(tmp_path, "base")
    library = select_all_packs([tmp_path, SHIPPED]).library
    report = await reports.pack_report(library, "base")
    assert (report["folder"], report["hides"]) == (str(tmp_path / "base"), [str(SHIPPED / "base")])
    assert (report["default"], report["site_types"]) == (True, [])


async def test_a_pack_is_shown_with_its_rows():
    """Parents merged in, for programs."""
    library = select_all_packs([SHIPPED]).library
    shown = await reports.pack_content(library, "residential")
    content = shown["content"]
    assert shown["site_types"] == ["residential"]
    assert {field: len(content[field]) for field in ("links", "field_keys", "properties")} == {
        field: count for field, count in shown["rows"].items() if field != "agency"
    }
    assert content["properties"][0]["sale"]["cents"] > 0
    with pytest.raises(NotFoundError, match="there is no seed pack 'nobody'"):
        await reports.pack_content(library, "nobody")


# ------------------------------------------------------------------------------------------------ the program


@pytest.fixture
def run(tmp_path):
    """Run the program with a folder of packs of its own; return exit code, output and errors."""

    def run(*arguments):
        environment = {"PATH": os.environ["PATH"], "PROVISIONER_PACKS_DIR": str(tmp_path)}
        command = [sys.executable, "-m", "ops", "packs", *arguments]
        done = subprocess.run(
            command, cwd=TREE, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        return done.returncode, done.stdout, done.stderr

    return run


def test_check_ends_with_1_where_there_are_errors(run, tmp_path):
    """And with 0 where there are none, warnings or not; no server is asked."""
    write(tmp_path, "mine", property_a="reference: A\n")
    code, out, err = run("check")
    assert (code, err) == (0, "")
    assert "mine/properties/a.yml, line 1, entry 'A': is offered neither for sale nor for rent" in out
    assert out.endswith("5 packs checked, 0 with errors: 0 errors, 1 warning\n")
    write(tmp_path, "mine", property_a="reference: A\nsale:\n  price_cents: 450.000\n")
    code, out, err = run("check", "mine")
    assert (code, err) == (1, "")
    assert "  error  mine/properties/a.yml, line 3, entry 'A': sale.price_cents is '450.000'" in out
    assert "  so     properties: none of them are seeded\n" in out
    assert out.endswith("1 pack checked, 1 with errors: 1 error, 0 warnings\n")
    code, out, err = run("check", str(tmp_path / "mine"), "--json")
    assert (code, json.loads(out)["errors"], err) == (1, 1, "")


def test_list_and_show_say_what_there_is(run, tmp_path):
    """A pack of one's own beside those that ship."""
    write(tmp_path, "mine", pack="inherits_from: base\nagency: {display_name: Mine}\nfallback: false\n")
    code, out, err = run("list")
    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    assert ["mine", "base", "yes", "15", "40", "0", "0", "0", str(tmp_path / "mine")] in lines
    assert [pack["name"] for pack in json.loads(run("list", "--json")[1])["packs"]] == [
        *("base", "commercial", "mine", "residential", "vacation_rental"),
    ]
    code, out, err = run("show", "mine")
    assert (code, err) == (0, "")
    for words in ("parents: base", "fallback: none", "agency: display_name Mine", "15 links: ", "40 field keys"):
        assert words in out
    code, out, err = run("show", "residential")
    assert (code, err) == (0, "")
    assert "RES-S1" in out
    assert json.loads(run("show", "mine", "--json")[1])["content"]["agency"]["display_name"] == "Mine"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("check", "nobody"), "there is no seed pack and no folder 'nobody'"),
        (("check", "docs"), "docs has no pack.yml"),
        (("show", "nobody"), "there is no seed pack 'nobody'; there are base"),
        (("show", "../x"), "'../x' is no pack name"),
    ],
)
def test_what_is_not_there_is_one_line(run, arguments, words):
    """And exit code 1."""
    code, out, err = run(*arguments)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert words in err


def test_what_a_pack_says_moves_no_cursor(run, tmp_path):
    """Escapes in names, values and keys are shown, not carried out."""
    (tmp_path / "mine" / "properties").mkdir(parents=True)
    (tmp_path / "mine" / "pack.yml").write_text('"\\e[31mred": 1\nagency: {display_name: "\\e[2J\\u202e"}\n')
    (tmp_path / "mine" / "properties" / "\x1b[31m.yml").write_text('reference: "\\e[2J"\nbedrooms: "\\e[2J"\n')
    for command in (("check", "mine"), ("show", "mine"), ("list",), ("show", "mine", "--json")):
        _, out, err = run(*command)
        assert all(character.isprintable() or character == "\n" for character in out + err), command
