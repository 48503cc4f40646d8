"""Section A, beyond the deaths at each await and failpoint in tests/acceptance/test_crash_everywhere.py."""

import asyncio
import random

import pytest

from tests.faults.conftest import Scaled
from tests.faults.scene import Scene

KILL_EVERY_SECONDS = 0.3
BURST = 20


@pytest.mark.fault(19)
async def test_one_of_four_killed_again_and_again(scene: Scene, scaled: Scaled) -> None:
    """One of four workers dies every 300 ms while signups keep coming; whatever the fuse threw out can be redriven."""
    dice = random.Random(19)
    loop = asyncio.get_running_loop()
    kills = 0
    for _ in range(4):
        await scene.start()
    end = loop.time() + scaled(3, 60)
    while loop.time() < end:
        await scene.sign_up(BURST)
        strike = loop.time() + KILL_EVERY_SECONDS
        await scene.zygote.kill(dice.choice(sorted(scene.zygote.running)))
        kills += 1
        await scene.start()
        # The catalogue's own rhythm: this is the fault, and not a wait for something.
        await asyncio.sleep(max(0.0, strike - loop.time()))
    assert kills >= 5, "workers died in mid-work"
    # Innocents whose holders died 21 times lie in the dead letters without a reason of ours: they are still good.
    thrown_out = await scene.redrive()
    assert thrown_out <= kills * BURST
    await scene.reckon({"live": scene.signed_up}, seconds=120)
