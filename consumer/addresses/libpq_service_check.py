"""Checks a service of libpq's (`service=NAME`) before asyncpg reads it: asyncpg ignores one that is not defined."""

import configparser
import os
from pathlib import Path

from consumer.addresses.uri import AddressError

FILE = ".pg_service.conf"
READ = frozenset(
    """
    host port dbname database user password passfile sslmode sslcert sslkey sslrootcert sslnegotiation sslcrl
    sslpassword ssl_min_protocol_version ssl_max_protocol_version target_session_attrs krbsrvname gsslib
    """.split()  # noqa: SIM905 - a list of words reads as one
)
"""The options of a service that asyncpg reads; it ignores the others silently."""


def check_service(name: str) -> None:
    """Check that a service is defined, and that all of it is read.

    Raises:
        AddressError: it is not; the text names the file, and quotes no value of it.
    """
    path = _service_file()
    file = configparser.ConfigParser()
    try:
        with path.open(encoding="utf-8") as lines:
            file.read_file(lines)
        options = dict(file[name]) if name in file.sections() else None
    except OSError as error:
        raise AddressError(f"parameter service: {path} cannot be read: {error.strerror}") from None
    except configparser.InterpolationError:
        raise AddressError(f"parameter service: {path} has a % in {name!r}; write it as %%") from None
    except (configparser.Error, UnicodeError) as error:
        raise AddressError(f"parameter service: {path} cannot be understood: {type(error).__name__}") from None
    if options is None:
        raise AddressError(f"parameter service: {path} defines no service {name[:64]!r}")
    if unread := sorted(options.keys() - READ):
        raise AddressError(
            f"parameter service: {path} has {unread[0]} in {name!r}, which is not read there; put it in the URL"
        )


def _service_file() -> Path:
    """Return the file that the client reads: that of PGSERVICEFILE, or the user's own."""
    if given := os.environ.get("PGSERVICEFILE"):
        return Path(given)
    try:
        return Path.home() / FILE
    except RuntimeError:
        raise AddressError("parameter service: set PGSERVICEFILE to the file that defines it") from None
