"""Which files of a folder are a pack's: what editors, systems and people leave beside them is not."""

import os
from pathlib import Path

import pytest

from seeders.loading.pack_library import PackLibrary

HOUSE = "reference: A\nsale: {price_cents: 1}\n"
GARBAGE = b"    Mac OS X        \xff\xfe\x00"
STRAYS = [
    "._a.yml", ".#a.yml", "#a.yml#", "a.yml~", ".a.yml", ".a.yml.swp", "a.yml.swp", "~$a.yml", ".DS_Store", "Thumbs.db",
    "desktop.ini", "a.yml.bak", "a.yml.orig", ".hidden.yml", "#a.yml", ".gitkeep", ".nfs0000000001", ".~lock.a.yml#",
]  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """The folder of a pack with a link and a property."""
    folder = tmp_path / "mine"
    (folder / "properties").mkdir(parents=True)
    (folder / "pack.yml").write_text("name: mine\n")
    (folder / "links.yml").write_text("- slug: a\n")
    (folder / "properties" / "a.yml").write_text(HOUSE)
    return folder


async def read(folder):
    return await PackLibrary([folder.parent]).get("mine")


@pytest.mark.parametrize("where", [".", "properties"])
@pytest.mark.parametrize("stray", STRAYS)
async def test_hidden_editor_and_system_files_are_not_part_of_a_pack(folder, stray, where):
    """Neither errors nor warnings, wherever they lie."""
    (folder / where / stray).write_bytes(GARBAGE)
    pack = await read(folder)
    assert (pack.errors, pack.warnings) == ((), ())
    assert ([link.slug for link in pack.links], [entry.reference for entry in pack.properties]) == (["a"], ["A"])


@pytest.mark.parametrize("name", [".#a.yml", "gone.yml", "links.yml", "field_keys.yml"])
async def test_links_that_lead_nowhere_are_not_part_of_a_pack(folder, name):
    """Emacs leaves one beside a file that somebody is editing."""
    where = folder if name in ("links.yml", "field_keys.yml") else folder / "properties"
    (where / name).unlink(missing_ok=True)
    (where / name).symlink_to("ana@laptop.4711:1")
    pack = await read(folder)
    assert pack.errors == ()
    assert [entry.reference for entry in pack.properties] == ["A"]


async def test_links_that_lead_somewhere_are(folder):
    """A property may be shared among packs."""
    shared = folder.parent / "shared.yml"
    shared.write_text("reference: B\nsale: {price_cents: 1}\n")
    (folder / "properties" / "b.yml").symlink_to(shared)
    assert [entry.reference for entry in (await read(folder)).properties] == ["A", "B"]


@pytest.mark.parametrize("name", ["b.yml", "links.yml"])
async def test_what_is_no_file_is_not_opened(folder, name):
    """A folder by the name of a file, and a pipe, which would never end."""
    where = folder if name == "links.yml" else folder / "properties"
    (where / name).unlink(missing_ok=True)
    (where / name).mkdir()
    os.mkfifo(folder / "properties" / "pipe.yml")
    pack = await read(folder)
    assert (pack.errors, [entry.reference for entry in pack.properties]) == ((), ["A"])


@pytest.mark.parametrize("stray", ["._mine", ".git", "#mine#", "__MACOSX"])
async def test_hidden_folders_are_no_packs(folder, stray):
    """A folder that a packing program left is not listed."""
    (folder.parent / stray).mkdir()
    (folder.parent / stray / "pack.yml").write_text("name: stray\n")
    assert PackLibrary([folder.parent]).names() == ["mine"]


async def test_a_pack_whose_head_leads_nowhere_is_no_pack(folder):
    """It is not listed either."""
    (folder / "pack.yml").unlink()
    (folder / "pack.yml").symlink_to("nowhere")
    assert PackLibrary([folder.parent]).names() == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("links.yaml", "is not read; name it .yml"),
        ("properties/b.yaml", "is not read; name it .yml"),
        ("agency.yml", "is not read: it is no file of a pack"),
        ("properties/b.json", "is not read: it is no file of a pack"),
        ("property", "is not read: it is no file of a pack"),
    ],
)
async def test_what_looks_like_a_part_of_the_pack_and_is_none_is_a_warning(folder, name, reason):
    """Else whoever wrote it would look for its entries in vain."""
    (folder / name).write_text("- slug: b\n")
    pack = await read(folder)
    assert list(map(str, pack.warnings)) == [f"mine/{name}: {reason}"]
    assert pack.errors == ()


@pytest.mark.parametrize(
    "name", ["README.md", "LICENSE.txt", "pages", "images", "content", "translations", "page_parts"]
)
async def test_what_the_existing_product_reads_is_left_alone(folder, name):
    """And so are notes."""
    (folder / name).mkdir()
    assert (await read(folder)).warnings == ()


async def test_properties_that_cannot_be_listed_are_an_error(folder, monkeypatch):
    """Not a pack without properties."""
    listed = Path.iterdir

    def iterdir(path):
        if path.name == "properties":
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    pack = await read(folder)
    remedy = "make it readable for the user that runs the workers"
    assert list(map(str, pack.errors)) == [f"mine/properties: cannot be read (PermissionError); {remedy}"]
    assert [link.slug for link in pack.links] == ["a"]
