"""The design broken on purpose: each mutation, the words it changes in which file, and the tests that must notice."""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
RACES = "tests/faults/test_races.py"
PAUSING = "tests/integration/test_pausing.py"
LETTERS = "tests/integration/test_letters.py"
OUTCOMES = "tests/integration/test_outcomes.py"


@dataclass(frozen=True, slots=True)
class Mutation:
    """One way to break the design: (file, before, after) edits, and the tests to run against it."""

    name: str
    edits: tuple[tuple[str, str, str], ...]
    tests: tuple[str, ...]

    def apply(self, root: Path) -> None:
        """Change the tree under `root`.

        Raises:
            ValueError: where the words to change are not there exactly once: the mutation has rotted.
        """
        for file, before, after in self.edits:
            text = (root / file).read_text()
            if text.count(before) != 1:
                raise ValueError(f"{self.name}: {file} has {text.count(before)} times, not once: {before!r}")
            (root / file).write_text(text.replace(before, after))


MUTATIONS = (
    Mutation(
        "ack before COMMIT",
        (
            (
                "consumer/worker.py",
                "            self._decode(carried)\n",
                "            self._decode(carried)\n"
                "            for item in carried:\n"
                "                await item.waiting.delivery.session.ack(item.waiting.delivery)\n",
            ),
            (
                "consumer/worker.py",
                "            await session.ack_all([item.waiting.delivery for item in items])\n",
                "            assert session\n",
            ),
        )[::-1],
        (f"{RACES}::test_nothing_leaves_before_the_commit",),
    ),
    Mutation(
        "publish before COMMIT",
        (
            (
                "consumer/worker.py",
                "        self._topology = topology\n",
                "        self._topology = topology\n        provision.early = (publisher, topology)  # type: ignore\n",
            ),
            (
                "consumer/provision.py",
                '            await reach("pre_commit")\n',
                "            from consumer.outbox import event\n"
                "            for early in outcomes.values():\n"
                "                if isinstance(early, Advanced | Refused):\n"
                "                    await self.early[0].publish(event(early.row, self.early[1]))\n"
                '            await reach("pre_commit")\n',
            ),
        ),
        (f"{RACES}::test_nothing_leaves_before_the_commit",),
    ),
    Mutation(
        "ack whatever happened, as message.process() does",
        (
            (
                "consumer/worker.py",
                "            self._send_round([item for item in carried if not item.settled])\n",
                "            for item in carried:\n"
                "                if not item.settled:\n"
                "                    await item.waiting.delivery.session.ack(item.waiting.delivery)\n",
            ),
        ),
        (f"{OUTCOMES}::test_a_command_that_never_gets_the_lock", f"{OUTCOMES}::test_a_stranger_holds_the_lock"),
    ),
    Mutation(
        "ack what the broker has not answered for",
        (
            (
                "consumer/worker.py",
                "answered = [item for item in carried if item not in unanswered]\n",
                "answered = list(carried)\n",
            ),
        ),
        ("tests/unit/test_worker.py",),
    ),
    Mutation(
        "no message id check",
        (
            (
                "consumer/provision.py",
                "            if row := found.done:",
                "            if row := None and found.done:",
            ),
        ),
        (f"{OUTCOMES}::test_duplicates_do_nothing",),
    ),
    Mutation(
        "no expected_seq: what has passed is done again",
        (("consumer/planning.py", "command.expected_seq < website.seq", "command.expected_seq < 0"),),
        (f"{OUTCOMES}::test_stale_and_ahead_do_nothing", RACES),
    ),
    Mutation(
        "no expected_seq: what is to come is done now",
        (("consumer/planning.py", "command.expected_seq > website.seq", "command.expected_seq > 2**40"),),
        (f"{OUTCOMES}::test_stale_and_ahead_do_nothing",),
    ),
    Mutation(
        "no attempt check",
        (("consumer/planning.py", "command.attempt < website.attempts", "command.attempt < 0"),),
        ("tests/faults/test_messages.py::test_an_attempt_that_was_counted_is_not_made_again",),
    ),
    Mutation(
        "commands are not mandatory",
        (("consumer/outbox.py", "        mandatory=True,\n", "        mandatory=False,\n"),),
        ("tests/unit/test_outbox.py",),
    ),
    Mutation(
        "dead letters are not mandatory",
        (("consumer/dead_letters.py", "        mandatory=True,\n", "        mandatory=False,\n"),),
        ("tests/unit/test_dead_letters.py",),
    ),
    Mutation(
        "no row lock",
        (
            ("consumer/sql/lock_available.sql", "\n   FOR NO KEY UPDATE OF w SKIP LOCKED", ""),
            ("consumer/sql/lock_waiting.sql", "\n   FOR NO KEY UPDATE OF w", ""),
        ),
        (f"{RACES}::test_two_commands_at_once",),
    ),
    Mutation(
        "the log as it was before the lock is believed",
        (("consumer/store.py", ' or record["seen_seq"] != website.seq:\n', ":\n"),),
        ("tests/simulation/test_store_contract.py::test_what_moved_during_the_wait_is_known",),
    ),
    Mutation(
        "dispatchers do not lock what they claim",
        (("consumer/sql/claim.sql", "\n       FOR NO KEY UPDATE SKIP LOCKED", ""),),
        (f"{RACES}::test_two_dispatchers",),
    ),
    Mutation(
        "a command's id is another each time",
        (
            (
                "consumer/outbox.py",
                'return uuid5(cause or UNBORN, f"',
                'return __import__("uuid").uuid4() or uuid5(cause or UNBORN, f"',
            ),
        ),
        ("tests/unit/test_outbox.py",),
    ),
    Mutation(
        "an event's id is another each time",
        (
            (
                "consumer/outbox.py",
                'message_id=str(uuid5(row.message_id, f"',
                'message_id=str(__import__("uuid").uuid4() or uuid5(row.message_id, f"',
            ),
        ),
        ("tests/unit/test_outbox.py",),
    ),
    Mutation(
        "facts are read before the step",
        (
            (
                "consumer/provision.py",
                "            fallbacks = await self._step(unit, planned, careful=alone)\n",
                "            facts = await unit.facts({i.website.id: i.website.subdomain for i in planned})"
                " if planned else {}\n            fallbacks = await self._step(unit, planned, careful=alone)\n",
            ),
            (
                "consumer/provision.py",
                "            facts = await unit.facts({item.website.id: item.website.subdomain"
                " for item in planned}) if planned else {}\n",
                "",
            ),
        )[::-1],
        ("tests/faults/test_domain.py::test_a_guard_broken_after_its_step",),
    ),
    Mutation(
        "a clear does not ask which seq it is for",
        (("consumer/sql/clear.sql", "   AND w.provisioning_seq = rest.seq\n", ""),),
        ("tests/integration/test_clock.py",),
    ),
    Mutation(
        "one culprit takes its whole batch along",
        (
            (
                "consumer/worker.py",
                "                await self._halving(batch[:half])\n"
                "                await self._halving(batch[half:])\n",
                "                for item in batch[:half] and batch:\n"
                "                    await self._account_for(item, classify(error))\n",
            ),
        ),
        (f"{OUTCOMES}::test_one_culprit_fails_alone",),
    ),
    Mutation(
        "a redrive acks what was not confirmed",
        (
            (
                "ops/redriving.py",
                "                    if answer is None:\n                        await session.ack(letter)\n",
                "                    if answer or answer is None:\n                        await session.ack(letter)\n",
            ),
        ),
        ("tests/integration/test_redriving.py::test_an_unconfirmed_letter_stays",),
    ),
    Mutation(
        "a dead letter is sent back before that is written down",
        (
            (
                "ops/redriving.py",
                "                actions = await _write_down(deed, [about for _, about in piece], messages)\n",
                "",
            ),
            (
                "ops/redriving.py",
                "                for (letter, _), answer in",
                "                actions = await _write_down(deed, [about for _, about in piece], messages)\n"
                "                for (letter, _), answer in",
            ),
        ),
        (f"{LETTERS}::test_what_cannot_be_written_down_is_not_done",),
    ),
    Mutation(
        "an edited letter has another id each time",
        (("ops/redriving.py", "return str(uuid5(EDITED, ", "return str(uuid5(uuid5(EDITED, repr(object())), "),),
        (f"{LETTERS}::test_an_edit_that_died_half_way_is_done_once",),
    ),
    Mutation(
        "two tools take the dead letters at once",
        (
            (
                "ops/holding.py",
                "            if (await session.counts(queue)).consumers == 1:\n",
                "            if (await session.counts(queue)).consumers >= 1:\n",
            ),
        ),
        ("tests/integration/test_holding.py::test_tools_that_begin_together",),
    ),
    Mutation(
        "a paused worker keeps what it has not started",
        (("consumer/consumption.py", "            await self.hand_back()\n            if not", "            if not"),),
        (f"{PAUSING}::test_what_was_started_is_finished_and_the_rest_given_back",),
    ),
    Mutation(
        "a paused worker drops what it has started",
        (
            (
                "consumer/consumption.py",
                "            if not self._intake.in_flight and not len(self._intake):\n",
                "            if True:\n",
            ),
        ),
        (f"{PAUSING}::test_what_was_started_is_finished_and_the_rest_given_back",),
    ),
    Mutation(
        "a worker takes before it has asked whether it is paused",
        (
            ("consumer/presence.py", '        gate.close(OPERATOR, "not known yet")\n', ""),
            (
                "consumer/presence.py",
                '            self._gate.close(OPERATOR, f"not known yet: {error}")\n',
                "            pass\n",
            ),
        ),
        (f"{PAUSING}::test_a_worker_that_cannot_ask_takes_nothing",),
    ),
    Mutation(
        "a pause takes effect before it is recorded",
        (
            (
                "ops/pausing.py",
                "    ids = await record(store, actor, verb, reason, [Action(detail=detail) for detail in about])\n",
                "",
            ),
            (
                "ops/pausing.py",
                "    answers = await _answers(",
                "    ids = await record(store, actor, verb, reason, [Action(detail=detail) for detail in about])\n"
                "    answers = await _answers(",
            ),
        ),
        (f"{PAUSING}::test_it_is_recorded_before_it_takes_effect",),
    ),
)
