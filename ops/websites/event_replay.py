"""Replays events: publishes them again out of the log, with the same ids and bodies, in order.

Subscribers that have lost some get them back; whoever has had one knows it by its message id. The log is read in the
order of its key, a bounded number of rows at a time, so that a long one delays nobody; its time has no index.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from consumer.broker.protocol import Broker, Message, NackedError, PublisherSession
from consumer.broker.topology import Topology
from consumer.domain.records import LogRow
from consumer.messages.outbound import event_message
from consumer.store.database import Store
from consumer.store.provisioning_statements import row_of
from ops.audit.identity_proof import UNPROVEN, Proof
from ops.audit.trail import ActionItem, AuditTrail
from ops.publishing import BATCH_SIZE, publishing
from seeders.sql_loader import read_statements

SQL = read_statements("ops.websites.sql")

PAGE_ROWS = 20_000
"""Rows that one statement reads."""
PAGE_ROWS_OF_ONE_WEBSITE = 500


async def replay(
    store: Store,
    broker: Broker,
    namespace: str,
    *,
    base_domain: str = "",
    since_seconds: float,
    website_id: int | None,
    actor: str,
    reason: str | None,
    proof: Proof = UNPROVEN,
    rate: float | None = None,
    dry_run: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Publish the events of the last so many seconds again; return how many, and how many a full queue refused.

    `pruned_websites` says of how many websites the log has not all of them any more.

    Args:
        store: where the log is.
        broker: where the events go.
        namespace: the prefix of its exchanges.
        base_domain: where live websites are found.
        since_seconds: how far back.
        website_id: only this website's; None means all.
        actor: who replays them; is recorded in the audit trail, as the reason is.
        reason: why.
        proof: how the actor proved who they are.
        rate: events a second at most.
        dry_run: count only.
        progress: is called with how far it is, a sentence at a time.

    Raises:
        BrokerError: the broker is away; what was published until then is out, and running it again does no harm.
    """
    span, pruned = await _span(store, since_seconds, website_id)
    result: dict[str, Any] = {"events": 0, "refused": 0, "pruned_websites": pruned, "dry_run": dry_run}
    topology = Topology(namespace)
    if dry_run:
        async for rows in _pages(store, span, website_id):
            result["events"] += len(rows)
        return result
    target = "all websites" if website_id is None else f"website {website_id}"
    trail = AuditTrail(store, actor, reason, proof)
    async with trail.action("replay", target, since_seconds=since_seconds, rate=rate) as action:
        # One item for a single website: its history has the events.
        item = await action.record([ActionItem(website_id=website_id)] if website_id else [])
        async with publishing(broker) as session:
            async for rows in _pages(store, span, website_id):
                for batch in _batches([event_message(row, topology, base_domain) for row in rows], rate):
                    began = time.monotonic()
                    result["refused"] += await _publish(session, batch)
                    result["events"] += len(batch)
                    progress(f"{result['events']} events published again")
                    if rate is not None:
                        await asyncio.sleep(max(0.0, began + len(batch) / rate - time.monotonic()))
        action.outcome = f"{result['events']} events, {result['refused']} refused"
        await action.settle(dict.fromkeys(item, action.outcome))
    return result


async def _span(store: Store, since_seconds: float, website_id: int | None) -> tuple[Mapping[str, Any], int]:
    """Return from when to when rows are replayed, and of how many websites some of that time were pruned."""
    async with store.connection() as connection:
        (span,) = await connection.fetch(SQL["replay_span"], since_seconds)
        pruned: int = await connection.fetchval(SQL["pruned_websites"], span["since"], website_id)
    return span, pruned


async def _publish(session: PublisherSession, batch: Sequence[Message]) -> int:
    """Publish events, and return how many a full queue refused. Raises BrokerError."""
    refused = 0
    for error in await session.publish_all(batch):
        if error is not None and not isinstance(error, NackedError):
            raise error
        refused += error is not None
    return refused


def _batches(messages: Sequence[Message], rate: float | None) -> list[Sequence[Message]]:
    """Cut messages into what is published together: no more than a second's worth of the rate."""
    size = BATCH_SIZE if rate is None else max(1, min(BATCH_SIZE, int(rate)))
    return [messages[start : start + size] for start in range(0, len(messages), size)]


async def _pages(store: Store, span: Mapping[str, Any], website_id: int | None) -> AsyncIterator[list[LogRow]]:
    """Yield the rows to replay, website by website in order."""
    key, size = (website_id or 0, 0), PAGE_ROWS if website_id is None else PAGE_ROWS_OF_ONE_WEBSITE
    while True:
        async with store.connection() as connection:
            records = await connection.fetch(SQL["log_page"], *key, span["since"], span["until"], size)
        yield [row_of(r) for r in records if r["wanted"] and website_id in (None, r["website_id"])]
        if len(records) < size or website_id not in (None, records[-1]["website_id"]):
            return
        key = records[-1]["website_id"], records[-1]["seq"]
