"""Section H: guards that change under one's hands, packs that are bad, and second chances."""

import threading
from pathlib import Path
from typing import Any

import pytest

from seeders.loading import pack_library
from tests.factories import SEQ
from tests.faults.turnstile import Turnstile
from tests.invariants import check_all
from tests.service import Start, strict_pack


@pytest.mark.fault(95)
async def test_a_guard_broken_after_its_step(start: Start, turnstile: Turnstile, tmp_path: Path) -> None:
    """A rival deletes links while the step stands under its lock: the facts are read after, and it fails by name."""
    strict_pack(tmp_path, 3)
    async with start() as service:
        turnstile.shut("stepped", skip=SEQ["ready"] - 1)
        await service.created(1, seed_pack="strict")
        await turnstile.stand("stepped")
        await service.lose_links(1, keep=2)
        turnstile.open("stepped")
        row = await service.reaches(1, "failed")
        assert row["provisioning_failed_from"] == "properties_seeded", "it stood at mark_ready"
        assert "links (have 2, need 3)" in row["provisioning_error"]
        assert await check_all(service.connection, service.events()) == {"failed": 1}


@pytest.mark.fault(95)
async def test_a_guard_broken_after_its_verdict(start: Start, turnstile: Turnstile, tmp_path: Path) -> None:
    """A rival deletes links between verdict and COMMIT of a step: the next guard over all of them sees it."""
    strict_pack(tmp_path, 3)
    async with start() as service:
        turnstile.shut("judged", skip=SEQ["field_keys_created"] - 1)
        await service.created(1, seed_pack="strict")
        await turnstile.stand("judged")
        await service.lose_links(1, keep=2)
        turnstile.open("judged")
        row = await service.reaches(1, "failed")
        assert row["provisioning_failed_from"] == "properties_seeded"
        assert "links (have 2, need 3)" in row["provisioning_error"]
        assert await check_all(service.connection, service.events()) == {"failed": 1}


@pytest.mark.fault(97)
@pytest.mark.parametrize("bad", ["missing", "broken", "two links", "nothing"])
async def test_a_bad_pack(start: Start, tmp_path: Path, bad: str) -> None:
    """A pack that is not there, no YAML, short, or empty: the defaults make up for it, and history says so."""
    if bad != "missing":
        pack = tmp_path / "bad"
        pack.mkdir()
        (pack / "pack.yml").write_text("name: bad\ndisplay_name: Bad\nagency: {display_name: Bad Homes}\n")
        if bad == "broken":
            (pack / "links.yml").write_text("- {slug: [")
        if bad == "two links":
            (pack / "links.yml").write_text("- {slug: a, link_url: /a}\n- {slug: b, link_url: /b}\n")
    async with start() as service:
        await service.created(1, seed_pack="bad")
        await service.reaches(1, "live")
        fallbacks = [row["detail"] for row in await service.history(1) if '"fallback": {' in _spaced(row["detail"])]
        assert fallbacks, "the fault fired: something fell back"
        assert await service.links(1) >= 3
        assert await check_all(service.connection, service.events()) == {"live": 1}


def _spaced(detail: str) -> str:
    return detail.replace('":{', '": {')


@pytest.mark.fault(98)
async def test_a_pack_that_hangs(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pack on a file server that is dead: cut by the time limit, history says so, neighbours are not held up."""
    go, began = threading.Event(), []
    honest = pack_library.read_pack

    def hanging(root: Path, head: Any, images_url: str) -> Any:
        if head.name == "hangs":
            began.append(head.name)
            go.wait(30)
        return honest(root, head, images_url)

    monkeypatch.setattr(pack_library, "read_pack", hanging)
    monkeypatch.setattr(pack_library, "LOAD_SECONDS", 0.2)
    (tmp_path / "hangs").mkdir()
    (tmp_path / "hangs" / "pack.yml").write_text("name: hangs\ndisplay_name: Hangs\n")
    try:
        async with start() as service:
            await service.created(1, seed_pack="hangs")
            await service.created(2)
            await service.reaches(2, "live")
            await service.reaches(1, "live")
            assert began, "somebody hangs in the file system, even now"
            assert any("could not be read within" in row["detail"] for row in await service.history(1))
            assert await check_all(service.connection, service.events()) == {"live": 2}
    finally:
        go.set()


HONEST_KEYS = "types:\n" + "".join(f"  t{n}: {{en: Type {n}}}\n" for n in range(6))


def greedy_pack(folder: Path, *, doubles: bool) -> None:
    """Write a pack whose entries claim ids and a website for themselves, and perhaps stand there twice."""
    pack = folder / "greedy"
    (pack / "properties").mkdir(parents=True)
    (pack / "pack.yml").write_text(
        "name: greedy\ndisplay_name: Greedy\nwebsite_id: 2\nagency: {id: 1, website_id: 2, display_name: Greedy}\n"
    )
    links = range(6 if doubles else 3)
    (pack / "links.yml").write_text(
        "".join(f"- {{slug: l{n % 3}, link_url: /{n}, id: 1, website_id: 2, pwb_website_id: 2}}\n" for n in links)
    )
    (pack / "field_keys.yml").write_text(HONEST_KEYS)
    for name in ("one", "two"):
        reference = "SAME" if doubles else name
        (pack / "properties" / f"{name}.yml").write_text(
            f"reference: {reference}\nwebsite_id: 2\nid: 1\nprop_type: types.t1\nsale: {{title: A, price_cents: 9}}\n"
        )


@pytest.mark.fault(99)
@pytest.mark.parametrize("doubles", [False, True])
async def test_a_pack_with_doubles_or_foreign_ids(start: Start, tmp_path: Path, doubles: bool) -> None:
    """Ids and a website that entries claim are nobody's; entries that stand there twice cost their own step."""
    greedy_pack(tmp_path, doubles=doubles)
    async with start() as service:
        await service.created(2)
        await service.reaches(2, "live")
        tables = ("pwb_links", "pwb_agencies", "pwb_realty_assets")
        of_two = "SELECT array_agg(t::text ORDER BY id) FROM {} AS t WHERE website_id = 2"
        before = [await service.connection.fetchval(of_two.format(table)) for table in tables]
        await service.created(1, seed_pack="greedy")
        await service.reaches(1, "live")
        assert [await service.connection.fetchval(of_two.format(table)) for table in tables] == before
        name = await service.connection.fetchval("SELECT display_name FROM pwb_agencies WHERE website_id = 1")
        assert name == "Greedy", "what is wrong with the links leaves the agency as it is"
        refused = [row for row in await service.history(1) if " stands there twice" in row["detail"]]
        assert bool(refused) == doubles
        ours = "SELECT count(*) FROM pwb_realty_assets WHERE website_id = 1"
        assert await service.connection.fetchval(ours) == (1 if doubles else 2)
        assert await service.links(1) == (4 if doubles else 3)
        assert await check_all(service.connection, service.events()) == {"live": 2}


@pytest.mark.fault(100)
async def test_with_properties_and_without(start: Start) -> None:
    """Both ways are legal; only one leaves sample properties."""
    async with start() as service:
        await service.created(1)
        await service.created(2, skip_properties=True)
        for website_id, trigger in ((1, "seed_properties"), (2, "skip_properties")):
            await service.reaches(website_id, "live")
            assert trigger == (await service.history(website_id))[SEQ["properties_seeded"] - 1]["trigger"]
        counts = await service.connection.fetch(
            "SELECT website_id FROM pwb_realty_assets GROUP BY 1 HAVING count(*) > 0"
        )
        assert [row["website_id"] for row in counts] == [1]
        assert await check_all(service.connection, service.events()) == {"live": 2}


@pytest.mark.fault(101)
async def test_a_retry_with_all_data_present(start: Start) -> None:
    """A website failed at ready has everything: its retry makes nothing twice, and its times are right."""
    rows = """SELECT array_agg(id ORDER BY id) FROM (
        SELECT 'link' || id AS id FROM pwb_links UNION ALL SELECT 'key' || global_key FROM pwb_field_keys
        UNION ALL SELECT 'agency' || id FROM pwb_agencies UNION ALL SELECT 'asset' || id FROM pwb_realty_assets) AS t"""
    async with start() as service:
        await service.created(1, auto_go_live=False)
        await service.reaches(1, "ready")
        before = await service.connection.fetchval(rows)
        started = (await service.website(1))["provisioning_started_at"]
        await service.command("fail_provisioning", 1, reason="a test")
        failed = await service.reaches(1, "failed")
        assert failed["provisioning_failed_at"]
        await service.command("retry_provisioning", 1)
        await service.reaches(1, "ready")
        await service.command("go_live", 1)
        row = await service.reaches(1, "live")
        assert await service.connection.fetchval(rows) == before
        assert row["provisioning_started_at"] == started, "the first time only"
        assert row["provisioning_failed_at"] is None
        assert row["provisioning_error"] is None
        assert row["provisioning_completed_at"]
        assert await check_all(service.connection, service.events()) == {"live": 1}
