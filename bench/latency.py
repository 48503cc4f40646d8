"""Latency at a steady rate: from the moment a signup is published to the moment its website is live."""

import asyncio
import time
from dataclasses import dataclass

from bench.arena import Contestant, Servers, running
from bench.exactness import check
from bench.figures import percentile
from ops.publishing import publish_all


@dataclass(frozen=True, slots=True)
class Latency:
    """One run: how long each website took, in milliseconds."""

    contestant: str
    milliseconds: list[float]

    @property
    def p50(self) -> float:
        """Half of all websites took no longer."""
        return percentile(self.milliseconds, 0.5)

    @property
    def p99(self) -> float:
        """All but one of a hundred took no longer."""
        return percentile(self.milliseconds, 0.99)


async def latency(servers: Servers, contestant: Contestant, *, rate: float, seconds: float) -> Latency:
    """Publish `rate` signups a second, evenly, whatever becomes of them."""
    async with running(servers, contestant) as run:
        ids = run.next_ids(int(rate * seconds))
        published: dict[int, float] = {}
        began = time.monotonic()
        async with asyncio.TaskGroup() as publishes:
            for number, website_id in enumerate(ids):
                await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
                published[website_id] = time.time()
                publishes.create_task(publish_all(run.signup_system, [run.signup(website_id)]))
        await run.until_live(run.signed_up)
        live = await run.live_since()
        await run.stop()
        await check(run)
    return Latency(contestant.name, [(live[website_id] - when) * 1000 for website_id, when in published.items()])
