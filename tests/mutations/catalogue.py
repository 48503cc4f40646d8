"""The design broken on purpose: each mutation, the words it changes in which file, and the tests that must notice."""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
RACES = "tests/faults/test_races.py"
PAUSING = "tests/integration/test_pause.py"
LETTERS = "tests/integration/test_dead_letter_actions.py"
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
        "a signup that contradicts its website is acked",
        (
            (
                "consumer/provisioning/planning.py",
                "    return conflicting(website.id, how) if how else None\n",
                "    return None\n",
            ),
        ),
        ("tests/integration/test_contradicting_signups.py::test_what_the_row_leaves_empty_is_filled",),
    ),
    Mutation(
        "ack before COMMIT",
        (
            (
                "consumer/worker/delivery_loop.py",
                "            self._decode(executions)\n",
                "            self._decode(executions)\n"
                "            for buffered in batch:\n"
                "                await buffered.delivery.session.ack(buffered.delivery)\n",
            ),
            (
                "consumer/worker/delivery_settlement.py",
                "            await session.ack_all(kept)\n",
                "            assert session\n",
            ),
        )[::-1],
        (f"{RACES}::test_nothing_leaves_before_the_commit",),
    ),
    Mutation(
        "publish before COMMIT",
        (
            (
                "consumer/worker/delivery_loop.py",
                "        while not stopping.is_set():\n",
                "        settlement = self.settlement\n"
                "        self.use_case.early = (settlement.publisher, settlement.topology)  # type: ignore\n"
                "        while not stopping.is_set():\n",
            ),
            (
                "consumer/provisioning/use_case.py",
                '            await reach("pre_commit")\n',
                "            from consumer.messages.outbound import event_message\n"
                "            for early in outcomes.values():\n"
                "                if isinstance(early, Advanced | Refused):\n"
                "                    await self.early[0].publish(event_message(early.row, self.early[1]))\n"
                '            await reach("pre_commit")\n',
            ),
        ),
        (f"{RACES}::test_nothing_leaves_before_the_commit",),
    ),
    Mutation(
        "ack whatever happened, as message.process() does",
        (
            (
                "consumer/worker/delivery_loop.py",
                "            self._put_back("
                "[execution.buffered for execution in executions if not execution.settled])\n",
                "            for execution in executions:\n"
                "                if not execution.settled:\n"
                "                    delivery = execution.buffered.delivery\n"
                "                    await delivery.session.ack(delivery)\n",
            ),
        ),
        (f"{OUTCOMES}::test_a_command_that_never_gets_the_lock", f"{OUTCOMES}::test_a_stranger_holds_the_lock"),
    ),
    Mutation(
        "ack what the broker has not confirmed",
        (
            (
                "consumer/worker/delivery_settlement.py",
                "confirmed = [execution for execution in executions if execution not in unconfirmed]\n",
                "confirmed = list(executions)\n",
            ),
        ),
        ("tests/unit/test_worker.py",),
    ),
    Mutation(
        "no message id check",
        (
            (
                "consumer/provisioning/planning.py",
                "        if row := found.done:",
                "        if row := None and found.done:",
            ),
        ),
        (f"{OUTCOMES}::test_duplicates_do_nothing",),
    ),
    Mutation(
        "no expected_seq: what has passed is done again",
        (("consumer/provisioning/planning.py", "command.expected_seq < website.seq", "command.expected_seq < 0"),),
        (f"{OUTCOMES}::test_stale_and_ahead_do_nothing", RACES),
    ),
    Mutation(
        "no expected_seq: what is to come is done now",
        (("consumer/provisioning/planning.py", "command.expected_seq > website.seq", "command.expected_seq > 2**40"),),
        (f"{OUTCOMES}::test_stale_and_ahead_do_nothing",),
    ),
    Mutation(
        "no attempt check",
        (("consumer/provisioning/planning.py", "command.attempt < website.attempts", "command.attempt < 0"),),
        ("tests/faults/test_messages.py::test_an_attempt_that_was_counted_is_not_made_again",),
    ),
    Mutation(
        "commands are not mandatory",
        (("consumer/messages/outbound.py", "        mandatory=True,\n", "        mandatory=False,\n"),),
        ("tests/unit/test_outbound.py",),
    ),
    Mutation(
        "dead letters are not mandatory",
        (("consumer/messages/outbound_dead_letters.py", "        mandatory=True,\n", "        mandatory=False,\n"),),
        ("tests/unit/test_dead_letters.py",),
    ),
    Mutation(
        "no row lock",
        (
            ("consumer/store/sql/lock_available.sql", "\n   FOR NO KEY UPDATE OF w SKIP LOCKED", ""),
            ("consumer/store/sql/lock_waiting.sql", "\n   FOR NO KEY UPDATE OF w", ""),
        ),
        (f"{RACES}::test_two_commands_at_once",),
    ),
    Mutation(
        "the log as it was before the lock is believed",
        (("consumer/store/provisioning_statements.py", ' or record["seen_seq"] != website.seq:\n', ":\n"),),
        ("tests/simulation/test_store_contract.py::test_what_moved_during_the_wait_is_known",),
    ),
    Mutation(
        "dispatchers do not lock what they claim",
        (("consumer/store/sql/claim.sql", "\n       FOR NO KEY UPDATE SKIP LOCKED", ""),),
        (f"{RACES}::test_two_dispatchers",),
    ),
    Mutation(
        "a command's id is another each time",
        (
            (
                "consumer/messages/outbound.py",
                'return uuid5(last_message_id or FIRST_COMMAND_NAMESPACE, f"',
                'return __import__("uuid").uuid4() or uuid5(last_message_id or FIRST_COMMAND_NAMESPACE, f"',
            ),
        ),
        ("tests/unit/test_outbound.py",),
    ),
    Mutation(
        "an event's id is another each time",
        (
            (
                "consumer/messages/outbound.py",
                'message_id=str(uuid5(row.message_id, f"',
                'message_id=str(__import__("uuid").uuid4() or uuid5(row.message_id, f"',
            ),
        ),
        ("tests/unit/test_outbound.py",),
    ),
    Mutation(
        "facts are read before the step",
        (
            ("consumer/provisioning/use_case.py", "            facts = await _facts(unit, planned)\n", ""),
            (
                "consumer/provisioning/use_case.py",
                "            fallbacks = await self._step(unit, planned, careful=alone)\n",
                "            facts = await _facts(unit, planned)\n"
                "            fallbacks = await self._step(unit, planned, careful=alone)\n",
            ),
        ),
        ("tests/faults/test_domain.py::test_a_guard_broken_after_its_step",),
    ),
    Mutation(
        "a clear does not ask which seq it is for",
        (("consumer/store/sql/mark_published.sql", "   AND w.provisioning_seq = rest.seq\n", ""),),
        ("tests/integration/test_due_time.py",),
    ),
    Mutation(
        "one culprit takes its whole batch along",
        (
            (
                "consumer/worker/delivery_loop.py",
                "                await self._execute_batch(batch[:half])\n"
                "                await self._execute_batch(batch[half:])\n",
                "                for execution in batch[:half] and batch:\n"
                "                    await self._record_fault(execution, classify(error))\n",
            ),
        ),
        (f"{OUTCOMES}::test_one_culprit_fails_alone",),
    ),
    Mutation(
        "a redrive acks what was not confirmed",
        (
            (
                "ops/dead_letters/actions.py",
                "                    if error is None:\n                        await session.ack(delivery)\n",
                "                    if error or error is None:\n                        await session.ack(delivery)\n",
            ),
        ),
        ("tests/integration/test_redrive.py::test_an_unconfirmed_letter_stays",),
    ),
    Mutation(
        "a dead letter is sent back before that is written down",
        (
            (
                "ops/dead_letters/actions.py",
                "                numbers = await _record(action, [summary for _, summary in batch], messages)\n",
                "",
            ),
            (
                "ops/dead_letters/actions.py",
                "                for (delivery, _), error in",
                "                numbers = await _record(action, [summary for _, summary in batch], messages)\n"
                "                for (delivery, _), error in",
            ),
        ),
        (f"{LETTERS}::test_what_cannot_be_recorded_is_not_done",),
    ),
    Mutation(
        "an edited letter has another id each time",
        (
            (
                "ops/dead_letters/edited_copies.py",
                "return str(uuid5(EDITED_NAMESPACE, ",
                "return str(uuid5(uuid5(EDITED_NAMESPACE, repr(object())), ",
            ),
        ),
        (f"{LETTERS}::test_an_edit_that_died_half_way_is_done_once",),
    ),
    Mutation(
        "two tools take the dead letters at once",
        (
            (
                "ops/dead_letters/queue_lease.py",
                "            if (await session.counts(queue)).consumers == 1:\n",
                "            if (await session.counts(queue)).consumers >= 1:\n",
            ),
        ),
        ("tests/integration/test_dead_letter_lease.py::test_tools_that_begin_together",),
    ),
    Mutation(
        "a paused worker keeps what it has not started",
        (
            (
                "consumer/worker/subscriber.py",
                "            await self.hand_back()\n            if not",
                "            if not",
            ),
        ),
        (f"{PAUSING}::test_what_was_started_is_finished_and_the_rest_given_back",),
    ),
    Mutation(
        "a paused worker drops what it has started",
        (
            (
                "consumer/worker/subscriber.py",
                "            if not self._buffer.in_flight and not len(self._buffer):\n",
                "            if True:\n",
            ),
        ),
        (f"{PAUSING}::test_what_was_started_is_finished_and_the_rest_given_back",),
    ),
    Mutation(
        "a worker takes before it has asked whether it is paused",
        (
            (
                "consumer/worker/heartbeat.py",
                '        gate.begin_closed(ClosedBy.OPERATOR, "not known yet")\n',
                "",
            ),
            (
                "consumer/worker/heartbeat.py",
                '            self._gate.close(ClosedBy.OPERATOR, f"not known yet: {error}")\n',
                "            pass\n",
            ),
        ),
        (f"{PAUSING}::test_a_worker_that_cannot_ask_takes_nothing",),
    ),
    Mutation(
        "a pause takes effect before it is recorded",
        (
            (
                "ops/workers/pause.py",
                "        numbers = await action.record([ActionItem(detail=detail) for detail in details])\n",
                "",
            ),
            (
                "ops/workers/pause.py",
                "        answers = await _wait_for_answers(",
                "        numbers = await action.record([ActionItem(detail=detail) for detail in details])\n"
                "        answers = await _wait_for_answers(",
            ),
        ),
        (f"{PAUSING}::test_it_is_recorded_before_it_takes_effect",),
    ),
    Mutation(
        "`init` takes away the edges of another version",
        (
            (
                "consumer/store/schema_diff.py",
                "        return self.machine | self.installed\n",
                "        return self.machine\n",
            ),
        ),
        ("tests/integration/test_schema.py::test_states_and_edges_of_another_version_stay_legal",),
    ),
    Mutation(
        "`init` runs migrations where nothing differs",
        (("consumer/store/migration_runner.py", "not in ledger or _undone(", "not in ledger or True or _undone("),),
        ("tests/integration/test_schema.py::test_an_up_to_date_schema_is_left_alone",),
    ),
)
