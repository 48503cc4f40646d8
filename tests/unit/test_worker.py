"""The worker's ladder of errors on a use case that raises what a test says: what a fault costs, and whom."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import asyncpg
import pytest

from consumer.broker.protocol import BrokerError, Message
from consumer.domain.outcomes import Outcome, Stale
from consumer.error_classification import Defect, Permanent, Transient
from consumer.messages.inbound import Command
from consumer.provisioning.use_case import ProvisioningUseCase
from consumer.worker import delivery_loop as worker_module
from consumer.worker.buffer import Buffer, BufferedDelivery
from consumer.worker.delivery_loop import HELD_ROUNDS, Worker
from consumer.worker.delivery_settlement import BARE_ROUNDS, Settlement
from consumer.worker.gate import ClosedBy, Gate
from tests.factories import TOPOLOGY, make_admission, make_delivery


class ScriptedUseCase:
    """A use case that raises what a test says, or finds everything stale."""

    def __init__(self, raised: BaseException | None = None, accounting: BaseException | None = None) -> None:
        self.raised, self.accounting = raised, accounting

    async def batch(self, commands: Sequence[Command], *, alone: bool = False) -> list[Outcome]:
        """Raise, or find everything stale."""
        if self.raised:
            raise self.raised
        return [Stale("as scripted") for _ in commands]

    async def record_fault(self, command: Command, fault: Transient | Permanent | Defect) -> Outcome:
        """Raise, or find it stale."""
        if self.accounting:
            raise self.accounting
        return Stale("as scripted")


class PickyPublisher:
    """A publisher that cannot write messages with a certain header."""

    def __init__(self, header: str | None = None) -> None:
        self.header, self.sent = header, list[Message]()

    async def publish_all(self, messages: Sequence[Message]) -> list[BrokerError | None]:
        """Say what cannot be written, and remember the rest."""
        answers = [BrokerError("cannot be written") if self.header in each.headers else None for each in messages]
        self.sent += [message for message, answer in zip(messages, answers, strict=True) if answer is None]
        return answers


class Workplace:
    """A worker, and what it works with."""

    def __init__(
        self,
        use_case: ScriptedUseCase,
        publisher: PickyPublisher | None = None,
        step_timeout_seconds: float = 5,
    ) -> None:
        self.publisher = publisher or PickyPublisher()
        self.gate = Gate()
        self.admission, _ = make_admission(64)
        self.buffer = Buffer(TOPOLOGY.signups, self.admission)
        fakes: dict[str, Any] = {"store": None, "publisher": self.publisher}
        settlement = Settlement(admission=self.admission, gate=self.gate, topology=TOPOLOGY, **fakes)
        self.worker = Worker(
            buffer=self.buffer,
            gate=self.gate,
            use_case=cast("ProvisioningUseCase", use_case),
            settlement=settlement,
            batch_size=8,
            step_timeout_seconds=step_timeout_seconds,
        )

    async def rounds(self, buffered: BufferedDelivery, count: int) -> None:
        """Work at one delivery so many times, as often as it is put back."""
        for _ in range(count):
            await self.worker.run_once([buffered])
        self.buffer.take_all()

    def reasons(self) -> list[object]:
        """Return the reasons of what was dead-lettered."""
        return [message.headers["x-reason"] for message in self.publisher.sent]


def created() -> BufferedDelivery:
    """Return a signup that waits."""
    return BufferedDelivery(make_delivery({"website_id": 42}, type="website.created"))


LOCKED = asyncpg.LockNotAvailableError("canceling statement due to lock timeout")
NOT_RECORDED = asyncpg.DeadlockDetectedError("deadlock detected")


async def test_a_signup_that_cannot_be_carried_out_does_not_stand_in_the_way_for_ever() -> None:
    """After some rounds it goes to the dead letters; 64 of them would otherwise fill the window."""
    workplace, buffered = Workplace(ScriptedUseCase(NOT_RECORDED, NOT_RECORDED)), created()
    await workplace.rounds(buffered, HELD_ROUNDS - 1)
    assert workplace.reasons() == []
    await workplace.rounds(buffered, 1)
    assert workplace.reasons() == ["error"]
    assert "redrive" in str(workplace.publisher.sent[0].headers["x-error"])


async def test_a_signup_whose_website_is_locked_waits_for_it() -> None:
    """That ends with the other's transaction, and nobody else knows what the signup brought."""
    workplace, buffered = Workplace(ScriptedUseCase(LOCKED)), created()
    await workplace.rounds(buffered, HELD_ROUNDS * 2)
    assert workplace.reasons() == []
    assert buffered.delivery.session.acked == []  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("body", "reasons"),
    [
        pytest.param({"website_id": 42, "expected_seq": 3}, [], id="the dispatcher has the engine's own"),
        pytest.param({"website_id": 42}, ["held"], id="somebody else's may be the only one"),
    ],
)
async def test_a_step_whose_website_stays_locked_is_settled(body: dict[str, Any], reasons: list[str]) -> None:
    """It is acked where the dispatcher sends it again, and kept as a dead letter where nothing does."""
    workplace, buffered = Workplace(ScriptedUseCase(LOCKED)), BufferedDelivery(make_delivery(body))
    await workplace.rounds(buffered, HELD_ROUNDS)
    assert workplace.reasons() == reasons
    assert buffered.delivery.session.acked == [buffered.delivery]  # type: ignore[attr-defined]


async def test_rounds_for_other_reasons_count_for_no_lock() -> None:
    """What came round because the broker was away has not yet waited for its lock."""
    workplace, buffered = Workplace(ScriptedUseCase(LOCKED)), BufferedDelivery(make_delivery({"website_id": 42}))
    buffered.rounds = 50
    await workplace.rounds(buffered, 1)
    assert workplace.reasons() == []


async def test_a_defect_of_the_decoder_harms_no_neighbour(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one message is dead-lettered, the other is carried out."""
    decode = worker_module.decode

    def broken(delivery: Any) -> Command:
        if delivery.body == b"crash":
            raise KeyError("nobody thought of this")
        return decode(delivery)

    monkeypatch.setattr(worker_module, "decode", broken)
    workplace = Workplace(ScriptedUseCase())
    bad, good = BufferedDelivery(make_delivery(b"crash")), BufferedDelivery(make_delivery())
    await workplace.worker.run_once([bad, good])
    assert workplace.reasons() == ["error"]
    for buffered in (bad, good):
        assert buffered.delivery.session.acked == [buffered.delivery]  # type: ignore[attr-defined]


async def test_a_dead_letter_that_cannot_be_written_goes_bare() -> None:
    """Its neighbour is settled at once; it goes without the sender's headers once it has been tried often enough."""
    workplace = Workplace(ScriptedUseCase(), PickyPublisher("odd"))
    odd, good = BufferedDelivery(make_delivery(b"no JSON", headers={"odd": "x"})), BufferedDelivery(make_delivery())
    await workplace.worker.run_once([odd, good])
    assert good.delivery.session.acked == [good.delivery]  # type: ignore[attr-defined]
    assert workplace.reasons() == []
    await workplace.rounds(odd, BARE_ROUNDS)
    assert workplace.reasons() == ["poison"]
    assert workplace.publisher.sent[0].body == b"no JSON"


async def test_time_that_runs_out_while_an_error_is_recorded_pauses_nobody() -> None:
    """It is this message's, as the step's own time is: the pool goes on."""

    class Hanging(ScriptedUseCase):
        hung = False

        async def record_fault(self, command: Command, fault: Transient | Permanent | Defect) -> Outcome:
            self.hung = True
            await asyncio.Event().wait()
            raise AssertionError("nobody sets it")

    use_case = Hanging(NOT_RECORDED)
    workplace = Workplace(use_case, step_timeout_seconds=0.02)
    await workplace.rounds(created(), 1)
    assert use_case.hung
    assert ClosedBy.DATABASE not in workplace.gate.reasons
