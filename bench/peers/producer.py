"""The signup system, in a process of its own: a peer's messages can only be written by the peer's library.

`python -m bench.peers.producer MODULE FIRST LAST [RATE]` signs those websites up, RATE a second or as fast as it goes,
and prints when each was handed over, as JSON.
"""

import asyncio
import importlib
import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from bench.arena import signup_of

SignUp = Callable[[dict[str, Any]], Awaitable[None]]
"""Signs one website up, given the body of its website.created; returns when the broker has it."""


async def produce(module: str, first: int, last: int, rate: float | None) -> dict[int, float]:
    """Sign websites up; return when, in seconds since 1970."""
    peer = importlib.import_module(f"bench.peers.{module}")
    published: dict[int, float] = {}
    async with peer.producer() as sign_up:
        began = time.monotonic()
        for website_id in range(first, last + 1):
            if rate:
                await asyncio.sleep(max(0.0, began + (website_id - first) / rate - time.monotonic()))
            published[website_id] = time.time()
            await sign_up(signup_of(website_id))
    return published


if __name__ == "__main__":
    _, name, *numbers = sys.argv
    first_id, last_id = (int(number) for number in numbers[:2])
    print(json.dumps(asyncio.run(produce(name, first_id, last_id, float(numbers[2]) if numbers[2:] else None))))
