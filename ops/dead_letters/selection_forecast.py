"""Forecasts what all selected dead letters would come to, page by page: no body stays in memory."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from consumer.broker.protocol import Broker
from consumer.broker.topology import Topology
from consumer.provisioning.judgement import OwnersById
from consumer.store.database import Store
from ops.dead_letters.queue_lease import leased_pages
from ops.dead_letters.queue_reader import ALL, DeadLetterFilter, dead_letter_name, digest_of_names, selected_pages
from ops.dead_letters.redrive_forecast import forecast_redrive


@dataclass(frozen=True, slots=True)
class SelectionForecast:
    """Forecasts of the selected dead letters, the latest first; `seen`: the digest of which they are, as an action
    checks it; and how many more the queue has than one lease takes."""

    letters: list[dict[str, Any]]
    seen: str
    beyond_limit: int


async def forecast_selection(
    store: Store,
    broker: Broker,
    namespace: str,
    selection: DeadLetterFilter = ALL,
    owner_by_id: OwnersById = "any",
    *,
    whole: bool = True,
) -> SelectionForecast:
    """Return what the selected dead letters would come to if they were sent back, in the order of their queue.

    `whole`: as for `find_dead_letters`.

    Raises:
        LeaseHeldError: another tool has them.
    """
    found: list[dict[str, Any]] = []
    earlier: set[tuple[int, UUID]] = set()
    async with leased_pages(broker, Topology(namespace).dead_letters) as lease:
        async for page in selected_pages(lease, selection, whole=whole):
            found += await forecast_redrive(store, [delivery for delivery, _ in page], owner_by_id, earlier)
        beyond_limit = lease.beyond_limit
    found.sort(key=lambda forecast: forecast["failed_at"] or "", reverse=True)
    return SelectionForecast(found, digest_of_names(map(dead_letter_name, found)), beyond_limit)
