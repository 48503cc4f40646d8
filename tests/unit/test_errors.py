"""Which exception means what: a table of SQLSTATEs and exceptions, and sentences that leak no value."""

import asyncio

import asyncpg
import pytest

from consumer.broker.protocol import (
    BrokerDownError,
    BrokerError,
    NackedError,
    QueueMissingError,
    UnroutableError,
)
from consumer.domain.records import FailureCause
from consumer.error_classification import (
    CommitUnconfirmedError,
    Conflict,
    Defect,
    Infrastructure,
    LockedElsewhere,
    Permanent,
    StepTimeoutError,
    Transient,
    classify,
)

CANARY = "jane.canary@secret.example"

SQLSTATES = {
    LockedElsewhere: ["55P03"],
    Transient: ["0A000", "40001", "40P01", "57014"],
    Permanent: ["22000", "22001", "22003", "22021", "22P02", "22P05", "23502", "23503", "23505", "23514", "23P01"],
    Infrastructure: [
        "08000", "08001", "08003", "08004", "08006", "08007", "08P01", "2200H", "25006", "26000", "28000", "28P01",
        "3D000", "42501", "42703", "42P01", "42P05", "42P10", "53000", "53100", "53200", "53300", "53400", "55000",
        "57P01", "57P02", "57P03", "57P05", "58000", "58030", "58P01", "F0000", "XX000", "XX001", "XX002",
    ],
    Defect: ["42601", "42804", "42883", "21000", "P0001", "P0002", "34000", "25P02", "99999"],
}  # fmt: skip


def server_error(sqlstate, **fields):
    """An error as asyncpg makes it of the server's answer."""
    said = {"S": "ERROR", "C": sqlstate, "M": "something went wrong", "D": f"Key (email)=({CANARY}) is wrong."}
    return asyncpg.PostgresError.new(said | fields)


def sentences(fault):
    return f"{fault} {fault.error}"


@pytest.mark.parametrize(("fault", "sqlstate"), [(fault, code) for fault, codes in SQLSTATES.items() for code in codes])
def test_an_sqlstate_means(fault, sqlstate):
    """Each code of the table above, one at a time; none of the sentences repeats what the server's DETAIL quotes."""
    classified = classify(server_error(sqlstate))
    assert type(classified) is fault
    assert sqlstate in classified.error
    assert CANARY not in sentences(classified)


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (asyncpg.UniqueViolationError("duplicate key"), "sqlstate_23"),
        (asyncpg.DeadlockDetectedError("deadlock detected"), "sqlstate_40"),
        (asyncpg.QueryCanceledError("canceling statement"), "sqlstate_57"),
        (server_error("P0001"), "sqlstate_P0"),
        (server_error("ZZ123"), "sqlstate_other"),
        (asyncpg.PostgresError("without an SQLSTATE"), "other"),
        (StepTimeoutError(), "timeout"),
        (KeyError("ana@example.com"), "defect"),
    ],
    ids=lambda known: known if isinstance(known, str) else type(known).__name__,
)
def test_a_cause_is_one_of_a_few(error, cause):
    """Whatever is raised, and whatever code a server sends: it labels a metric."""
    assert classify(error).cause == cause
    assert isinstance(classify(error).cause, FailureCause)


def test_a_double_in_the_log_is_a_conflict():
    """23505 on the log is never permanent: somebody else took this transition, so judge again."""
    error = server_error("23505", t="provisioning_transitions", n="provisioning_transitions_message_once")
    assert type(classify(error)) is Conflict


def test_any_other_double_is_permanent_and_names_its_constraint():
    """So that a taken subdomain can be told from the rest."""
    fault = classify(server_error("23505", t="pwb_websites", n="index_pwb_websites_on_lower_subdomain"))
    assert isinstance(fault, Permanent)
    assert fault.constraint == "index_pwb_websites_on_lower_subdomain"


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
        asyncpg.InternalClientError("got result for unknown protocol state 3"),
        ConnectionRefusedError(111, "Connect call failed"),
        ConnectionResetError(),
        BrokenPipeError(),
        OSError("no route to host"),
        EOFError(),
        asyncio.IncompleteReadError(b"", 4),
        CommitUnconfirmedError("COMMIT was answered with ROLLBACK"),
        BrokerError("x"),
        BrokerDownError("x"),
        UnroutableError("x"),
        NackedError("x"),
        QueueMissingError("x"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_something_underneath_is_away(error):
    """A lost connection or an unknown COMMIT pauses the pool, and costs no message an attempt."""
    assert type(classify(error)) is Infrastructure


def test_a_step_that_takes_too_long_is_transient():
    """A step that outlasted its limit is counted as an attempt."""
    assert type(classify(StepTimeoutError())) is Transient


@pytest.mark.parametrize("error", [TimeoutError(), TimeoutError("30 s")])
def test_a_server_that_does_not_answer_is_infrastructure(error):
    """A connect, an acquire or a statement that got no answer in time costs no attempt."""
    assert type(classify(error)) is Infrastructure


@pytest.mark.parametrize(
    "error",
    [
        ValueError(CANARY),
        KeyError(CANARY),
        AssertionError(CANARY),
        RuntimeError(CANARY),
        RecursionError(),
        MemoryError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_everything_else_is_a_defect_and_is_only_named(error):
    """Its text may hold anything, so the sentence is its class."""
    fault = classify(error)
    assert fault == Defect(type(error).__name__)


@pytest.mark.parametrize(
    ("sqlstate", "message"),
    [
        ("22P02", f'invalid input syntax for type uuid: "{CANARY}"'),
        ("22P02", f'invalid input value for enum role: "{CANARY}"'),
        ("22003", f'value "{CANARY}" is out of range for type integer'),
        ("22007", f'invalid input syntax for type timestamp with time zone: "{CANARY}"'),
        ("22008", f'date/time field value out of range: "{CANARY}"'),
        ("P0001", f"user {CANARY} may not do this"),
    ],
)
def test_a_servers_message_that_quotes_a_value_is_not_repeated(sqlstate, message):
    """Some primary messages quote their input, and a trigger of somebody else's may say anything."""
    assert CANARY not in sentences(classify(server_error(sqlstate, M=message)))


def test_asyncpgs_complaint_about_an_argument_is_not_repeated():
    """It quotes the argument."""
    error = asyncpg.DataError(f"invalid input for query argument $1: '{CANARY}' (an integer is required)")
    fault = classify(error)
    assert isinstance(fault, Permanent)
    assert CANARY not in sentences(fault)


def test_a_sentence_is_one_bounded_line():
    """It goes into a column, a header and a log."""
    fault = classify(server_error("42601", M="first line\nsecond " + "x" * 10_000))
    assert "\n" not in fault.error
    assert len(fault.error) < 500


def test_what_is_broken_is_still_told():
    """Column and constraint are no secrets, and they are what one needs to mend it."""
    message = 'null value in column "display_name" of relation "pwb_agencies" violates not-null constraint'
    told = classify(server_error("23502", M=message)).error
    assert "display_name" in told
    assert "pwb_agencies" in told
