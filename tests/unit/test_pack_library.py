"""How the library behaves while a file system hangs, many ask at once, or names never end."""

import asyncio
import os
import threading

import pytest

from seeders.loading import pack_library
from seeders.loading.pack_library import MAX_GENERATIONS, MAX_KEPT, PackLibrary
from seeders.pack_problems import PackError


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def write(root, name, links="", **heads):
    """Write a pack with links and heads."""
    (root / name).mkdir(parents=True, exist_ok=True)
    (root / name / "pack.yml").write_text("".join(f"{key}: {value}\n" for key, value in heads.items()))
    (root / name / "links.yml").write_text(links)


@pytest.fixture
def stuck(monkeypatch):
    """Makes every reading wait like a file system that hangs, until it is let go; counts how many began."""
    go, began = threading.Event(), []
    read = pack_library.read_pack

    def hang(root, head, images_url):
        began.append(head.name)
        go.wait(30)
        return read(root, head, images_url)

    monkeypatch.setattr(pack_library, "read_pack", hang)
    monkeypatch.setattr(pack_library, "LOAD_SECONDS", 0.05)
    yield go, began
    go.set()


@pytest.mark.fault(98)
async def test_a_file_system_that_hangs_is_a_bad_pack(tmp_path, stuck):
    """After the time that a step may wait, and with the event loop free all along."""
    write(tmp_path, "mine")
    ticks = 0

    async def tick():
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.001)

    ticking = asyncio.create_task(tick())
    with pytest.raises(PackError, match=r"mine: could not be read within 0\.05 s"):
        await PackLibrary([tmp_path]).get("mine")
    ticking.cancel()
    assert ticks > 1, "the first comes before the reading begins"


async def test_who_asks_while_it_hangs_waits_no_longer_and_starts_no_thread(tmp_path, stuck):
    """The time counts from the first asker, and one thread hangs, not one a website."""
    write(tmp_path, "mine")
    clock = Clock()
    packs = PackLibrary([tmp_path], clock=clock)
    with pytest.raises(PackError):
        await packs.get("mine")
    clock.now += 1
    async with asyncio.timeout(1):
        for _ in range(50):
            with pytest.raises(PackError):
                await packs.get("mine")
    assert stuck[1] == ["mine"]


async def test_it_is_read_once_the_file_system_answers(tmp_path, stuck):
    """The thread that hung brings what it read."""
    write(tmp_path, "mine", "- slug: a\n")
    packs = PackLibrary([tmp_path])
    with pytest.raises(PackError):
        await packs.get("mine")
    stuck[0].set()
    async with asyncio.timeout(60):
        while True:
            try:
                pack = await packs.get("mine")
                break
            except PackError:
                await asyncio.sleep(0.001)
    assert [link.slug for link in pack.links] == ["a"]


async def test_what_was_read_before_is_served_while_it_hangs(tmp_path, monkeypatch):
    """A website gets its pack, though it cannot be said whether somebody has edited it since."""
    write(tmp_path, "mine", "- slug: a\n")
    clock, go = Clock(), threading.Event()
    packs = PackLibrary([tmp_path], clock=clock)
    first = await packs.get("mine")
    monkeypatch.setattr(pack_library, "LOAD_SECONDS", 0.05)

    def hang(*_):
        go.wait(30)
        return []

    monkeypatch.setattr(pack_library, "files_of", hang)
    clock.now += 1
    assert await packs.get("mine") is first
    go.set()


async def test_many_who_ask_at_once_share_one_reading(tmp_path, monkeypatch):
    """Fifty websites of a burst, one look at the files."""
    write(tmp_path, "burst")
    read, reads = pack_library.read_pack, []
    monkeypatch.setattr(pack_library, "read_pack", lambda root, head, _: reads.append(head.name) or read(root, head))
    packs = PackLibrary([tmp_path])
    got = await asyncio.gather(*(packs.get("burst") for _ in range(50)))
    assert len(set(map(id, got))) == 1
    assert reads.count("burst") == 1  # a thread that another test let go may still read its own pack


async def test_one_who_is_cancelled_does_not_take_the_others_with_him(tmp_path, stuck):
    """The reading is nobody's own."""
    pack_library.LOAD_SECONDS = 10
    write(tmp_path, "mine")
    packs = PackLibrary([tmp_path])
    first, second = (asyncio.create_task(packs.get("mine")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    stuck[0].set()
    assert (await second).name == "mine"
    assert first.cancelled()


async def test_names_without_end_do_not_fill_the_memory(tmp_path):
    """What was kept longest is forgotten, and impossible names are not kept at all."""
    packs = PackLibrary([tmp_path])
    for number in range(MAX_KEPT + 20):
        with pytest.raises(PackError):
            await packs.get(f"pack_{number}")
        with pytest.raises(PackError):
            await packs.get(f"../{number}")
    assert len(packs._kept) == MAX_KEPT


async def test_generations_end(tmp_path):
    """A chain of parents has a limit, and the file at which it is crossed is named."""
    for number in range(MAX_GENERATIONS + 1):
        write(tmp_path, f"p{number}", inherits_from=f"p{number + 1}")
    write(tmp_path, f"p{MAX_GENERATIONS + 1}")
    with pytest.raises(PackError, match=rf"^p{MAX_GENERATIONS - 1}/pack.yml, line 1: .*there are more than"):
        await PackLibrary([tmp_path]).get("p0")
    assert (await PackLibrary([tmp_path]).get("p2")).name == "p2"


async def test_an_edit_that_keeps_time_and_size_is_noticed(tmp_path):
    """An editor or rsync may put a file of the same size and time in its place; it is another file."""
    clock = Clock()
    write(tmp_path, "mine", "- slug: a\n")
    packs = PackLibrary([tmp_path], clock=clock)
    await packs.get("mine")
    path = tmp_path / "mine" / "links.yml"
    stat = path.stat()
    other = path.with_suffix(".new")
    other.write_text("- slug: b\n")
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    other.replace(path)
    clock.now += 1
    assert [link.slug for link in (await packs.get("mine")).links] == ["b"]


@pytest.mark.parametrize(("said", "kept"), [("03724", "03724"), ("12:30", "12:30"), ("46005", "46005"), ("0", "0")])
async def test_a_postal_code_that_begins_with_a_zero_keeps_it(tmp_path, said, kept):
    """YAML 1.1 reads octal numbers: Alicante's 03724 would be 2004."""
    write(tmp_path, "mine")
    (tmp_path / "mine" / "properties").mkdir()
    (tmp_path / "mine" / "properties" / "a.yml").write_text(f"reference: A\npostal_code: {said}\n")
    [entry] = (await PackLibrary([tmp_path]).get("mine")).properties
    assert entry.columns["postal_code"] == kept


async def test_a_childs_entry_stands_where_its_parents_stood(tmp_path):
    """Order is the parent's, and what is the child's alone comes after; field keys are numbered so."""
    write(tmp_path, "parent", "- slug: a\n- slug: b\n")
    write(tmp_path, "child", "- slug: c\n- slug: a\n", inherits_from="parent")
    (tmp_path / "parent" / "field_keys.yml").write_text("types: [x, y]\n")
    (tmp_path / "child" / "field_keys.yml").write_text("types: [z, x]\n")
    pack = await PackLibrary([tmp_path]).get("child")
    assert [link.slug for link in pack.links] == ["a", "b", "c"]
    assert [(key.global_key, key.sort_order) for key in pack.field_keys] == [("x", 1), ("y", 2), ("z", 3)]


async def test_warnings_are_told_when_a_pack_is_read(tmp_path):
    """Once for each reading, and again once its files have changed; never for each website that asks."""
    write(tmp_path, "mine")
    (tmp_path / "mine" / "properties").mkdir()
    (tmp_path / "mine" / "properties" / "a.yml").write_text("reference: A\n")
    clock, told = Clock(), []
    packs = PackLibrary([tmp_path], clock=clock, warn=lambda name, warnings: told.append((name, *map(str, warnings))))
    for _ in range(3):
        await packs.get("mine")
        clock.now += 1
    assert told == [
        ("mine", "mine/properties/a.yml, line 1, entry 'A': is offered neither for sale nor for rent"),
    ]
    (tmp_path / "mine" / "properties" / "a.yml").write_text("reference: A\nsale: {price_cents: 100}\n")
    await packs.get("mine")
    assert len(told) == 1
    (tmp_path / "mine" / "properties" / "a.yml").write_text("reference: AA\n")
    clock.now += 1
    await packs.get("mine")
    assert len(told) == 2


async def test_a_picture_that_is_added_or_removed_changes_its_address(tmp_path):
    """Where a picture lies says what its address is; without an address for pictures nobody looks."""
    root, clock = tmp_path / "packs", Clock()
    write(root, "mine")
    (root / "mine" / "properties").mkdir()
    villa = "reference: R-1\nprice_sale_current_cents: 1\nimage: villa\n"
    (root / "mine" / "properties" / "villa.yml").write_text(villa)
    shared = tmp_path / "images"
    shared.mkdir()
    packs = PackLibrary([root], images_url="http://images.example", clock=clock)

    async def address():
        clock.now += 1
        (villa,) = (await packs.get("mine")).properties
        return villa.photo_url

    assert await address() == "http://images.example/packs/mine/villa.jpg"
    (shared / "villa.jpg").touch()
    assert await address() == "http://images.example/seeds/villa.jpg"
    (shared / "villa.jpg").unlink()
    assert await address() == "http://images.example/packs/mine/villa.jpg"
