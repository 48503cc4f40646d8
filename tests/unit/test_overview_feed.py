"""The overview in words, and who reads it for the console's pages and streams: when, and how long a page waits."""

import asyncio
from typing import Any

import pytest
import pytest_asyncio

from ops.console import overview_feed
from ops.console.overview_feed import OverviewFeed
from ops.doctor.overview import _items, _verdict
from tests.worker_processes import until

CALM = {
    "failed": 0, "failed_elsewhere": 0, "dead_letters": 0, "queues": {"signups": 0, "commands": 0},
    "oldest": None, "on_defaults": 0,
    "workers": {"live": 2, "paused": 0, "not_seen": 0, "pauses": []},
    "doctor": {"worst": "ok", "counts": {"fail": 0, "warn": 0}, "finding": None}, "away": {},
}  # fmt: skip
PAUSE = {"worker": "all", "actor": "cli:ana", "reason": "maintenance", "since": "2026-11-30T12:00:00+00:00"}


def item(name: str, **found: Any) -> tuple[str, str, str]:
    """The level, the text and what to do next of one item."""
    (each,) = [each for each in _items(CALM | found) if each["name"] == name]
    return each["level"], each["text"], each["next"]


def workers(**changes: Any) -> dict[str, Any]:
    return CALM["workers"] | changes  # type: ignore[operator, no-any-return]


def test_all_is_calm() -> None:
    """Every figure has an item, and each of them is ok."""
    assert [(each["name"], each["level"]) for each in _items(CALM)] == [
        (name, "ok") for name in ("failed", "dead_letters", "waiting", "workers", "on_defaults", "doctor")
    ]


@pytest.mark.parametrize(
    ("name", "found", "expected"),
    [
        ("failed", {"failed": 3002}, ("fail", "3002", "`provisioner failures list`")),
        ("failed", {"failed": None, "failed_elsewhere": None}, ("unknown", "not known", "")),
        ("failed", {"failed_elsewhere": 7}, ("ok", "0, and 7 never provisioned here", "")),
        ("dead_letters", {"dead_letters": 7}, ("fail", "7", "`provisioner dead-letters list --grouped`")),
        ("on_defaults", {"on_defaults": 1001}, ("warn", "more than 1000", "`provisioner list --on-defaults`")),
        ("waiting", {"queues": None}, ("unknown", "messages not known", "")),
        ("waiting", {"queues": {"signups": 0, "commands": 4}}, ("ok", "4 commands", "")),
        (
            "waiting",
            {"queues": {"signups": 0, "commands": 10_001}},
            ("warn", "10001 commands", "start more workers"),
        ),
        (
            "waiting",
            {"oldest": {"website_id": 7, "seconds": 1200.0}},
            ("warn", "no message, website 7 since 20 min", "`provisioner explain 7`"),
        ),
        ("workers", {"workers": workers(live=0)}, ("warn", "none", "start `provisioner worker`")),
        (
            "workers",
            {"workers": workers(live=0, not_seen=1), "queues": {"signups": 1, "commands": 0}},
            ("fail", "none, 1 not seen", "start `provisioner worker`"),
        ),
        (
            "workers",
            {"workers": workers(paused=2, pauses=[PAUSE])},
            ("warn", "2, all paused by cli:ana: maintenance", "`provisioner resume --all`"),
        ),
        (
            "workers",
            {"workers": workers(paused=1, pauses=[PAUSE | {"worker": "web-3:7"}])},
            ("warn", "1, 1 paused by cli:ana: maintenance", "`provisioner workers`"),
        ),
        ("doctor", {"doctor": None}, ("unknown", "not read yet", "`provisioner doctor`")),
        ("broker", {"away": {"broker": "RabbitMQ: cannot connect"}}, ("fail", "cannot connect", "")),
        ("database", {"away": {"database": "PostgreSQL: no answer"}}, ("fail", "no answer", "")),
    ],
)
def test_an_item_says_how_bad_it_is(name: str, found: dict[str, Any], expected: tuple[str, str, str]) -> None:
    """Its level, its text, and what to do next where something is wrong."""
    assert item(name, **found) == expected


def test_a_reason_cannot_reverse_the_text_around_it() -> None:
    """What does not print in somebody's reason for a pause is escaped."""
    paused = workers(paused=2, pauses=[PAUSE | {"reason": "x\u202e\x1b[2J"}])
    assert item("workers", workers=paused)[1] == r"2, all paused by cli:ana: x\u202e\x1b[2J"


def test_the_doctors_worst_finding_is_one_that_no_figure_shows() -> None:
    """Of equally bad findings; the only one is shown all the same, and what is not known is no finding."""

    def finding(area: str, what: str, level: str) -> dict[str, str]:
        return {"area": area, "what": what, "level": level, "have": "x", "need": "", "next": "mend it"}

    failed, role = finding("websites", "failed", "warn"), finding("database", "role", "warn")
    report = {"worst": "warn", "counts": {"warn": 2}, "findings": [failed, role]}
    verdict = _verdict(report)
    assert verdict["finding"] == role
    assert item("doctor", doctor=verdict) == ("warn", "2 warnings; database: role: x", "mend it")
    assert _verdict(report | {"findings": [failed]})["finding"] == failed
    assert _verdict({"worst": "unknown", "counts": {}, "findings": [finding("a", "b", "unknown")]})["finding"] is None


class FakeReader:
    """Reads what it is given, as soon as it is let."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.error: Exception | None = None
        self.cost_seconds = 0.0
        self.closed = False

    async def read(self, **_: float) -> dict[str, Any]:
        await self.may_answer.wait()
        if self.error:
            raise self.error
        return CALM | {"items": list(_items(CALM))}

    async def close(self) -> None:
        self.closed = True


class Feed:
    """A feed that runs, its reader, whether a stream is open, and what was published."""

    def __init__(self) -> None:
        self.reader = FakeReader()
        self.streamed = False
        self.published: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.feed = OverviewFeed(
            self.reader,  # type: ignore[arg-type]
            is_streamed=lambda: self.streamed, publish=self.published.put_nowait,
        )  # fmt: skip


@pytest_asyncio.fixture
async def running(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A feed that runs, and pauses between readings for no longer than it must."""
    monkeypatch.setattr(overview_feed, "READ_SECONDS", 0.01)
    monkeypatch.setattr(overview_feed, "PAGE_SECONDS", 0.5)
    made = Feed()
    task = asyncio.create_task(made.feed.run())
    yield made
    task.cancel()
    await asyncio.wait([task])
    assert made.reader.closed


async def test_nothing_is_read_while_nobody_looks(running: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page has it read, for as long as somebody may look at that page; then nothing, until the next."""
    monkeypatch.setattr(overview_feed, "LOOK_SECONDS", 0.0)
    running.reader.may_answer.set()
    assert running.feed.readings == 0
    assert await running.feed.current() is not None
    await running.published.get()

    async def rests() -> bool:
        return not running.feed._asked.is_set()

    await until(rests, 60, "it waits until somebody asks")
    assert running.feed.readings == 1
    running.streamed = True
    running.feed.wake()
    for _ in range(3):
        assert (await running.published.get())["items"][0]["page"] == "/failures"


async def test_a_page_waits_no_longer_than_a_moment(running: Feed) -> None:
    """For a reading that does not end: the first page a moment, those after it not at all; then the last one known."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert await running.feed.current() is None
    assert 0.4 < loop.time() - began < 30
    began = loop.time()
    assert await running.feed.current() is None
    assert loop.time() - began < 0.4
    running.reader.may_answer.set()
    await running.published.get()
    assert (await running.feed.current() or {})["failed"] == 0


async def test_an_error_ends_no_reading_for_good(running: Feed) -> None:
    """It is logged, and the next reading is published."""
    running.streamed, running.reader.error = True, RuntimeError("a defect")
    running.reader.may_answer.set()
    assert await running.feed.current() is None
    running.reader.error = None
    assert (await running.published.get())["failed"] == 0


async def test_reading_takes_a_tenth_of_the_time(running: Feed) -> None:
    """What it costs is waited for ten times, and the overview says when the next follows."""
    running.reader.cost_seconds = 60.0
    running.reader.may_answer.set()
    assert (await running.feed.current() or {})["every_seconds"] == 600.0
