"""What the composition root puts together."""

from pathlib import Path

import structlog

from consumer.app import make_packs
from consumer.config import Settings


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
    assert warned[0]["reason"] == "odd/properties/00.yml: R00 is offered neither for sale nor for rent"
    assert warned[-1]["reason"] == "and 5 more"
