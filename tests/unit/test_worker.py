"""The worker's ladder on a use case that does as it is told: what a fault costs, and whom."""

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg
import pytest

from consumer import worker as worker_module
from consumer.admission import Admission
from consumer.broker import BrokerError, Message
from consumer.errors import Defect, Permanent, Transient
from consumer.gate import Gate
from consumer.intake import Intake, Waiting
from consumer.messages import Command
from consumer.outcomes import Outcome, Stale
from consumer.worker import BARE_ROUNDS, DATABASE, HELD_ROUNDS, Worker
from tests.factories import TOPOLOGY, make_delivery


class Told:
    """A use case that raises what it is told to, or finds everything stale."""

    def __init__(self, raised: BaseException | None = None, accounting: BaseException | None = None) -> None:
        self.raised, self.accounting = raised, accounting

    async def batch(self, commands: Sequence[Command], *, alone: bool = False) -> list[Outcome]:
        """Raise, or find everything stale."""
        if self.raised:
            raise self.raised
        return [Stale("as told") for _ in commands]

    async def account_for(self, command: Command, fault: Transient | Permanent | Defect) -> Outcome:
        """Raise, or find it stale."""
        if self.accounting:
            raise self.accounting
        return Stale("as told")


class Picky:
    """A publisher that cannot write messages with a certain header, whoever asks."""

    def __init__(self, header: str | None = None) -> None:
        self.header, self.sent = header, list[Message]()

    async def publish_all(self, messages: Sequence[Message]) -> list[BrokerError | None]:
        """Say what cannot be written, and remember the rest."""
        answers = [BrokerError("cannot be written") if self.header in each.headers else None for each in messages]
        self.sent += [message for message, answer in zip(messages, answers, strict=True) if answer is None]
        return answers


class Hands:
    """A worker, and what it works with."""

    def __init__(self, use_case: Told, publisher: Picky | None = None, step_timeout_seconds: float = 5) -> None:
        async def none(_ids: Any) -> set[int]:
            return set()

        self.publisher = publisher or Picky()
        self.gate = Gate()
        self.admission = Admission(64, none)
        self.intake = Intake(TOPOLOGY.signups, self.admission)
        parts: dict[str, Any] = {"provision": use_case, "store": None, "publisher": self.publisher}
        self.worker = Worker(
            intake=self.intake, admission=self.admission, gate=self.gate, topology=TOPOLOGY, batch_size=8,
            step_timeout_seconds=step_timeout_seconds, **parts,
        )  # fmt: skip

    async def rounds(self, waiting: Waiting, count: int) -> None:
        """Carry one delivery so many times, as often as it comes back."""
        for _ in range(count):
            await self.worker.carry([waiting])
        self.intake.empty()

    def reasons(self) -> list[object]:
        """Return the reasons of what was dead-lettered."""
        return [message.headers["x-reason"] for message in self.publisher.sent]


def created() -> Waiting:
    """Return a signup that waits."""
    return Waiting(make_delivery({"website_id": 42}, type="website.created"))


LOCKED = asyncpg.LockNotAvailableError("canceling statement due to lock timeout")
NOT_RECORDED = asyncpg.DeadlockDetectedError("deadlock detected")


async def test_a_signup_that_cannot_be_carried_out_does_not_stand_in_the_way_for_ever() -> None:
    """After some rounds it goes to the dead letters; 64 of them would otherwise fill the window."""
    hands, waiting = Hands(Told(NOT_RECORDED, NOT_RECORDED)), created()
    await hands.rounds(waiting, HELD_ROUNDS - 1)
    assert hands.reasons() == []
    await hands.rounds(waiting, 1)
    assert hands.reasons() == ["error"]
    assert "redrive" in str(hands.publisher.sent[0].headers["x-error"])


async def test_a_signup_whose_website_is_locked_waits_for_it() -> None:
    """That ends with the other's transaction, and nobody else knows what the signup brought."""
    hands, waiting = Hands(Told(LOCKED)), created()
    await hands.rounds(waiting, HELD_ROUNDS * 2)
    assert hands.reasons() == []
    assert waiting.delivery.session.acked == []  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("body", "reasons"),
    [
        pytest.param({"website_id": 42, "expected_seq": 3}, [], id="the clock has the engine's own"),
        pytest.param({"website_id": 42}, ["held"], id="a stranger's may be the only one"),
    ],
)
async def test_a_step_whose_website_stays_locked_is_settled(body: dict[str, Any], reasons: list[str]) -> None:
    """It is acked where the clock sends it again, and kept as a dead letter where nothing does."""
    hands, waiting = Hands(Told(LOCKED)), Waiting(make_delivery(body))
    await hands.rounds(waiting, HELD_ROUNDS)
    assert hands.reasons() == reasons
    assert waiting.delivery.session.acked == [waiting.delivery]  # type: ignore[attr-defined]


async def test_rounds_for_other_reasons_count_for_no_lock() -> None:
    """What came round because the broker was away has not yet waited for its lock."""
    hands, waiting = Hands(Told(LOCKED)), Waiting(make_delivery({"website_id": 42}))
    waiting.rounds = 50
    await hands.rounds(waiting, 1)
    assert hands.reasons() == []


async def test_a_defect_of_the_decoder_harms_no_neighbour(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one message is dead-lettered, the other is carried out."""
    decode = worker_module.decode

    def broken(delivery: Any) -> Command:
        if delivery.body == b"crash":
            raise KeyError("nobody thought of this")
        return decode(delivery)

    monkeypatch.setattr(worker_module, "decode", broken)
    hands = Hands(Told())
    bad, good = Waiting(make_delivery(b"crash")), Waiting(make_delivery())
    await hands.worker.carry([bad, good])
    assert hands.reasons() == ["error"]
    for waiting in (bad, good):
        assert waiting.delivery.session.acked == [waiting.delivery]  # type: ignore[attr-defined]


async def test_a_dead_letter_that_cannot_be_written_goes_bare() -> None:
    """Its neighbour is settled at once; it goes without the sender's headers once it has been tried often enough."""
    hands = Hands(Told(), Picky("odd"))
    odd, good = Waiting(make_delivery(b"no JSON", headers={"odd": "x"})), Waiting(make_delivery())
    await hands.worker.carry([odd, good])
    assert good.delivery.session.acked == [good.delivery]  # type: ignore[attr-defined]
    assert hands.reasons() == []
    await hands.rounds(odd, BARE_ROUNDS)
    assert hands.reasons() == ["poison"]
    assert hands.publisher.sent[0].body == b"no JSON"


async def test_time_that_runs_out_while_an_error_is_recorded_pauses_nobody() -> None:
    """It is this message's, as the step's own time is: the pool goes on."""

    class Hanging(Told):
        hung = False

        async def account_for(self, command: Command, fault: Transient | Permanent | Defect) -> Outcome:
            self.hung = True
            await asyncio.Event().wait()
            raise AssertionError("nobody sets it")

    use_case = Hanging(NOT_RECORDED)
    hands = Hands(use_case, step_timeout_seconds=0.02)
    await hands.rounds(created(), 1)
    assert use_case.hung
    assert DATABASE not in hands.gate.reasons
