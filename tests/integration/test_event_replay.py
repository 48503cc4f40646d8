"""Events replayed out of the log: the same ones, in order, of the span and the website that were asked for."""

from pathlib import Path
from typing import Any

import pytest

from consumer.store.database import Store
from ops.audit.queries import recent_actions
from ops.websites import event_replay
from ops.websites.event_replay import replay
from tests.factories import STEPS
from tests.service import NAMESPACE, SEEN, Service, Start, Watched, starter

WHO: dict[str, Any] = {"actor": "cli:ana", "reason": "its queue was lost"}


@pytest.fixture
def start(database_url: str, tmp_path: Path) -> Start:
    """Start a service with settings of the test's choice."""
    return starter(database_url, tmp_path)


async def lose(service: Service) -> None:
    """Lose the subscriber's queue with all that was in it; it makes a new one."""
    service.broker.delete_queue(SEEN)
    await service.broker.declare(Watched(NAMESPACE))
    assert service.events() == []


async def test_events_are_published_again(start: Start, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A subscriber who lost all gets all again, same ids and bodies, each website's in order, across pages of the log;
    what is older than asked for, or another website's, stays out; it is recorded."""
    monkeypatch.setattr(event_replay, "PAGE_ROWS", 5)
    monkeypatch.setattr(event_replay, "PAGE_ROWS_OF_ONE_WEBSITE", 3)
    monkeypatch.setattr(event_replay, "BATCH_SIZE", 4)
    async with start() as service:
        for website_id in (1, 2, 3):
            await service.created(website_id)
            await service.reaches(website_id, "live")
        first = service.events()
        assert len(first) == 3 * STEPS
        await lose(service)
        everything: dict[str, Any] = {"since_seconds": 3600, "website_id": None, **WHO}
        counted = await replay(store, service.broker, NAMESPACE, **everything, dry_run=True)
        assert (counted["events"], service.events()) == (3 * STEPS, [])
        told = await replay(store, service.broker, NAMESPACE, **everything, rate=1000)
        assert told == {"events": 3 * STEPS, "refused": 0, "dry_run": False, "pruned_websites": 0}
        again = service.events()
        assert sorted(again, key=lambda item: item["message_id"]) == sorted(first, key=lambda item: item["message_id"])
        for website_id in (1, 2, 3):
            seqs = [item["body"]["seq"] for item in again if item["body"]["website_id"] == website_id]
            assert seqs == list(range(1, STEPS + 1))
        await lose(service)
        await service.connection.execute("UPDATE provisioning_transitions SET occurred_at = now() - interval '1 day' "
                                         f"WHERE website_id = 2 AND seq < {STEPS}")  # fmt: skip
        await replay(store, service.broker, NAMESPACE, since_seconds=3600, website_id=2, **WHO)
        assert [(item["body"]["website_id"], item["type"]) for item in service.events()] == [(2, "website.live")]
        service.broker.nack_next(1)
        told = await replay(store, service.broker, NAMESPACE, since_seconds=3600, website_id=1, **WHO)
        assert (told["events"], told["refused"]) == (STEPS, 1)
        _, act, earlier = await recent_actions(store)
        assert (act["verb"], act["website_id"], act["outcome"]) == ("replay", 2, "1 events, 0 refused")
        assert (earlier["actor"], earlier["outcome"]) == ("cli:ana", f"{3 * STEPS} events, 0 refused")
