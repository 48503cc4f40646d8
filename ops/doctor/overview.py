"""The overview: how the service does, in a few figures that are cheap to read, and how bad each of them is.

`provisioner overview` prints it, and the console shows it on every page. A reading takes five statements and one
inspection of three queues; the doctor's checks cost more and run beside it, once a minute at most. What cannot be read
is null, with the reason in `away`: a figure is never an old one, but for the dead letters while a tool reads them.
"""

import asyncio
import math
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from consumer.broker.protocol import Broker, BrokerDownError, BrokerError, ConsumerSession
from consumer.broker.topology import Topology
from consumer.error_classification import SESSION_LOST
from consumer.messages.foreign_text import printable
from consumer.store.database import Store
from ops.doctor.broker_checks import BACKLOG
from ops.doctor.run import SharedReport
from ops.doctor.website_checks import FALLBACK_SECONDS, MAX_FOUND, SQL, STALLED_SECONDS
from ops.errors.reports import report_error
from ops.text.duration_text import span
from ops.websites.service_figures import oldest_under_way
from ops.workers.queries import known_workers, live_workers

DOCTOR_SECONDS = 60.0
"""The doctor checks again no sooner, and no sooner than ten times what it took."""
COST_FACTOR = 10
"""Of the time, reading takes a tenth at most."""
STATEMENT_SECONDS = 3.0
"""These statements take milliseconds; one that takes so long is given up."""
BROKER_SECONDS = 3.0
"""An answer of the broker takes milliseconds; an overview does not wait as long as what must be done."""
PAUSES_LISTED = 8
SHOWN_BY_ITSELF = {
    ("websites", "failed"), ("websites", "on defaults"), ("broker", "dead letters"), ("broker", "backlog"),
    ("workers", "running"), ("workers", "seen"), ("workers", "paused"),
}  # fmt: skip
"""Findings of the doctor that the overview has as figures: of equally bad ones another is shown."""


class OverviewReader:
    """Reads the overview again and again; the doctor's checks run beside it."""

    def __init__(self, store: Store, broker: Broker, topology: Topology, doctor: SharedReport) -> None:
        """Take what is read; nothing is opened yet."""
        self._store = store
        self._broker = broker
        self._topology = topology
        self._doctor = doctor
        self._session: ConsumerSession | None = None
        self._checking: asyncio.Task[Any] | None = None
        self._check_began_at = -math.inf
        self._dead_letters: tuple[int, str] | None = None
        """The last count that no tool was in the way of, and its time."""
        self.cost_seconds = 0.0
        """How long the last reading kept the database or a broker that answers at work."""

    async def read(self, *, doctor_seconds: float = 0.0) -> dict[str, Any]:
        """Return the overview. `doctor_seconds`: how long to wait for the doctor's first report.

        Raises:
            ConnectionSettingError: a setting of the database's connection is wrong.
        """
        self._check()
        away: dict[str, str] = {}
        read_at: dict[str, str | None] = dict.fromkeys(("database", "queues", "dead_letters", "doctor"))
        database, queues = await asyncio.gather(self._read_database(away), self._read_queues(away))
        self.cost_seconds = database.pop("seconds") + queues.pop("seconds")
        if self._checking is not None and self._doctor.latest is None and doctor_seconds:
            await asyncio.wait([self._checking], timeout=doctor_seconds)
        if why := self._why_unchecked():
            away["doctor"] = why
        report = None if why else self._doctor.latest
        read_at |= {
            "database": None if "database" in away else _now(),
            "queues": None if "broker" in away else _now(),
            "dead_letters": queues.pop("dead_letters_at"),
            "doctor": report["checked_at"] if report else None,
        }
        found = {**database, **queues, "doctor": report and _verdict(report), "away": away, "read_at": read_at}
        return {"at": _now(), **found, "items": list(_items(found))}

    async def close(self) -> None:
        """Close the connection to the broker, and stop the doctor's checks."""
        if self._checking is not None:
            self._checking.cancel()
            await asyncio.wait([self._checking])
        await self._close_session()

    def _check(self) -> None:
        """Begin the doctor's checks, where none run and the last report is old."""
        if self._checking is not None and not self._checking.done():
            return
        latest = self._doctor.latest
        pause = max(DOCTOR_SECONDS, COST_FACTOR * latest["seconds"]) if latest else DOCTOR_SECONDS
        if min(self._doctor.age_seconds, time.monotonic() - self._check_began_at) >= pause:
            self._check_began_at = time.monotonic()
            self._checking = asyncio.create_task(self._doctor.report(), name="doctor")

    def _why_unchecked(self) -> str | None:
        """Return the error that ended the doctor's last checks; None where none did, or where they still run."""
        checking = self._checking
        error = checking.exception() if checking and checking.done() and not checking.cancelled() else None
        return report_error(error).text if error else None

    async def _read_database(self, away: dict[str, str]) -> dict[str, Any]:
        began = time.monotonic()
        found: dict[str, Any] = dict.fromkeys(("failed", "failed_elsewhere", "oldest", "workers", "on_defaults"))
        try:
            failed = await self._store.read_within(SQL["failed_websites"], seconds=STATEMENT_SECONDS)
            fallen = (FALLBACK_SECONDS, MAX_FOUND + 1)
            on_defaults = await self._store.read_within(SQL["on_defaults"], *fallen, seconds=STATEMENT_SECONDS)
            known = await known_workers(self._store)
            oldest = await oldest_under_way(self._store)
        except SESSION_LOST as error:
            away["database"] = report_error(error).text
            return found | {"seconds": 0.0}
        if failed is None or on_defaults is None:
            away["database"] = f"PostgreSQL: not counted within {STATEMENT_SECONDS:.0f} s"
        found |= {
            "failed": failed and failed[0]["websites"],
            "failed_elsewhere": failed and failed[0]["others"],
            "oldest": oldest,
            "workers": _workers(known),
            "on_defaults": None if on_defaults is None else len(on_defaults),
        }
        return found | {"seconds": time.monotonic() - began}

    async def _read_queues(self, away: dict[str, str]) -> dict[str, Any]:
        """Count what waits at the broker. Dead letters that a tool has leased are not counted: the last count stays."""
        began = time.monotonic()
        names = self._topology
        unknown = {"queues": None, "dead_letters": None, "dead_letters_at": None, "seconds": 0.0}
        try:
            async with asyncio.timeout(BROKER_SECONDS):
                if self._session is None or self._session.closed.is_set():
                    self._session = await self._broker.open_consumer()
                signups = await self._session.counts(names.signups)
                commands = await self._session.counts(names.commands)
                dead_letters = await self._session.counts(names.dead_letters)
        except (BrokerError, TimeoutError) as error:
            late = BrokerDownError(f"no answer within {BROKER_SECONDS:.0f} s")
            away["broker"] = report_error(late if isinstance(error, TimeoutError) else error).text
            await self._close_session()
            return unknown
        if not dead_letters.consumers:
            self._dead_letters = dead_letters.ready, _now()
        elif self._dead_letters is None:
            away["dead_letters"] = "another tool is reading them: look again when it has finished"
        count, at = self._dead_letters or (None, None)
        return {
            "queues": {"signups": signups.ready, "commands": commands.ready},
            "dead_letters": count, "dead_letters_at": at, "seconds": time.monotonic() - began,
        }  # fmt: skip

    async def _close_session(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _workers(known: Mapping[str, Any]) -> dict[str, Any]:
    """Return how many workers there are, and who has paused which."""
    live = live_workers(known)
    everybody = known["paused"]
    pauses = [{"worker": each["name"], **each["pause"]} for each in live if each["pause"]]
    return {
        "live": len(live),
        "paused": len(live) if everybody else len(pauses),
        "not_seen": len(known["workers"]) - len(live),
        "pauses": [{"worker": "all", **everybody}] if everybody else pauses[:PAUSES_LISTED],
    }


def _verdict(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the doctor's worst finding, where one is a warning or a failure, and the counts."""
    found = [finding for finding in report["findings"] if finding["level"] == report["worst"]]
    others = [finding for finding in found if (finding["area"], finding["what"]) not in SHOWN_BY_ITSELF]
    finding = next(iter(others or found)) if report["worst"] in ("warn", "fail") else None
    return {"worst": report["worst"], "counts": report["counts"], "finding": finding}


def _items(found: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Yield what the overview says, an item a figure: its level as the doctor's, label and text, and what to do."""
    away = found["away"]
    if "database" in away:
        yield _item("database", "fail", "PostgreSQL", away["database"].removeprefix("PostgreSQL: "))
    if "broker" in away:
        yield _item("broker", "fail", "RabbitMQ", away["broker"].removeprefix("RabbitMQ: "))
    yield _failed(found["failed"], found["failed_elsewhere"])
    yield _count("dead_letters", found["dead_letters"], "fail", "`provisioner dead-letters list --grouped`")
    yield _waiting(found["queues"], found["oldest"])
    yield _working(found)
    yield _count("on_defaults", found["on_defaults"], "warn", "`provisioner list --on-defaults`", MAX_FOUND)
    yield _doctor_item(found["doctor"], away.get("doctor", "not read yet"))


def _item(name: str, level: str, label: str, text: str, then: str = "") -> dict[str, str]:
    """Return an item; its text, which may have somebody's reason in it, is made printable."""
    return {"name": name, "level": level, "label": label, "text": printable(text), "next": printable(then)}


def _count(name: str, count: int | None, level: str, then: str, most: float = math.inf) -> dict[str, str]:
    """Return the item about what there should be none of; at most `most` are counted."""
    label = name.replace("_", " ")
    if count is None:
        return _item(name, "unknown", label, "not known")
    text = str(count) if count <= most else f"more than {most}"
    return _item(name, level if count else "ok", label, text, then if count else "")


def _failed(count: int | None, elsewhere: int | None) -> dict[str, str]:
    """Return the item about failed websites; those that this service never provisioned are only named."""
    item = _count("failed", count, "fail", "`provisioner failures list`")
    return item | ({"text": f"{count}, and {elsewhere} never provisioned here"} if elsewhere else {})


def _waiting(queues: Mapping[str, int] | None, oldest: Mapping[str, Any] | None) -> dict[str, str]:
    """Return the item about what waits: messages, and the website that has been under way longest."""
    parts, level = [], "ok"
    if queues is None:
        parts, level = ["messages not known"], "unknown"
    else:
        parts = [f"{count} {name}" for name, count in queues.items() if count] or ["no message"]
    if oldest:
        parts.append(f"website {oldest['website_id']} since {span(oldest['seconds'])}")
    late = oldest is not None and oldest["seconds"] > STALLED_SECONDS
    if late or (queues and max(queues.values()) > BACKLOG):
        then = f"`provisioner explain {oldest['website_id']}`" if oldest and late else "start more workers"
        return _item("waiting", "warn", "waiting", ", ".join(parts), then)
    return _item("waiting", level, "waiting", ", ".join(parts))


def _working(found: Mapping[str, Any]) -> dict[str, str]:
    """Return the item about the workers: how many, and who has paused them."""
    workers = found["workers"]
    if workers is None:
        return _item("workers", "unknown", "workers", "not known")
    live, paused, pauses = workers["live"], workers["paused"], workers["pauses"]
    why = "; ".join(f"by {each['actor']}: {each['reason']}" for each in pauses[:1])
    lost = f", {workers['not_seen']} not seen" if workers["not_seen"] else ""
    if pauses and pauses[0]["worker"] == "all":
        return _item(
            "workers", "warn", "workers", f"{live or 'none'}, all paused {why}{lost}", "`provisioner resume --all`"
        )
    if not live:
        waits = any((found["queues"] or {}).values()) or found["oldest"]
        return _item("workers", "fail" if waits else "warn", "workers", f"none{lost}", "start `provisioner worker`")
    text = f"{live - paused}" + (f", {paused} paused {why}" if paused else "") + lost
    if paused or lost:
        return _item("workers", "warn", "workers", text, "`provisioner workers`")
    return _item("workers", "ok", "workers", text)


def _doctor_item(verdict: Mapping[str, Any] | None, why: str) -> dict[str, str]:
    if verdict is None:
        return _item("doctor", "unknown", "doctor", why, "`provisioner doctor`")
    finding, counts = verdict["finding"], verdict["counts"]
    if finding is None:
        return _item("doctor", "ok", "doctor", "nothing failed")
    words = {"fail": ("failure", "failures"), "warn": ("warning", "warnings")}[verdict["worst"]]
    count = counts[verdict["worst"]]
    text = f"{count} {words[count != 1]}; {finding['area']}: {finding['what']}: {finding['have']}"
    return _item("doctor", verdict["worst"], "doctor", text, finding["next"])
