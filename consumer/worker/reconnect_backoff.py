"""A backoff that waits longer each time, with full jitter. Knows nothing of what is waited for."""

import asyncio
import random
from collections.abc import Awaitable, Callable


class Backoff:
    """How long to wait before the next try, in seconds: between 0 and a bound that doubles up to `cap`."""

    def __init__(
        self,
        start: float,
        cap: float,
        *,
        uniform: Callable[[float, float], float] = random.uniform,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._start, self._cap = start, cap
        self._uniform, self._sleep = uniform, sleep
        self._bound = start

    def reset(self) -> None:
        """Begin anew: the last try went well."""
        self._bound = self._start

    async def wait(self) -> None:
        """Wait before the next try."""
        bound, self._bound = self._bound, min(self._cap, self._bound * 2)
        # At least a tenth: a jitter of nearly 0 many times over would be a hot loop.
        await self._sleep(self._uniform(bound / 10, bound))
