"""Values that tests are about, with everything that a test does not care for filled in."""

import asyncio
import json
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from consumer.broker.protocol import ConsumerSession, Delivery, QueueCounts
from consumer.broker.topology import Topology
from consumer.domain.records import LogRow, Website
from consumer.worker.signup_admission import Admission
from statemachine import CHAIN, Facts, State, Trigger
from statemachine.steps import REQUIREMENTS

TOPOLOGY = Topology("provisioning")
MESSAGE_ID = UUID("0f8fad5b-d9cb-469f-a165-70867728950e")
LIVE = [state.value for state in CHAIN[1:]]
"""The states to which an ordinary website's transitions lead, in order; tests/invariants.py has its own copy."""
STEPS = len(LIVE)
"""Transitions from signup to live."""
SEQ = {state: seq for seq, state in enumerate(LIVE, start=1)}
"""The seq of an ordinary website by its state."""


def before(state: str) -> str:
    """Return the state of the chain that comes before another."""
    return CHAIN[CHAIN.index(State(state)) - 1].value


def complete_facts(**overrides: Any) -> Facts:
    """Return what a website has that meets each requirement, with no more than its minimum."""
    counts = {each.fact: each.minimum for each in REQUIREMENTS if each.fact != "subdomain"}
    return Facts(**({"subdomain": "sunny-meadow-42"} | counts | overrides))


def make_website(**overrides: Any) -> Website:
    """Return a website that this service has brought to its state, and that has a due time."""
    state = State(overrides.get("state", State.PENDING))
    seq = CHAIN.index(state) if state in CHAIN else 1
    values: dict[str, Any] = {
        "id": 42, "subdomain": None, "site_type": None, "seed_pack_name": None, "owner_email": None,
        "skip_properties": False, "auto_go_live": True, "state": state, "failed_from": None, "seq": seq, "attempts": 0,
        "request": {}, "requested": False, "created_at": datetime.now(UTC), "has_due_time": True, "last_state": state,
        "last_actor": None,
    }  # fmt: skip
    return Website(**(values | overrides))


class FakeSession(ConsumerSession):
    """A session that remembers what was settled on it."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()
        self.acked: list[Delivery] = []
        self.nacked: list[Delivery] = []

    async def consume(self, queue: str, prefetch: int, on_delivery: Callable[[Delivery], None], **_: Any) -> None:
        """Nothing ever arrives."""

    async def stop_consuming(self) -> None:
        """Nothing to stop."""

    async def ack_all(self, deliveries: Sequence[Delivery]) -> None:
        """Remember them."""
        self.acked.extend(deliveries)

    async def nack_all(self, deliveries: Sequence[Delivery]) -> None:
        """Remember them."""
        self.nacked.extend(deliveries)

    async def counts(self, queue: str) -> QueueCounts:
        """An empty queue that is consumed."""
        return QueueCounts(ready=0, consumers=1)

    async def close(self) -> None:
        """Be of no more use."""
        self.closed.set()


class FakeClock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def make_admission(limit: int, *under_way: int) -> tuple[Any, list[int]]:
    """Return an admission whose first batch has gone ahead already, with its `clock`, and the free places at each call
    of its `on_room`. The database says that these websites are under way."""

    async def still(ids: Iterable[int]) -> set[int]:
        return set(under_way) & set(ids)

    clock, opened = FakeClock(), list[int]()
    admission: Any = Admission(limit, still, clock=clock)
    admission.clock = clock
    admission.cancel(admission.reserve())
    admission.on_room = lambda: opened.append(limit - admission.taken)
    return admission, opened


def make_delivery(body: Any = None, **overrides: Any) -> Delivery:
    """Return a delivery as RabbitMQ would hand it over.

    A body that is no bytes is sent as JSON; routing key and queue follow from the type, unless they are given.
    """
    kind = overrides.get("type", "provisioning.complete_agency")
    said = {"website_id": 42} if body is None else body
    fields: dict[str, Any] = {
        "body": said if isinstance(said, bytes) else json.dumps(said).encode(),
        "message_id": str(MESSAGE_ID),
        "type": kind,
        "exchange": TOPOLOGY.commands_exchange,
        "routing_key": kind or "",
        "queue": TOPOLOGY.signups if kind == "website.created" else TOPOLOGY.commands,
        "redelivered": False,
        "headers": {},
        "properties": {"content_type": "application/json", "delivery_mode": 2},
        "tag": 1,
        "session": None,
    }
    fields |= overrides
    fields["session"] = fields["session"] or FakeSession()
    return Delivery(**fields)


def make_row(**overrides: Any) -> LogRow:
    """Return a row of the transition log: a website that has just got its owner, and is owed its agency."""
    fields: dict[str, Any] = {
        "website_id": 42,
        "seq": 1,
        "trigger": Trigger.ASSIGN_OWNER,
        "from_state": State.PENDING,
        "to_state": State.OWNER_ASSIGNED,
        "message_id": MESSAGE_ID,
        "actor": None,
        "reason": None,
        "detail": {
            "subdomain": "sunny-meadow-42",
            "progress": 15,
            "message": "Owner account created",
            "error": None,
            "missing": ["agency"],
            "next": "complete_agency",
            "traceparent": None,
        },
        "occurred_at": datetime(2026, 7, 1, 12, 30, tzinfo=UTC),
    }
    fields |= overrides
    following, failed = fields["detail"].get("next"), fields["detail"].get("step")
    derived = {
        "next_trigger": Trigger(following) if following else None,
        "failed_step": Trigger(failed) if failed else None,
    }
    return LogRow(**(derived | fields))
