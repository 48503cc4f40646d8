"""Dispatches websites that are due: publishes the events and the command that their log says are unpublished, for
delayed attempts, rescues and last events. One in every process; any number of them is safe."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from consumer.broker.protocol import BrokerError, Message, NackedError
from consumer.broker.topology import Topology
from consumer.domain.existing_product_states import our_state
from consumer.domain.records import Claim, LogRow
from consumer.error_classification import Infrastructure, classify
from consumer.failpoints import reach
from consumer.messages.outbound import command_message, event_message
from consumer.store.database import Store
from consumer.telemetry import metrics
from consumer.telemetry.logs import log
from consumer.worker.gate import ClosedBy, Gate
from consumer.worker.publishing_connection import Publisher
from statemachine import next_trigger

UNCONFIRMED_SECONDS = 10.0
"""When what the broker has not confirmed is due again, unless the stall is shorter: soon, and no hot loop."""
CLAIM_LIMIT = 100
"""Websites a round: one round's publishes fit easily into the time before the next."""


@dataclass(eq=False)
class Dispatcher:
    """Claims due websites and publishes what is unpublished of each."""

    store: Store
    publisher: Publisher
    topology: Topology
    gate: Gate
    stall_seconds: float
    interval_seconds: float
    base_domain: str = ""
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def run(self) -> None:
        """Do a round every interval, and at once again while there is more to do."""
        while True:
            await self.gate.wait_open()
            try:
                claimed = await self.run_once()
            except Exception as error:
                fault = classify(error)
                if isinstance(fault, Infrastructure):
                    self.gate.close(ClosedBy.DATABASE, fault.error)
                else:
                    log.error("dispatcher failed", error=fault.error)
                claimed = 0
            if claimed < CLAIM_LIMIT:
                await self.sleep(self.interval_seconds)

    async def run_once(self) -> int:
        """Do one round; return how many websites were claimed."""
        claims = await self.store.claim(CLAIM_LIMIT, self.stall_seconds)
        if not claims:
            return 0
        await reach("claimed")
        async with self.store.queries() as queries:
            rows = await queries.unpublished(claims)
        events = [self._events(claim, rows) for claim in claims]
        events_confirmed = await asyncio.gather(*map(self._publish_in_order, events))
        await reach("dispatched")
        commands = {
            claim: self._command(claim, rows)
            for claim, confirmed in zip(claims, events_confirmed, strict=True)
            if confirmed
        }
        unpublished = {claim: message for claim, message in commands.items() if message}
        confirmed = await asyncio.gather(*(self._publish_in_order([message]) for message in unpublished.values()))
        if resting := [claim for claim, message in commands.items() if message is None]:
            await self.store.mark_published([(claim.website_id, claim.seq, claim.published_seq) for claim in resting])
        unconfirmed = [claim for claim, done in zip(unpublished, confirmed, strict=True) if not done]
        if unconfirmed := [*unconfirmed, *(claim for claim in claims if claim not in commands)]:
            await self.store.make_due_soon(unconfirmed, min(UNCONFIRMED_SECONDS, self.stall_seconds))
        _report(claims, sum(confirmed))
        return len(claims)

    def _events(self, claim: Claim, rows: Mapping[int, Sequence[LogRow]]) -> list[Message]:
        """Return the events of a website that are unpublished, in the order of its transitions."""
        return [
            event_message(row, self.topology, self.base_domain)
            for row in rows.get(claim.website_id, [])
            if row.seq > claim.published_seq
        ]

    async def _publish_in_order(self, messages: Sequence[Message]) -> bool:
        """Publish one after the other; return whether all are confirmed. If not, they are due again soon."""
        for message in messages:
            try:
                await self.publisher.publish(message)
            except NackedError:
                if message.mandatory:
                    return False
                log.warning("event nacked", type=message.type, message_id=message.message_id)
            except BrokerError:
                return False
        return True

    def _command(self, claim: Claim, rows: Mapping[int, Sequence[LogRow]]) -> Message | None:
        """Return the next command of a website; None where it rests."""
        state = our_state(claim.state)
        if state is None:
            return None
        trigger = next_trigger(state, skip_properties=claim.skip_properties, auto_go_live=claim.auto_go_live)
        if trigger is None:
            return None
        last = next(reversed(rows.get(claim.website_id, [])), None)
        if claim.seq and last is None:
            log.error("log row missing", website_id=claim.website_id, seq=claim.seq)
        return command_message(
            self.topology,
            website_id=claim.website_id,
            trigger=trigger,
            seq=claim.seq,
            attempt=claim.attempts,
            last_message_id=last.message_id if last else None,
            traceparent=last.detail.get("traceparent") if last else None,
        )


def _report(claims: Sequence[Claim], sent: int) -> None:
    # A website that waited for its next attempt was due; one that waited for nothing has lost a message.
    waiting = sum(1 for claim in claims if claim.attempts)
    metrics.count_dispatched(len(claims), len(claims) - waiting)
    log.info("dispatched", due=len(claims), rescued=len(claims) - waiting, count=sent)
