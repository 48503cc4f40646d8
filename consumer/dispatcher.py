"""Sends websites what they are owed once their time has come: delayed retries, rescues, last events. One in every
process; any number of them is safe."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from consumer import metrics
from consumer.broker import BrokerError, Message, Nacked
from consumer.errors import Infrastructure, classify
from consumer.failpoints import reach
from consumer.gate import Gate
from consumer.logs import log
from consumer.outbox import Row, command, event
from consumer.publisher import Publisher
from consumer.store import Claim, Store
from consumer.topology import Topology
from consumer.worker import DATABASE
from statemachine import next_trigger

UNANSWERED_SECONDS = 10.0
"""When what the broker did not answer for is due again, unless the stall is shorter: soon, and no hot loop."""
CLAIM_LIMIT = 100
"""Websites a round: one round's publishes fit easily into the time before the next."""


class Dispatcher:
    """Claims due websites and publishes what the log says they are owed."""

    def __init__(
        self,
        store: Store,
        publisher: Publisher,
        topology: Topology,
        gate: Gate,
        *,
        stall_seconds: float,
        interval_seconds: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._publisher = publisher
        self._topology = topology
        self._gate = gate
        self._stall_seconds = stall_seconds
        self._interval_seconds = interval_seconds
        self._sleep = sleep

    async def run(self) -> None:
        """Do a round every interval, and at once again while there is more to do."""
        while True:
            await self._gate.passed()
            try:
                claimed = await self.run_once()
            except Exception as error:
                fault = classify(error)
                if isinstance(fault, Infrastructure):
                    self._gate.close(DATABASE, fault.error)
                else:
                    log.error("dispatcher failed", error=fault.error)
                claimed = 0
            if claimed < CLAIM_LIMIT:
                await self._sleep(self._interval_seconds)

    async def run_once(self) -> int:
        """Do one round; return how many websites were claimed."""
        claims = await self._store.claim(CLAIM_LIMIT, self._stall_seconds)
        if not claims:
            return 0
        await reach("claimed")
        rows = await self._store.owed(claims)
        events = {
            claim: [
                event(row, self._topology) for row in rows.get(claim.website_id, []) if row.seq > claim.published_seq
            ]
            for claim in claims
        }
        answered = [
            claim
            for claim, done in zip(claims, await asyncio.gather(*map(self._in_order, events.values())), strict=True)
            if done
        ]
        await reach("dispatched")
        commands = {claim: self._command(claim, rows) for claim in answered}
        owing = {claim: owed for claim, owed in commands.items() if owed}
        sent = await asyncio.gather(*(self._in_order([owed]) for owed in owing.values()))
        if rests := [
            (claim.website_id, claim.seq, claim.published_seq) for claim, owed in commands.items() if owed is None
        ]:
            await self._store.clear(rests)
        unsent = [claim for claim, done in zip(owing, sent, strict=True) if not done]
        if unanswered := [*unsent, *(claim for claim in claims if claim not in commands)]:
            await self._store.due_soon(unanswered, min(UNANSWERED_SECONDS, self._stall_seconds))
        self._tell(claims, sent)
        return len(claims)

    async def _in_order(self, messages: Sequence[Message]) -> bool:
        """Publish one after the other; say whether the broker has answered for all. If not, the clock has them."""
        for message in messages:
            try:
                await self._publisher.publish(message)
            except Nacked:
                if message.mandatory:
                    return False
                log.warning("event nacked", type=message.type, message_id=message.message_id)
            except BrokerError:
                return False
        return True

    def _command(self, claim: Claim, rows: Mapping[int, Sequence[Row]]) -> Message | None:
        owed = next_trigger(claim.state, skip_properties=claim.skip_properties, auto_go_live=claim.auto_go_live)
        if owed is None:
            return None
        last = next(reversed(rows.get(claim.website_id, [])), None)
        if claim.seq and last is None:
            log.error("log row missing", website_id=claim.website_id, seq=claim.seq)
        return command(
            self._topology,
            website_id=claim.website_id,
            trigger=owed,
            seq=claim.seq,
            attempt=claim.attempts,
            cause=last.message_id if last else None,
            traceparent=last.detail.get("traceparent") if last else None,
        )

    def _tell(self, claims: Sequence[Claim], sent: Sequence[bool]) -> None:
        # A website that waited for its next attempt was due; one that waited for nothing has lost a message.
        waiting = sum(1 for claim in claims if claim.attempts)
        metrics.dispatched(len(claims), len(claims) - waiting)
        log.info("dispatched", due=len(claims), rescued=len(claims) - waiting, count=sum(sent))
