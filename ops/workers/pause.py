"""Pauses and resumes workers: the request is a row in the database, and each worker answers in its own row.

Recorded before it takes effect, settled once the workers have answered. Messages wait at the broker meanwhile.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from consumer.store.database import Store
from ops.audit.identity_proof import UNPROVEN, Proof
from ops.audit.trail import MAX_REASON_CHARACTERS, ActionItem, AuditTrail
from ops.errors import InvalidInputError
from ops.workers.queries import SQL, known_workers, select_workers

Verb = Literal["pause", "resume"]
POLL_SECONDS = 0.5


async def pause_or_resume(
    store: Store,
    verb: Verb,
    names: Sequence[str] | None,
    *,
    actor: str,
    reason: str | None,
    seconds: float,
    proof: Proof = UNPROVEN,
    progress: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Pause or resume workers by name, or all with None; return what each answered within so many seconds.

    Raises:
        UnknownWorkerError: nothing was done.
        InvalidInputError: no reason, or a single worker resumed while all are paused; nothing was done.
    """
    async with AuditTrail(store, actor, reason, proof).action(verb, ", ".join(names or ["all workers"])) as action:
        if verb == "pause" and not 1 <= len(reason or "") <= MAX_REASON_CHARACTERS:
            raise InvalidInputError(f"reason: say why, in 1 to {MAX_REASON_CHARACTERS} characters")
        known = await known_workers(store)
        selected = None if names is None else select_workers(known["workers"], names)
        if verb == "resume" and selected is not None and known["paused"]:
            raise InvalidInputError("all workers are paused, and none goes on alone: resume all, then pause the others")
        if selected is None:
            ids, details = ["all"], [{"worker": "all"}]
        else:
            ids = [worker["id"] for worker in selected]
            details = [{"worker": worker["id"], "name": worker["name"]} for worker in selected]
            action.target = ", ".join(worker["name"] for worker in selected)
        numbers = await action.record([ActionItem(detail=detail) for detail in details])
        async with store.connection() as connection:
            if verb == "pause":
                await connection.execute(SQL["pause"], ids, actor, reason)
            else:
                await connection.execute(SQL["resume"], None if selected is None else ids)
        answers = await _wait_for_answers(store, verb, None if selected is None else ids, seconds, progress)
        summary = answers_summary(verb, answers)
        # Of all, those that have not reported for long are listed and do not count: they may be dead.
        counted = [answer for answer in answers if selected is not None or not answer["stale"]]
        if selected is None:
            outcomes = {numbers[0]: summary}
        else:
            texts = {answer["id"]: _answer_text(answer) for answer in answers}
            outcomes = {
                number: texts.get(worker, "it has stopped") for number, worker in zip(numbers, ids, strict=True)
            }
        # A worker that has not answered in time is paused later all the same: the request stays.
        await action.settle(outcomes)
    return {
        "verb": verb,
        "everybody": selected is None,
        "answered": all(answer["answered"] for answer in counted),
        "outcome": summary,
        "workers": answers,
        "action_ids": [action.id],
    }


async def _wait_for_answers(
    store: Store, verb: Verb, ids: Sequence[str] | None, seconds: float, progress: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Wait until all workers that are not stale have answered, or the time is over."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while True:
        workers = [each for each in (await known_workers(store))["workers"] if ids is None or each["id"] in ids]
        for worker in workers:
            worker["answered"] = worker["paused"] == (verb == "pause") and not worker["stale"]
        left = deadline - loop.time()
        if left <= 0 or all(worker["answered"] or worker["stale"] for worker in workers):
            return workers
        progress(answers_summary(verb, workers))
        await asyncio.sleep(min(POLL_SECONDS, left))


def _answer_text(answer: Mapping[str, Any]) -> str:
    if answer["answered"]:
        return "done"
    if answer["stale"]:
        return f"no answer: not seen for {answer['unseen_seconds']:.0f} s"
    return f"no answer yet: {answer['in_flight']} deliveries in flight"


def answers_summary(verb: Verb, answers: Sequence[Mapping[str, Any]]) -> str:
    """Return the workers' answers as one sentence."""
    done = sum(1 for answer in answers if answer["answered"])
    if not answers:
        return "no worker runs; those that start will be paused" if verb == "pause" else "no worker runs"
    missing = [f"{answer['name']} ({_answer_text(answer)})" for answer in answers if not answer["answered"]]
    return f"{done} of {len(answers)} workers answered" + (f"; not: {', '.join(missing)}" if missing else "")
