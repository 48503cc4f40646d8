"""The address of the database, as providers, pods and libpq's documentation give it, made into what asyncpg takes.

Each parameter of libpq works, is left out because nothing depends on it here, or is refused by its name: one that is
not understood must not be dropped, it may be a misspelt `sslmode`. Knows no connection.
"""

import getpass
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import quote, unquote, urlencode

from consumer.addresses.libpq_environment import check_password_file, environment_parameters, of_environment
from consumer.addresses.libpq_service_check import check_service
from consumer.addresses.mistaken_forms import refuse_other_forms
from consumer.addresses.uri import AddressError, Uri, check_host, one_of, parse_port, parse_uri, unknown_parameter

SCHEMES = ("postgresql", "postgres")
EXAMPLE = "postgresql://USER:PASSWORD@HOST:5432/DATABASE"
DEFAULT_PORT = 5432
CHOICES = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "sslnegotiation": ("postgres", "direct"),
    "target_session_attrs": ("any", "read-write", "read-only", "primary", "standby", "prefer-standby"),
}
TLS_VERSIONS = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
BY_CLIENT = (
    *CHOICES, "sslrootcert", "sslcert", "sslkey", "sslpassword", "sslcrl", "ssl_min_protocol_version",
    "ssl_max_protocol_version", "passfile", "service", "krbsrvname",
)  # fmt: skip
"""What asyncpg does as libpq does."""
BY_SERVER = ("options", "search_path")
"""What the server takes when a session begins."""
OURS = ("host", "port", "user", "password", "dbname", "database", "connect_timeout", "pgbouncer")
"""What this module takes out of the parameters."""
WITHOUT_EFFECT: dict[str, tuple[str, ...]] = {
    "application_name": (), "fallback_application_name": (), "client_encoding": (), "sslcompression": (), "sslsni": (),
    "keepalives": (), "keepalives_idle": (), "keepalives_interval": (), "keepalives_count": (), "tcp_user_timeout": (),
    "min_protocol_version": (), "max_protocol_version": (),
    "channel_binding": ("prefer", "disable"), "gssencmode": ("prefer", "disable"), "gssdelegation": ("0",),
    "load_balance_hosts": ("disable",), "sslcertmode": ("allow",), "replication": ("false", "off", "no", "0"),
}  # fmt: skip
"""What is left out, and the values with which that changes nothing; none named: any."""
INSTEAD = {
    "channel_binding": "this client cannot bind the channel; sslmode=verify-full checks the server, too: write that"
    " and leave channel_binding out",
    "gssencmode": "this client has no GSSAPI encryption; leave it out and write sslmode=verify-full",
    "sslaccept": "write sslmode=require or sslmode=verify-full instead",
    "ssl": "write sslmode=require or sslmode=verify-full instead",
    "schema": "write search_path instead",
    "currentSchema": "write search_path instead",
    "hostaddr": "write the address as the host",
}
SYSTEM_CERTIFICATES = "system"
"""As sslrootcert: the certificates that the operating system trusts, since libpq 16."""


class Pooler(StrEnum):
    """What stands between this service and PostgreSQL, by how long it lends a client one of its connections."""

    NONE = "none"
    SESSION = "session"
    TRANSACTION = "transaction"


@dataclass(frozen=True, slots=True)
class DatabaseAddress:
    """Where the database is, and how to connect to it."""

    hosts: tuple[tuple[str, int], ...]
    """None: asyncpg's default, PGHOST or a Unix socket."""
    user: str | None
    password: str | None = field(repr=False)
    database: str | None
    connect_seconds: float | None
    server_settings: Mapping[str, str]
    client_parameters: Mapping[str, str] = field(repr=False)
    pooler: Pooler
    """`pgbouncer=true`, which providers write, says transaction."""

    def connect_arguments(self) -> dict[str, Any]:
        """Return the keyword arguments for asyncpg: where, as whom, and how to encrypt."""
        parameters = dict(self.client_parameters)
        arguments: dict[str, Any] = {"user": self.user, "password": self.password, "database": self.database}
        if self.hosts:
            arguments |= {"host": [host for host, _ in self.hosts], "port": [port for _, port in self.hosts]}
        if parameters.get("sslrootcert") == SYSTEM_CERTIFICATES:
            del parameters["sslrootcert"]
            parameters.pop("sslmode", None)
            arguments["ssl"] = ssl.create_default_context()
            arguments["ssl"].set_alpn_protocols(["postgresql"])
        if parameters:
            arguments["dsn"] = "postgresql://?" + urlencode(parameters, quote_via=quote)
        return arguments


def parse_database_url(text: str) -> DatabaseAddress:
    """Take the address of a database apart.

    Raises:
        AddressError: one line that names the parameter or the part, and never a password.
    """
    refuse_other_forms(text.strip(), SCHEMES, EXAMPLE)
    uri = parse_uri(text.strip())
    parameters = dict(uri.parameters)
    own = {name: parameters.pop(name) for name in OURS if parameters.get(name)}
    server_settings = {name: parameters.pop(name) for name in BY_SERVER if name in parameters}
    client_parameters = {name: value for name, value in parameters.items() if _for_client(name, value)}
    _check_client_parameters(client_parameters)
    _check_environment(client_parameters)
    address = DatabaseAddress(
        _hosts(uri, own),
        own.get("user", uri.user),
        own.get("password", uri.password),
        own.get("dbname") or own.get("database") or unquote(uri.path.removeprefix("/")) or None,
        _connect_seconds(own.get("connect_timeout")),
        server_settings,
        client_parameters,
        _pooler(own.get("pgbouncer")),
    )
    if not (address.user or os.environ.get("PGUSER") or "service" in client_parameters or _process_user()):
        raise AddressError("names no user, and the user of this process has no name: write postgresql://USER@HOST/…")
    if address.password is None and not os.environ.get("PGPASSWORD"):
        check_password_file(client_parameters.get("passfile"))
    return address


def _check_environment(given: Mapping[str, str]) -> None:
    """Check what the environment adds to the parameters of an address."""
    found = environment_parameters(given)
    checked = {**given, **found}
    try:
        _check_client_parameters(checked)
        for name, value in found.items():
            if checked[name] != value:
                raise AddressError(f"parameter {name} must be written in lower case")
    except AddressError as error:
        raise of_environment(error, found) from None


def _hosts(uri: Uri, own: Mapping[str, str]) -> tuple[tuple[str, int], ...]:
    """Return the hosts with their ports; those of the parameters `host` and `port` go before, as for libpq."""
    hosts = [host for host, _ in uri.hosts]
    ports = [port for _, port in uri.hosts]
    if "host" in own:
        hosts = [check_host(host) for host in own["host"].split(",")]
        ports = ports if len(ports) == len(hosts) else [None] * len(hosts)
    if "port" in own:
        given: list[int | None] = [parse_port(word) if word else None for word in own["port"].split(",")]
        ports = given * len(hosts) if len(given) == 1 else given
        hosts = hosts or [os.environ.get("PGHOST", "localhost")]
    default_port = os.environ.get("PGPORT", "")
    if not hosts and not all(word.isascii() and word.isdecimal() for word in default_port.split(",") if default_port):
        raise AddressError(
            "names no host and no port, and PGPORT, which is used instead, is not a number; write host and port"
        )
    if len(ports) != len(hosts):
        raise AddressError(f"parameter port has {len(ports)} ports for {len(hosts)} hosts: write one for each, or one")
    return tuple((host or "localhost", port or DEFAULT_PORT) for host, port in zip(hosts, ports, strict=True))


def _for_client(name: str, value: str) -> bool:
    """Return whether a parameter is asyncpg's; False where it has no effect here.

    Raises:
        AddressError: it is neither.
    """
    if name in BY_CLIENT:
        return bool(value)
    if name in OURS:
        return False  # it is empty
    if name in WITHOUT_EFFECT:
        allowed = WITHOUT_EFFECT[name]
        if not allowed or value.lower() in allowed:
            return False
        instead = INSTEAD.get(name, f"only {' and '.join(allowed)} can be: leave it out")
        raise AddressError(f"parameter {name} cannot be used with this value: {instead}")
    raise unknown_parameter(name, (*BY_CLIENT, *BY_SERVER, *OURS, *WITHOUT_EFFECT), INSTEAD.get(name))


def _check_client_parameters(parameters: dict[str, str]) -> None:
    """Check what asyncpg would only complain of at the first connection."""
    for name, allowed in CHOICES.items():
        if name in parameters:
            parameters[name] = one_of(name, parameters[name], allowed)
    for name in ("ssl_min_protocol_version", "ssl_max_protocol_version"):
        if name in parameters and parameters[name] not in TLS_VERSIONS:
            raise AddressError(f"parameter {name} must be one of {', '.join(TLS_VERSIONS)}")
    if "service" in parameters:
        check_service(parameters["service"])
    mode = parameters.get("sslmode")
    if parameters.get("sslnegotiation") == "direct" and mode not in CHOICES["sslmode"][3:]:
        raise AddressError("parameter sslnegotiation=direct needs sslmode=require, verify-ca or verify-full")
    if parameters.get("sslrootcert") == SYSTEM_CERTIFICATES:
        if mode not in (None, "verify-full"):
            raise AddressError("parameter sslrootcert=system needs sslmode=verify-full")
    elif mode != "disable":
        _check_files(parameters)


def _check_files(parameters: Mapping[str, str]) -> None:
    """Read certificates and key once, so that a wrong path is found at the start."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    password = parameters.get("sslpassword", "")
    for name in ("sslrootcert", "sslcrl", "sslcert"):
        path = parameters.get(name)
        try:
            if path and name == "sslcert":
                context.load_cert_chain(path, parameters.get("sslkey"), password=lambda: password)
            elif path:
                context.load_verify_locations(path)
        except OSError as error:
            with_key = " with its sslkey" if name == "sslcert" else ""
            why = "holds none" if isinstance(error, ssl.SSLError) else error.strerror or type(error).__name__
            raise AddressError(f"parameter {name}: {path}{with_key} cannot be read: {why}") from None


def _connect_seconds(text: str | None) -> float | None:
    """Return how long to wait for one connection; None where nothing is said, or 0, which for libpq is for ever."""
    if text is None:
        return None
    if not text.removeprefix("-").isdecimal():
        raise AddressError("parameter connect_timeout must be a whole number of seconds")
    return float(text) if int(text) > 0 else None


def _pooler(text: str | None) -> Pooler:
    if text is not None and one_of("pgbouncer", text, ("true", "false")) == "true":
        return Pooler.TRANSACTION
    return Pooler.NONE


def _process_user() -> str | None:
    """Return the name of this process's user; a pod's may have none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return None
