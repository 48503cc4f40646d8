"""What the composition root puts together."""

from pathlib import Path

import structlog

from consumer.config import Settings
from consumer.factories import make_packs


async def test_warnings_of_a_pack_are_logged(tmp_path: Path) -> None:
    """The log says which pack, and what is odd about it; of very many warnings it says the first and how many more."""
    folder = tmp_path / "odd" / "properties"
    folder.mkdir(parents=True)
    (tmp_path / "odd" / "pack.yml").write_text("name: odd\ndisplay_name: Odd\n")
    for number in range(25):
        (folder / f"{number:02}.yml").write_text(f"reference: R{number:02}\n")
    with structlog.testing.capture_logs() as lines:
        await make_packs(Settings(packs_dir=tmp_path)).get("odd")
    warned = [line for line in lines if line["event"] == "pack warning"]
    assert [line["pack"] for line in warned] == ["odd"] * 21
    assert warned[0]["reason"] == "odd/properties/00.yml, line 1, entry 'R00': is offered neither for sale nor for rent"
    assert warned[-1]["reason"] == "and 5 more"


async def test_a_warning_of_a_pack_is_logged_once(tmp_path: Path) -> None:
    """Whichever packs inherit from it, and however often they are read."""
    for name, text in (
        ("old", "users: [{email: a@b.example}]\n"),
        ("one", "inherits_from: old\n"),
        ("two", "inherits_from: old\n"),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "pack.yml").write_text(text)
    packs = make_packs(Settings(packs_dir=tmp_path))
    with structlog.testing.capture_logs() as lines:
        for name in ("one", "two", "old"):
            await packs.get(name)
    warned = [(line["pack"], line["reason"]) for line in lines if line["event"] == "pack warning"]
    assert warned == [("one", "old/pack.yml: brings what this service does not seed: users")]
