"""Reports of errors: what PostgreSQL, RabbitMQ, the disk or the network answered, as one line with what to do about it.

The command line prints the line and ends with the exit code; the console answers with the same line and the status. A
line has the SQLSTATE or errno, and no value of a statement.
"""

import errno
import socket
import ssl
from dataclasses import dataclass
from http import HTTPStatus

from consumer.addresses.uri import AddressError
from consumer.broker.protocol import BrokerDownError, BrokerError
from consumer.config import SettingsError
from consumer.error_classification import (
    DATABASE_ERROR,
    WRONG_ADDRESS,
    Defect,
    Permanent,
    PoolerError,
    RefusedParameterError,
    classify,
)
from ops.errors import EXIT_AWAY, EXIT_FAILED, EXIT_USAGE, InvalidInputError, NotFoundError, OutputError

LONGEST = 500
"""Characters of a line: enough for every text of ours, and for the beginning of a server's."""
RIGHT_URL = "is PROVISIONER_DATABASE_URL right?"
POSTGRESQL_PORT = "its port is 5432 by default, and 5672 is RabbitMQ's"
RABBITMQ_PORT = "its port is 5672 by default, 5671 with TLS; 5432 is PostgreSQL's, 15672 that of the management pages"
NOT_AMQP = ("unexpectedly closed", "bytes expected", "reset by peer")
"""Parts of the client's error where the server does not speak AMQP, or closes the connection at once."""
UNCONFIRMED = "no confirm for"
"""How the error of a message begins that was published and not confirmed."""
NO_HOST = "that host name is unknown here: correct it, or check the DNS"
POOLER = "is there a pooler between? Set PROVISIONER_POOLER to its pool_mode, session or transaction"
POOLER_FULL = ("query_wait_timeout", "max_client_conn", "no more connections allowed")
"""In what PgBouncer answers when it has no connection to lend, or takes no more clients."""
POOLER_TAKEN = "all connections of the pooler are taken: raise its default_pool_size and max_client_conn"
POOLER_WAIT = "the pooler got no connection for us: does PostgreSQL answer it? If so, raise its default_pool_size"
HINTS = {
    "08P01": f"{POOLER}; its log says more",
    "2200H": "no id is left: ALTER SEQUENCE … MAXVALUE …, and its column a bigint if it is an integer",
    "22021": "the encoding of the database cannot hold this text: it has to be UTF8",
    "22P05": "the encoding of the database cannot hold this text: it has to be UTF8",
    "25006": "this server takes no writes, it may be a standby: name the primary in PROVISIONER_DATABASE_URL, or all"
    " servers with ?target_session_attrs=read-write",
    "26000": POOLER,
    "28000": "may this user connect from here, with TLS or without? pg_hba.conf of the server says",
    "3F000": "no schema of the search_path exists: create it, or correct search_path in PROVISIONER_DATABASE_URL",
    "28P01": "are user and password in PROVISIONER_DATABASE_URL right?",
    "3D000": "make that database, or mend PROVISIONER_DATABASE_URL",
    "40001": "try again",
    "40P01": "try again",
    "42501": "that role lacks a right: `init` runs as the owner of the tables, all else as docs/security.md says",
    "42703": "the schema is missing or old: run `provisioner init`",
    "42883": "the schema is missing or old: run `provisioner init`",
    "42P01": "the schema is missing or old: run `provisioner init`",
    "42P05": POOLER,
    "42P10": "the schema is missing or old: run `provisioner init`",
    "53100": "free space on the disk of the database server",
    "53200": "the database server is out of memory",
    "53300": "all connections are taken: raise max_connections, or stop what else connects",
    "53400": "a limit of the database server is reached",
    "55000": "the database is not in the state that this needs: see what the server says, and its log",
    "55P03": "another session holds the lock, maybe a migration: try again when it is done; pg_stat_activity shows it",
    "57014": "it took longer than PROVISIONER_STATEMENT_TIMEOUT_SECONDS, or was cancelled: try again",
    "57P01": "the server was stopped: try again",
    "57P02": "the server has crashed: try again when it is up",
    "57P03": "the server starts, stops or recovers: try again in a moment",
    "57P05": "the server ends idle sessions: set idle_session_timeout = 0 for this role",
}
"""What to do, by SQLSTATE."""
HINTS_BY_WORDING = {
    "08P01": (
        ("no such database", "the pooler has no such database: add it to its [databases], or correct the URL's"),
        ("no such user", "the pooler knows no such user: add it to its auth_file, or correct the URL's"),
        ("invalid command", "that is the pooler's own admin database: name yours in PROVISIONER_DATABASE_URL"),
        ("query_wait_timeout", POOLER_WAIT),
        ("server login", POOLER_WAIT),
        (
            "authentication failed",
            "are user and password right, in PROVISIONER_DATABASE_URL and in the pooler's settings?",
        ),
        ("no more connections allowed", POOLER_TAKEN),
    ),
    "55000": (
        (
            "accepting connections",
            "ALTER DATABASE … ALLOW_CONNECTIONS true, or correct the database in PROVISIONER_DATABASE_URL",
        ),
    ),
    "28000": (
        ("does not exist", "create that role, or correct the user in PROVISIONER_DATABASE_URL"),
        ("not permitted to log in", "ALTER ROLE … LOGIN, or correct the user in PROVISIONER_DATABASE_URL"),
        (
            "no encryption",
            "this server may want TLS: add ?sslmode=require; else see its pg_hba.conf",
        ),
        ("client certificate", "the server requires a client certificate: name its files by sslcert and sslkey"),
        ("pg_hba.conf", "add a line for this host, user and database to pg_hba.conf of the server, and reload it"),
        (
            "Peer authentication",
            "on a Unix socket PostgreSQL checks the system user: give a host and a password",
        ),
    ),
}
"""What to do where one SQLSTATE stands for several mistakes, by a part of the server's text."""
CLASS_HINTS = {
    "53": "the database server is short of something: its log says more",
    "57": "try again",
    "58": "the database server has trouble with its own files: its log says more",
    "F0": "the database server has trouble with its own files: its log says more",
    "XX": "the database server has trouble inside: its log says more",
}
DEFECT = "this is a defect of the program: run it again as `provisioner --debug …` and report what it prints"


@dataclass(frozen=True, slots=True)
class ErrorReport:
    """One line about an error, with the exit code of a command and the status of an answer."""

    text: str
    exit_code: int
    status: HTTPStatus
    defect: bool = False


def report_error(error: BaseException) -> ErrorReport:
    """Return the report of an error, whatever it is; of several together, that of the first."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    text, exit_code, status = _report(error)
    line = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return ErrorReport(line[:LONGEST], exit_code, status, defect=text.endswith(DEFECT))


def _report(error: BaseException) -> tuple[str, int, HTTPStatus]:
    match error:
        case PoolerError():
            return f"PostgreSQL: {error}", EXIT_USAGE, HTTPStatus.INTERNAL_SERVER_ERROR
        case InvalidInputError() | SettingsError():
            return str(error), EXIT_USAGE, HTTPStatus.BAD_REQUEST
        case NotFoundError():
            return str(error), EXIT_FAILED, HTTPStatus.NOT_FOUND
        case AddressError() | RefusedParameterError():
            return f"PROVISIONER_DATABASE_URL: {error}", EXIT_USAGE, HTTPStatus.INTERNAL_SERVER_ERROR
        case OutputError():
            return str(error), EXIT_FAILED, HTTPStatus.INTERNAL_SERVER_ERROR
        case BrokerError():
            hint = _broker_hint(error)
            return f"RabbitMQ: {error}" + (f" ({hint})" if hint else ""), EXIT_AWAY, HTTPStatus.SERVICE_UNAVAILABLE
        case OSError() if error.filename is not None:
            what = f"{error.filename}: {_system_text(error)}"
            return f"{what} (see to its rights and to space on its disk)", EXIT_FAILED, HTTPStatus.INTERNAL_SERVER_ERROR
    if isinstance(error, WRONG_ADDRESS):
        return f"PROVISIONER_DATABASE_URL: {error}", EXIT_USAGE, HTTPStatus.INTERNAL_SERVER_ERROR
    return _database_report(error)


def _database_report(error: BaseException) -> tuple[str, int, HTTPStatus]:
    """Return the report of an error of PostgreSQL's or of the connection to it; of any other, that it is a defect."""
    fault = classify(error)
    hint = known_hint(error)
    text = f"PostgreSQL: {fault.error.removeprefix('PostgreSQL ')}"
    if isinstance(error, TimeoutError) and not str(error):
        text += "no answer in time"
    match fault:
        case Defect() if not isinstance(error, DATABASE_ERROR):
            return f"{_defect_text(error)}; {DEFECT}", EXIT_FAILED, HTTPStatus.INTERNAL_SERVER_ERROR
        case Defect() if not hint:
            return f"{text}; {DEFECT}", EXIT_FAILED, HTTPStatus.INTERNAL_SERVER_ERROR
        case Permanent():
            return text + (f" ({hint})" if hint else ""), EXIT_FAILED, HTTPStatus.INTERNAL_SERVER_ERROR
        case _:
            return f"{text} ({hint or _network_hint(error)})", EXIT_AWAY, HTTPStatus.SERVICE_UNAVAILABLE


def database_hint(error: BaseException) -> str:
    """Return what to do about an error of PostgreSQL's or of the connection to it."""
    return known_hint(error) or _network_hint(error)


def known_hint(error: BaseException) -> str | None:
    """Return what to do about an error of PostgreSQL; None for a SQLSTATE without a hint."""
    state = str(getattr(error, "sqlstate", None) or "")
    if state in HINTS_BY_WORDING:
        return next((hint for words, hint in HINTS_BY_WORDING[state] if words in str(error)), HINTS.get(state))
    return HINTS.get(state) or CLASS_HINTS.get(state[:2])


def _network_hint(error: BaseException) -> str:
    """Return what to do about a database that cannot be talked to."""
    if any(text in str(error) for text in POOLER_FULL):
        return POOLER_TAKEN
    number = getattr(error, "errno", None)
    if isinstance(error, socket.gaierror):
        return f"PROVISIONER_DATABASE_URL: {NO_HOST}"
    if "rejected SSL upgrade" in str(error):
        return f"{RIGHT_URL} Does PostgreSQL answer there, with TLS where sslmode wants it? {POSTGRESQL_PORT}"
    if "connection_lost" in str(error):
        return f"{RIGHT_URL} Does PostgreSQL answer there? {POSTGRESQL_PORT}"
    if isinstance(error, ssl.SSLError) or "SSL" in str(error):
        return "has the server TLS, and a certificate for that host? See sslmode in PROVISIONER_DATABASE_URL"
    if number in (errno.EMFILE, errno.ENFILE):
        return "too many files are open here: raise `ulimit -n`"
    return RIGHT_URL


def _broker_hint(error: BrokerError) -> str:
    """Return what to do about a broker that cannot be used; nothing where the error says so itself."""
    text = str(error)
    if type(error) is not BrokerDownError:
        return ""
    if isinstance(error.__cause__ and error.__cause__.__cause__, socket.gaierror):
        return f"PROVISIONER_AMQP_URL: {NO_HOST}"
    if "AuthenticationError" in text and "EXTERNAL" in text:
        return (
            "no login by certificate there: enable the plugin rabbitmq_auth_mechanism_ssl, or leave auth_mechanism out"
        )
    if "ACCESS_REFUSED" in text or "AuthenticationError" in text:
        return "are user and password in PROVISIONER_AMQP_URL right, and may the user be there?"
    if "vhost" in text:
        return (
            "mend PROVISIONER_AMQP_URL, add the vhost and the user's rights to it, or raise the limit: "
            "the log of RabbitMQ says which"
        )
    if "NOT_ALLOWED" in text and "limit" in text:
        return "raise that limit (rabbitmqctl list_user_limits, list_vhost_limits), or stop what else uses the broker"
    if text.startswith(UNCONFIRMED) and "TimeoutError" in text:
        return "a memory or disk alarm blocks publishers: rabbitmq-diagnostics alarms"
    if "SSL" in text:
        return "amqps:// needs a port with TLS, 5671 by default, and a certificate for that host"
    if any(words in text for words in NOT_AMQP):
        return f"is PROVISIONER_AMQP_URL right? Does RabbitMQ answer there? {RABBITMQ_PORT}"
    return "is PROVISIONER_AMQP_URL right?"


def _system_text(error: OSError) -> str:
    name = errno.errorcode.get(error.errno or 0, type(error).__name__)
    return f"{error.strerror or type(error).__name__} ({name})"


def _defect_text(error: BaseException) -> str:
    """Return kind and place of an error, not its text, which may quote anything."""
    place, at = "", error.__traceback__
    while at:
        place = f" at {at.tb_frame.f_code.co_filename.rpartition('/')[2]}:{at.tb_lineno}"
        at = at.tb_next
    return f"{type(error).__name__}{place}"
