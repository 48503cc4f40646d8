"""What a log may hold. Canaries are planted wherever a caller could pass something on; none may come out."""

import io
import json
import logging
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import structlog

from consumer.telemetry import logs as logs_module
from consumer.telemetry.logs import ALLOWED, NonBlockingStream, configure_logs
from consumer.worker import delivery_loop as worker_module
from consumer.worker import delivery_settlement as settlement_module
from consumer.worker.buffer import Buffer
from consumer.worker.delivery_loop import Worker
from consumer.worker.delivery_settlement import Settlement
from consumer.worker.gate import Gate
from tests.factories import TOPOLOGY, make_admission, make_delivery

EMAIL = "jane.canary@secret.example"
PASSWORD = "hunter2-canary"
URL = f"postgresql://provisioner:{PASSWORD}@canary.example/db"


class Terminal(io.StringIO):
    """Standard error in front of a person."""

    def isatty(self):
        return True


@pytest.fixture
def configure(monkeypatch):
    """Configure logging for one test, into a stream that is returned; afterwards all is as it was."""
    monkeypatch.setattr(logging.root, "handlers", [])
    levels = {name: logging.getLogger(name).level for name in ("", "aio_pika", "aiormq", "asyncio")}

    def configured(level, form, stream):
        monkeypatch.setattr(logs_module, "sys", SimpleNamespace(stderr=stream))
        configure_logs(level, form)
        return stream

    yield configured
    structlog.reset_defaults()
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture
def logged(configure):
    """Configured for JSON; call it for all that was logged, as text and as entries."""
    stream = configure("info", "json", io.StringIO())

    def read():
        return stream.getvalue(), [json.loads(line) for line in stream.getvalue().splitlines()]

    return read


def raise_canary():
    """Fail with a text that quotes a person."""
    raise ValueError(f"no such user: {EMAIL}")


def assert_no_canary(text):
    assert "canary" not in text.lower()
    assert PASSWORD not in text


@pytest.mark.parametrize(
    "field", ["body", "email", "owner", "owner_email", "url", "database_url", "amqp_url", "password", "headers", "dsn"]
)
def test_a_field_that_is_not_allowed_is_dropped(logged, field):
    """Whatever a caller passes under a name that is not on the list."""
    structlog.get_logger().info("delivery", website_id=42, **{field: f"{EMAIL} {URL}"})
    text, (entry,) = logged()
    assert_no_canary(text)
    assert set(entry) == {"event", "level", "timestamp", "website_id"}


def test_bound_fields_are_dropped_too(logged):
    """A logger that carries something along is no way around the list."""
    structlog.get_logger().bind(owner=EMAIL, website_id=42).warning("x", password=PASSWORD)
    text, (entry,) = logged()
    assert_no_canary(text)
    assert entry["website_id"] == 42


def test_an_exceptions_text_is_not_logged(logged):
    """It may quote what it fell over: exc_info is not on the list, and log.exception adds nothing."""
    try:
        raise_canary()
    except ValueError:
        structlog.get_logger().exception("defect", website_id=42)
        structlog.get_logger().error("defect", exc_info=True)
    text, entries = logged()
    assert_no_canary(text)
    assert [entry["event"] for entry in entries] == ["defect", "defect"]


def test_the_list_has_no_name_for_personal_things():
    """Nobody adds a field for an address, a body or a credential without this test."""
    private = {"body", "email", "owner", "owner_email", "name", "url", "password", "headers", "payload", "subdomain"}
    assert not ALLOWED & private
    assert {"event", "level", "timestamp", "outcome", "website_id", "message_id", "trigger", "duration_ms"} <= ALLOWED


def test_a_librarys_arguments_are_not_logged(logged):
    """Their loggers go through ours, with the message as it stands in their code and nothing filled in."""
    logging.getLogger("some.library").warning("cannot connect to %s as %s", URL, EMAIL)
    text, (entry,) = logged()
    assert_no_canary(text)
    assert (entry["event"], entry["logger"], entry["level"]) == ("library", "some.library", "warning")


def test_a_librarys_traceback_is_not_logged(logged):
    """Nor what it raised."""
    try:
        raise_canary()
    except ValueError:
        logging.getLogger("some.library").exception("it broke")
    text, (entry,) = logged()
    assert_no_canary(text)
    assert entry["what"] == "it broke"


@pytest.mark.parametrize("name", ["aio_pika", "aiormq.connection", "asyncio"])
def test_the_brokers_libraries_are_silent(logged, name):
    """They would report every lost connection with a traceback; the supervisor says it in one line."""
    logging.getLogger(name).error("connection lost: %s", URL)
    assert logged() == ("", [])


def test_json_is_one_line_an_entry(logged):
    """With level and a UTC timestamp; newlines and escape sequences of a sender are escaped, whoever reads the JSON."""
    structlog.get_logger().info("delivery", type='x\n{"event": "forged"}\x1b[31m', count=1)
    text, (entry,) = logged()
    assert text.count("\n") == 1
    assert "\x1b" not in text
    assert entry["type"] == "'" + r'x\n{"event": "forged"}\x1b[31m' + "'"
    assert entry["level"] == "info"
    assert entry["timestamp"].endswith("Z")


def test_a_console_is_not_steered_by_a_sender(configure):
    """Where a person watches, neither a newline nor an escape sequence in a field reaches the terminal."""
    stream = configure("info", "console", Terminal())
    structlog.get_logger().info("delivery", type="x\n2026-07-01 forged\x1b]0;title\x07", count=1)
    assert stream.getvalue().count("\n") == 1
    assert "\x1b]0;" not in stream.getvalue()


def test_the_level_is_a_bound(configure):
    """What is below it is not written."""
    stream = configure("warning", "json", io.StringIO())
    structlog.get_logger().info("quiet")
    structlog.get_logger().warning("loud")
    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["event"] == "loud"


@pytest.mark.parametrize(("stream", "is_json"), [(Terminal(), False), (io.StringIO(), True)])
def test_auto_asks_whether_a_person_watches(configure, stream, is_json):
    """JSON unless standard error is a terminal."""
    configure("info", "auto", stream)
    structlog.get_logger().info("delivery")
    assert stream.getvalue().startswith("{") == is_json


class Answered:
    """A publisher that remembers, and is always confirmed."""

    def __init__(self):
        self.messages = []

    async def publish_all(self, messages):
        self.messages += messages
        return [None] * len(messages)


class Broken:
    """A publisher with a defect, whose error quotes what it fell over."""

    async def publish_all(self, messages):
        raise ValueError(f"cannot encode {messages[0].body!r}")


def make_worker(monkeypatch, publisher):
    """A worker and its buffer, with nothing beneath: enough for what is refused before it reaches the database."""
    for module in (worker_module, settlement_module):
        monkeypatch.setattr(module, "log", structlog.get_logger())
    gate, (admission, _) = Gate(), make_admission(1)
    buffer = Buffer(TOPOLOGY.signups, admission)
    settlement = Settlement(admission=admission, gate=gate, store=None, publisher=publisher, topology=TOPOLOGY)
    worker = Worker(
        buffer=buffer, gate=gate, use_case=None, settlement=settlement, batch_size=1, step_timeout_seconds=1
    )
    return worker, buffer


@pytest.mark.parametrize(
    "delivery",
    [
        make_delivery(f'{{"website_id": 42, "reason": "{EMAIL}", "x": "{URL}"}}'.encode()),
        make_delivery(f"{EMAIL} {URL}".encode()),
        make_delivery({"website_id": EMAIL, "actor": PASSWORD}),
        make_delivery(message_id=EMAIL[:30], headers={"x": URL}, properties={"correlation_id": URL}, type="a.b"),
        make_delivery({"website_id": 42, EMAIL: 1}),
    ],
)
async def test_a_refused_delivery_leaves_one_line_without_its_body(logged, monkeypatch, delivery):
    """From receipt to dead letter and ack: one canonical line, with outcome and reason, and nothing of the body."""
    publisher = Answered()
    worker, buffer = make_worker(monkeypatch, publisher)
    buffer.put(delivery)
    await worker.run_once(await buffer.take(1))
    assert [message.headers["x-reason"] for message in publisher.messages] == ["poison"]
    assert delivery.session.acked == [delivery]
    text, (entry,) = logged()
    assert (entry["event"], entry["outcome"], entry["reason"]) == ("delivery", "rejected", "poison")
    assert {"message_id", "type", "queue", "redelivered", "batch", "duration_ms", "error"} <= set(entry)
    entry.pop("message_id")  # which is the sender's to choose, and is what a message is found by
    assert_no_canary(json.dumps(entry))
    assert PASSWORD not in text


async def test_a_defect_of_the_worker_is_logged_without_what_it_quotes(logged, monkeypatch):
    """Its kind and its frames, so that it can be found; not its text, which may quote a body."""
    worker, buffer = make_worker(monkeypatch, Broken())
    delivery = make_delivery(f"{EMAIL} {URL}".encode())
    buffer.put(delivery)
    await worker.run_once(await buffer.take(1))
    buffer.take_all()
    assert delivery.session.acked == []
    text, (entry,) = logged()
    assert (entry["event"], entry["error"]) == ("worker failed", "ValueError")
    assert "delivery_loop.py" in entry["traceback"]
    assert_no_canary(text)


def test_a_full_pipe_stops_nobody():
    """What it does not take is dropped and counted; once somebody reads again, the count is written."""
    read, write = os.pipe()
    with os.fdopen(read, encoding="utf-8") as reader, os.fdopen(write, "w", encoding="utf-8") as writer:
        stream = NonBlockingStream(writer)
        while not stream.dropped:
            stream.write("é" * 900 + "\n")
        stream.write("lost\n")
        os.set_blocking(read, False)
        assert "é" in reader.read()
        stream.write("kept\n")
        text = reader.read()
    assert '{"event": "log lines dropped", "count": 2}\n' in text
    assert text.endswith("kept\n")
    assert "lost" not in text


def test_a_reader_that_is_gone_stops_nobody():
    """Its lines are dropped and counted, whatever is wrong with standard error; none is kept for the end."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as unread, Path("/dev/full").open("w") as full:
        for stream in (unread, full):
            lines = NonBlockingStream(stream)
            lines.write("lost\n")
            lines.write("lost\n")
            assert lines.dropped == 2


def test_a_process_without_standard_error_logs_nowhere(configure):
    """It was closed by whoever started it: sys.stderr is None."""
    configure("info", "auto", None)
    structlog.get_logger().info("delivery")


def test_a_terminal_that_knows_ascii_alone_gets_escapes(tmp_path):
    """A letter that its encoding lacks is no reason to lose the line."""
    with (tmp_path / "log").open("w", encoding="ascii") as stream:
        NonBlockingStream(stream).write("é\n")
    assert (tmp_path / "log").read_text() == "\\xe9\n"
