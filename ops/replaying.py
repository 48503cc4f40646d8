"""Publishes events again out of the log, for subscribers who have lost theirs: same ids, same bodies, in order.

Whoever has had one already knows it by its message id. The log is read in the order of its key, a bounded number of
rows at a time, so that a long one holds nobody up; its time has no index.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from consumer.broker import Broker, Message, Nacked
from consumer.outbox import Row, event
from consumer.store import Store, row_of
from consumer.topology import Topology
from ops.reading import SQL
from ops.recording import Action, record, settle
from ops.sending import publishing

PAGE = 20_000
"""Rows that one statement looks at."""
PAGE_OF_ONE = 500
TOGETHER = 200
"""Events that wait for their confirm at once."""


async def replay(
    store: Store,
    broker: Broker,
    namespace: str,
    *,
    since_seconds: float,
    website_id: int | None,
    actor: str,
    reason: str | None,
    rate: float | None = None,
    dry_run: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Publish the events of the last so many seconds again; return how many, and how many a full queue refused.

    Args:
        store: where the log is.
        broker: where the events go.
        namespace: whose they are.
        since_seconds: how far back.
        website_id: only this website's; None means all.
        actor: who asks; stands in the operator actions, as the reason does.
        reason: why.
        rate: events a second at most.
        dry_run: count only.
        progress: hears how far it is, a sentence at a time.

    Raises:
        BrokerError: the broker is away; what was published until then is out, and running it again does no harm.
    """
    told: dict[str, Any] = {"events": 0, "refused": 0, "dry_run": dry_run}
    topology = Topology(namespace)
    if dry_run:
        async for rows in _pages(store, since_seconds, website_id):
            told["events"] += len(rows)
        return told
    detail = {"since_seconds": since_seconds}
    (action,) = await record(store, actor, "replay", reason, [Action(website_id=website_id, detail=detail)])
    async with publishing(broker) as session:
        async for rows in _pages(store, since_seconds, website_id):
            for batch in _batches([event(row, topology) for row in rows], rate):
                began = time.monotonic()
                for answer in await session.publish_all(batch):
                    if answer is not None and not isinstance(answer, Nacked):
                        raise answer
                    told["refused"] += answer is not None
                told["events"] += len(batch)
                progress(f"{told['events']} events published again")
                if rate is not None:
                    await asyncio.sleep(max(0.0, began + len(batch) / rate - time.monotonic()))
    await settle(store, {action: f"{told['events']} events, {told['refused']} refused"})
    return told


def _batches(messages: Sequence[Message], rate: float | None) -> list[Sequence[Message]]:
    """Cut messages into what is published together: no more than a second's worth of the rate."""
    size = TOGETHER if rate is None else max(1, min(TOGETHER, int(rate)))
    return [messages[start : start + size] for start in range(0, len(messages), size)]


async def _pages(store: Store, since_seconds: float, website_id: int | None) -> AsyncIterator[list[Row]]:
    """Yield the wanted rows of the log, website by website in order."""
    place, size = (website_id or 0, 0), PAGE if website_id is None else PAGE_OF_ONE
    async with store.connection() as connection:
        (span,) = await connection.fetch(SQL["replay_span"], since_seconds)
    while True:
        async with store.connection() as connection:
            records = await connection.fetch(SQL["replay"], *place, span["since"], span["until"], size)
        yield [row_of(r) for r in records if r["wanted"] and website_id in (None, r["website_id"])]
        if len(records) < size or website_id not in (None, records[-1]["website_id"]):
            return
        place = records[-1]["website_id"], records[-1]["seq"]
