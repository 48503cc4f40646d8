"""Errors as one line: SQLSTATE or errno, what to do, the exit code of a command and the status of an answer."""

import asyncio
import errno
import io
import re
import socket
import ssl

import asyncpg
import pytest

from consumer.addresses.uri import AddressError
from consumer.broker.protocol import BrokerDownError, BrokerError
from consumer.config import SettingsError
from consumer.error_classification import PoolerError, RefusedParameterError
from ops.errors import InvalidInputError, NotFoundError, OutputError
from ops.errors.reports import LONGEST, report_error

CANARY = "jane.canary@secret.example"


def server_error(sqlstate, text="something went wrong"):
    """An error as asyncpg makes it of the server's answer."""
    return asyncpg.PostgresError.new({"S": "ERROR", "C": sqlstate, "M": text, "D": f"Key (email)=({CANARY})."})


@pytest.mark.parametrize(
    ("sqlstate", "code", "status", "hint"),
    [
        ("55P03", 3, 503, "try again when it is done"), ("57014", 3, 503, "STATEMENT_TIMEOUT_SECONDS"),
        ("40P01", 3, 503, "try again"), ("42P05", 3, 503, "pooler"), ("26000", 3, 503, "pooler"),
        ("08P01", 3, 503, "pooler"), ("25006", 3, 503, "read-write"), ("42501", 3, 503, "lacks a right"),
        ("42P01", 3, 503, "provisioner init"), ("42P10", 3, 503, "provisioner init"),
        ("53300", 3, 503, "max_connections"), ("53100", 3, 503, "free space"),
        ("57P03", 3, 503, "in a moment"), ("28P01", 3, 503, "password"), ("3D000", 3, 503, "make that database"),
        ("58030", 3, 503, "log"), ("XX001", 3, 503, "log"), ("08006", 3, 503, "is PROVISIONER_DATABASE_URL right?"),
        ("2200H", 3, 503, "MAXVALUE"), ("55000", 3, 503, "not in the state"),
        ("22P05", 1, 500, "UTF8"), ("23505", 1, 500, ""), ("42601", 1, 500, "--debug"), ("P0001", 1, 500, "--debug"),
    ],
)  # fmt: skip
def test_what_postgresql_answers(sqlstate, code, status, hint):
    """What another try or an administrator can mend is 3 and 503; a defect, or data that is refused, is not."""
    report = report_error(server_error(sqlstate))
    assert (report.exit_code, report.status) == (code, status)
    assert sqlstate in report.text
    assert hint in report.text
    assert CANARY not in report.text


@pytest.mark.parametrize(
    ("error", "code", "status", "parts"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed"), 3, 503, ("PostgreSQL", "111", "right?")),
        (TimeoutError(), 3, 503, ("PostgreSQL", "no answer in time")),
        (OSError(errno.EMFILE, "Too many open files"), 3, 503, ("ulimit -n",)),
        (ssl.SSLCertVerificationError(1, "certificate verify failed"), 3, 503, ("sslmode",)),
        (ConnectionError("rejected SSL upgrade"), 3, 503, ("sslmode", "5432", "5672 is RabbitMQ's")),
        (ConnectionError("unexpected connection_lost() call"), 3, 503, ("5432", "5672 is RabbitMQ's")),
        (
            socket.gaierror(-2, "Name or service not known"),
            3,
            503,
            ("PROVISIONER_DATABASE_URL: that host name is unknown",),
        ),
        (asyncpg.ConnectionDoesNotExistError("query_wait_timeout"), 3, 503, ("default_pool_size",)),
        (asyncpg.InterfaceError("connection is closed"), 3, 503, ("InterfaceError",)),
        (asyncpg.exceptions.ClientConfigurationError("no root.crt"), 2, 500, ("PROVISIONER_DATABASE_URL", "root.crt")),
        (
            PoolerError("a pooler answers", "set PROVISIONER_POOLER"),
            2,
            500,
            ("a pooler answers: set PROVISIONER_POOLER",),
        ),
        (
            RefusedParameterError("parameter options is refused, the server answers 42704 x", "mend it"),
            2,
            500,
            ("PROVISIONER_DATABASE_URL: parameter options is refused, the server answers 42704 x: mend it",),
        ),
        (AddressError("has a # in it"), 2, 500, ("PROVISIONER_DATABASE_URL: has a #",)),
        (OSError(errno.ENOSPC, "No space left on device", "/packs/x"), 1, 500, ("/packs/x", "ENOSPC", "space")),
        (PermissionError(errno.EACCES, "Permission denied", "/packs/x"), 1, 500, ("/packs/x", "EACCES", "rights")),
        (BrokerDownError("cannot connect to mq: ACCESS_REFUSED - Login"), 3, 503, ("RabbitMQ", "user and password")),
        (BrokerDownError("cannot connect to mq: no such vhost"), 3, 503, ("RabbitMQ", "add the vhost")),
        (
            BrokerDownError(
                "cannot connect to mq: NOT_ALLOWED - number of channels opened has reached the limit of (1)"
            ),
            3,
            503,
            ("raise that limit",),
        ),
        (BrokerDownError("no confirm for website.created: TimeoutError"), 3, 503, ("rabbitmq-diagnostics alarms",)),
        (BrokerDownError("cannot connect to mq: [SSL: WRONG_VERSION_NUMBER]"), 3, 503, ("5671",)),
        (BrokerDownError("cannot connect to mq"), 3, 503, ("is PROVISIONER_AMQP_URL right?",)),
        (
            BrokerDownError("cannot connect to mq: Server connection unexpectedly closed. Read 0 bytes"),
            3,
            503,
            ("5672",),
        ),
        (
            BrokerDownError("cannot connect to mq: AuthenticationError ['EXTERNAL']"),
            3,
            503,
            ("_mechanism",),
        ),
        (BrokerError("exchange x cannot be made"), 3, 503, ("RabbitMQ: exchange x cannot be made",)),
        (OutputError("standard output: full"), 1, 500, ("standard output: full",)),
        (InvalidInputError("limit: is wrong"), 2, 400, ("limit: is wrong",)),
        (SettingsError("PROVISIONER_X: is wrong"), 2, 400, ("PROVISIONER_X: is wrong",)),
        (NotFoundError("no such website"), 1, 404, ("no such website",)),
        (asyncio.IncompleteReadError(b"", 4), 3, 503, ("IncompleteReadError",)),
    ],
)
def test_what_everything_else_answers(error, code, status, parts):
    """Each names what it is about: the database, the broker, the file, the setting."""
    report = report_error(error)
    assert (report.exit_code, report.status) == (code, status)
    assert all(part in report.text for part in parts), report.text


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ('role "ana" does not exist', "create that role, or correct the user in PROVISIONER_DATABASE_URL"),
        ('role "ana" is not permitted to log in', "ALTER ROLE … LOGIN"),
        ('no pg_hba.conf entry for host "10.0.0.9", user "ana", database "x", no encryption', "?sslmode=require"),
        ('no pg_hba.conf entry for host "10.0.0.9", user "ana", database "x", SSL encryption', "add a line"),
        ('Peer authentication failed for user "ana"', "give a host and a password"),
        ("connection requires a valid client certificate", "name its files by sslcert and sslkey"),
        ("something else", "pg_hba.conf of the server says"),
    ],
)
def test_one_sqlstate_of_several_mistakes(text, hint):
    """28000 is an unknown role as well as a host that may not connect: the server's words tell them apart."""
    assert hint in report_error(server_error("28000", text)).text


@pytest.mark.parametrize(
    ("sqlstate", "text", "hint"),
    [
        ("08P01", "no such database: shop", "[databases]"), ("08P01", "no such user: ana", "auth_file"),
        ("08P01", "invalid command 'BEGIN', use SHOW HELP;", "the pooler's own admin database"),
        ("08P01", "query_wait_timeout", "does PostgreSQL answer it?"),
        ("08P01", "server login has been failing, try again later", "does PostgreSQL answer it?"),
        ("08P01", 'password authentication failed for user "ana"', "user and password"),
        ("08P01", "no more connections allowed (max_client_conn)", "max_client_conn"),
        ("08P01", "something else", "PROVISIONER_POOLER"),
        ("55000", 'database "shop" is not currently accepting connections', "ALLOW_CONNECTIONS true"),
    ],
)  # fmt: skip
def test_a_pooler_has_one_sqlstate_for_all(sqlstate, text, hint):
    """PgBouncer answers 08P01 whatever is wrong; a pooler that is set already is not to be set again."""
    said = report_error(server_error(sqlstate, text)).text
    assert hint in said
    assert ("Set PROVISIONER_POOLER" in said) == (hint == "PROVISIONER_POOLER")


def test_a_defect_is_its_kind_and_place():
    """Its text may quote anything, so it is not printed; the traceback comes with --debug."""
    try:
        raise KeyError(CANARY)
    except KeyError as error:
        report = report_error(error)
    assert report.defect
    assert (report.exit_code, report.status) == (1, 500)
    assert report.text.startswith("KeyError at test_error_reports.py:")
    assert "--debug" in report.text
    assert CANARY not in report.text


def test_of_several_errors_the_first_is_reported():
    """Tasks of a group that fail together have mostly one cause."""
    assert "55P03" in report_error(ExceptionGroup("tasks", [server_error("55P03"), KeyError("x")])).text


def test_who_acts_has_a_name_even_where_the_system_has_none(monkeypatch):
    """In a pod the process's user is often a bare number."""
    from ops.cli import options

    monkeypatch.setattr(options.getpass, "getuser", lambda: {}["no such uid"])
    assert re.fullmatch(r"cli:uid-\d+", options.default_actor())


def test_it_is_one_line():
    """Whatever a server writes: line ends and control characters are blanks, and what is endless is cut."""
    report = report_error(BrokerError("a\nb\x1b[31m" + "c" * 9000))
    assert report.text.startswith("RabbitMQ: a b [31mc")
    assert len(report.text) <= LONGEST
    assert report.text.isprintable()


def test_a_letter_that_a_terminal_lacks_is_escaped_as_in_json():
    """So what a program reads stays JSON, astral characters included."""
    from ops.cli import safe_streams

    safe_streams.codecs.register_error(safe_streams.ESCAPES, safe_streams._escape)
    safe_streams.codecs.register(safe_streams._find_codec)
    for encoding, shown in ((safe_streams.ASCII, "\\u00e9 \\ud83c\\udfe0"), ("latin-1", "é \\ud83c\\udfe0")):
        written = io.BytesIO()
        stream = io.TextIOWrapper(written, encoding, errors=safe_streams.ESCAPES, write_through=True)
        stream.write("é 🏠")
        assert written.getvalue().decode("latin-1") == shown
