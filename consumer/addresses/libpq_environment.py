"""Checks what the client reads beside the address: libpq's environment variables, and the password file.

Otherwise what is wrong with them is found at the first connection, without the name of the variable.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from consumer.addresses.uri import AddressError

VARIABLES = {
    "sslmode": "PGSSLMODE",
    "sslnegotiation": "PGSSLNEGOTIATION",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcrl": "PGSSLCRL",
    "ssl_min_protocol_version": "PGSSLMINPROTOCOLVERSION",
    "ssl_max_protocol_version": "PGSSLMAXPROTOCOLVERSION",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
}
"""The variable that completes an address, by the parameter that goes before it."""
TO_VERIFY = ("sslrootcert", "sslcrl")
"""Files that are read only where the server's certificate is verified."""
VERIFYING = ("require", "verify-ca", "verify-full")
FILE = ".pgpass"
FIELDS = "HOST:PORT:DATABASE:USER:PASSWORD"


def environment_parameters(given: Mapping[str, str]) -> dict[str, str]:
    """Return the parameters that the environment adds to those that an address gives."""
    found = {
        name: value for name, variable in VARIABLES.items() if name not in given and (value := os.environ.get(variable))
    }
    if {**found, **given}.get("sslmode") not in VERIFYING:
        found = {name: value for name, value in found.items() if name not in TO_VERIFY}
    return found


def of_environment(error: AddressError, found: Mapping[str, str]) -> AddressError:
    """Return an error of a parameter as one of the variable that gave it."""
    for name in found:
        if (text := str(error)).startswith(f"parameter {name}"):
            rest = text.removeprefix(f"parameter {name}").lstrip(": ")
            return AddressError(f"is completed by the environment's {VARIABLES[name]}: {rest}")
    return error


def check_password_file(named: str | None) -> None:
    """Check that the password file can be read, if there is one that the client would read.

    Raises:
        AddressError: a line of it is none; the text quotes nothing of it.
    """
    try:
        path = Path(named or os.environ.get("PGPASSFILE") or Path.home() / FILE)
        if not path.is_file() or path.stat().st_mode & 0o077:  # the client ignores a file that others may read
            return
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, RuntimeError):  # there is no home, or no right: the client ignores that, too
        return
    except ValueError:
        raise AddressError(
            f"has no password, and the password file {path} is not UTF-8 text: save it as such"
        ) from None
    for number, line in enumerate(map(str.strip, lines), 1):
        if line and not line.startswith("#") and len(re.split(r"(?<!\\):", line, maxsplit=4)) < FIELDS.count(":") + 1:
            raise AddressError(f"has no password, and line {number} of the password file {path} is not {FIELDS}")
