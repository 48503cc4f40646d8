"""Who works, and how people pause and resume them: what is wanted stands in the database, and each worker answers.

Recorded before it takes effect, settled once the workers have answered. Messages wait at the broker meanwhile.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from consumer.store import Store
from ops.reading import SQL, Unusable
from ops.recording import Action, record, settle

Verb = Literal["pause", "resume"]
STALE_SECONDS = 15.0
"""A worker says that it is there every 3 seconds, 5 at most: who has not for so long is dead, or cut off."""
LOOK_SECONDS = 0.5
SHORTEST_PREFIX = 4
LONGEST_REASON = 500


class NoWorker(Exception):  # noqa: N818
    """There is no such worker, or more than one; the text says what was looked for."""


async def workers(store: Store) -> dict[str, Any]:
    """Return the worker processes that are known, and who has paused all of them."""
    async with store.connection() as connection:
        records = await connection.fetch(SQL["workers"])
        everybody = await connection.fetch(SQL["pause_of_all"])
    return {
        "paused": _pause(everybody[0], "since") if everybody else None,
        "workers": [_worker(row) for row in records],
    }


def _worker(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": str(row["id"]),
        "name": f"{row['host']}:{row['pid']}",
        "host": row["host"],
        "pid": row["pid"],
        "version": row["version"],
        "since": row["since"].isoformat(),
        "seen_at": row["seen_at"].isoformat(),
        "unseen_seconds": round(max(0.0, row["unseen_seconds"]), 1),
        "stale": row["unseen_seconds"] > STALE_SECONDS,
        "in_flight": row["in_flight"],
        "last_delivery_at": row["last_delivery_at"] and row["last_delivery_at"].isoformat(),
        "paused": row["paused"],
        "pause": _pause(row, "paused_since"),
    }


def _pause(row: Mapping[str, Any], since: str) -> dict[str, Any] | None:
    if row["actor"] is None:
        return None
    return {"actor": row["actor"], "reason": row["reason"], "since": row[since].isoformat()}


def chosen(known: Sequence[dict[str, Any]], names: Sequence[str]) -> list[dict[str, Any]]:
    """Return workers by id, by the beginning of an id, or by HOST:PID, each once.

    Raises:
        NoWorker: naming the first that is not there, or that could be several.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        asked = name.strip()
        prefix = asked.lower() if len(asked) >= SHORTEST_PREFIX else None
        fitting = [each for each in known if asked in (each["id"], each["name"])]
        fitting = fitting or [each for each in known if prefix and each["id"].startswith(prefix)]
        alive = [each for each in fitting if not each["stale"]]
        if len(alive or fitting) != 1:
            what = "no worker" if not fitting else "more than one worker"
            raise NoWorker(f"there is {what} {asked!r}: name it by its id or as HOST:PID")
        (worker,) = alive or fitting
        found[worker["id"]] = worker
    return list(found.values())


async def want(
    store: Store, verb: Verb, names: Sequence[str] | None, *, actor: str, reason: str | None, seconds: float
) -> dict[str, Any]:
    """Pause or resume workers by name, or all with None; return what each answered within so many seconds.

    Raises:
        NoWorker: nothing was done.
        Unusable: no reason, or a single worker resumed while all are paused; nothing was done.
    """
    if verb == "pause" and not 1 <= len(reason or "") <= LONGEST_REASON:
        raise Unusable(f"reason: say why, in 1 to {LONGEST_REASON} characters")
    there = await workers(store)
    meant = None if names is None else chosen(there["workers"], names)
    if verb == "resume" and meant is not None and there["paused"]:
        raise Unusable("all workers are paused, and none goes on alone: resume all, then pause the others")
    wanted = ["all"] if meant is None else [worker["id"] for worker in meant]
    about = [{"worker": "all"}] if meant is None else [{"worker": each["id"], "name": each["name"]} for each in meant]
    ids = await record(store, actor, verb, reason, [Action(detail=detail) for detail in about])
    async with store.connection() as connection:
        if verb == "pause":
            await connection.execute(SQL["pause"], wanted, actor, reason)
        else:
            await connection.execute(SQL["resume"], None if meant is None else wanted)
    answers = await _answers(store, verb, None if meant is None else wanted, seconds)
    if meant is None:
        outcomes = {ids[0]: summary(verb, answers)}
    else:
        told = {answer["id"]: _said(answer) for answer in answers}
        outcomes = {action: told.get(worker, "it has stopped") for action, worker in zip(ids, wanted, strict=True)}
    await settle(store, outcomes)
    # Of all, those that nobody has seen for long are told and do not count: they may be dead.
    counted = [answer for answer in answers if meant is not None or not answer["stale"]]
    return {
        "verb": verb,
        "everybody": meant is None,
        "answered": all(answer["answered"] for answer in counted),
        "outcome": summary(verb, answers),
        "workers": answers,
        "action_ids": ids,
    }


async def _answers(store: Store, verb: Verb, ids: Sequence[str] | None, seconds: float) -> list[dict[str, Any]]:
    """Look until all who can have answered, or the time is over."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + seconds
    while True:
        there = [each for each in (await workers(store))["workers"] if ids is None or each["id"] in ids]
        for each in there:
            each["answered"] = each["paused"] == (verb == "pause") and not each["stale"]
        left = ends - loop.time()
        if left <= 0 or all(each["answered"] or each["stale"] for each in there):
            return there
        await asyncio.sleep(min(LOOK_SECONDS, left))


def _said(answer: Mapping[str, Any]) -> str:
    if answer["answered"]:
        return "done"
    if answer["stale"]:
        return f"no answer: not seen for {answer['unseen_seconds']:.0f} s"
    return f"no answer yet: {answer['in_flight']} deliveries in flight"


def summary(verb: Verb, answers: Sequence[Mapping[str, Any]]) -> str:
    """Return what came of it in one sentence."""
    done = sum(1 for answer in answers if answer["answered"])
    if not answers:
        return "no worker runs; those that start will be paused" if verb == "pause" else "no worker runs"
    missing = [f"{answer['name']} ({_said(answer)})" for answer in answers if not answer["answered"]]
    return f"{done} of {len(answers)} workers answered" + (f"; not: {', '.join(missing)}" if missing else "")
