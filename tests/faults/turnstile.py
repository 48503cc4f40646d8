"""Barriers at failpoints: work stands still at a named place until the test lets it go on. Races are made with them."""

import asyncio
from collections import Counter

import pytest

import consumer.provisioning.use_case
import consumer.worker.delivery_loop
import consumer.worker.delivery_settlement
from consumer.failpoints import reach as honest
from tests.worker_processes import until


class Turnstile:
    """Stands in for `reach` of the use case, of the worker and of settlement, in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passed: Counter[str] = Counter()
        self.standing: Counter[str] = Counter()
        self._shut: dict[str, tuple[int, int, asyncio.Event]] = {}
        monkeypatch.setattr(consumer.provisioning.use_case, "reach", self.reach)
        monkeypatch.setattr(consumer.worker.delivery_loop, "reach", self.reach)
        monkeypatch.setattr(consumer.worker.delivery_settlement, "reach", self.reach)

    def shut(self, name: str, skip: int = 0, count: int = 1) -> None:
        """Hold the next `count` who come to a place, after letting `skip` of them by."""
        self._shut[name] = (self.passed[name] + skip, count, asyncio.Event())

    async def reach(self, name: str) -> None:
        """Stand there, if it is shut."""
        number = self.passed[name]
        self.passed[name] += 1
        first, count, opened = self._shut.get(name, (0, 0, asyncio.Event()))
        if first <= number < first + count:
            self.standing[name] += 1
            async with asyncio.timeout(60):
                await opened.wait()
            self.standing[name] -= 1
        await honest(name)  # type: ignore[arg-type]

    async def stand(self, name: str, count: int = 1) -> None:
        """Wait until so many stand there: the fault has fired."""

        async def there() -> bool:
            return self.standing[name] >= count

        await until(there, 60, f"{count} standing at {name}")

    def open(self, name: str) -> None:
        """Let them go."""
        self._shut[name][2].set()
