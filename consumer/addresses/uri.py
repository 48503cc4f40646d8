"""Takes a URI apart: user, password, hosts, path, parameters. Its errors quote no value, which may be a password."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from urllib.parse import unquote

HOST = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+(?:%25[\w.-]+)?)\]|(?P<name>[^:\[\]]*))(?::(?P<port>.*))?")
BARE_IPV6 = re.compile(r"[0-9A-Fa-f]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*")
"""An IPv6 address without brackets: its groups would be read as a port."""
BARE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})|%00")
RESERVED = "in a user or password write : / ? # @ as %3A %2F %3F %23 %40"
NAME = re.compile(r"[A-Za-z_.]{1,40}")
LAST_PORT = 65_535


class AddressError(ValueError):
    """An address cannot be used; the text says which part of it, why, and what to write instead."""


@dataclass(frozen=True, slots=True)
class Uri:
    """The parts of a URI, decoded. A host without a port has None."""

    scheme: str
    user: str | None
    password: str | None = field(repr=False)
    hosts: tuple[tuple[str, int | None], ...]
    path: str
    parameters: Mapping[str, str] = field(repr=False)


def parse_uri(text: str) -> Uri:
    """Take a URI apart, with any number of hosts.

    Raises:
        AddressError: saying which part cannot be read.
    """
    if any(character.isspace() or not character.isprintable() for character in text):
        raise AddressError("has a space or a control character in it; write a space as %20")
    scheme, found, rest = text.partition("://")
    if not found:
        return Uri("", None, None, (), "", {})
    if "#" in rest:
        raise AddressError(f"has a # in it, which no part of it can hold; {RESERVED}")
    if BARE_PERCENT.search(rest):
        raise AddressError("has a % without two hexadecimal digits after it; write a % itself as %25")
    before, _, query = rest.partition("?")
    authority, slash, path = before.partition("/")
    user_info, has_user, hosts = authority.rpartition("@")
    if "@" in query or ("@" in path and not has_user):
        raise AddressError(f"has an @ that comes after a / or a ?; {RESERVED}")
    if "@" in user_info:
        raise AddressError(f"has two @ before its host; {RESERVED}")
    user, colon, password = user_info.partition(":")
    return Uri(
        scheme.lower(),
        unquote(user) if has_user and user else None,
        unquote(password) if colon else None,
        tuple(_host(host) for host in hosts.split(",")) if hosts else (),
        slash + path,
        _parameters(query),
    )


def parse_port(text: str) -> int:
    """Return a port. Raises AddressError, without its text: an @ forgotten, and it is part of a password."""
    if not (text.isascii() and text.isdecimal() and 0 < int(text[:6]) <= LAST_PORT):
        raise AddressError(f"has a port that is no number from 1 to {LAST_PORT}; {RESERVED}")
    return int(text)


def one_of(name: str, value: str, allowed: tuple[str, ...]) -> str:
    """Return a parameter's value, in lower case. Raises AddressError where it is none of the allowed ones."""
    if value.lower() not in allowed:
        raise AddressError(f"parameter {name} must be one of {', '.join(allowed)}")
    return value.lower()


def unknown_parameter(name: str, known: Iterable[str], instead: str | None = None) -> AddressError:
    """Return the error for a parameter that is not known, with what to do `instead`.

    What does not look like a name is not quoted: with a ? in it, it may be the rest of a password.
    """
    shown = name if NAME.fullmatch(name) else "after the ?"
    meant = next(iter(get_close_matches(name.lower(), known, n=1, cutoff=0.8)), None)
    instead = instead or (f"is {meant} meant?" if meant else "leave it out")
    return AddressError(f"parameter {shown} is none that can be used here: {instead}")


def _host(text: str) -> tuple[str, int | None]:
    match = HOST.fullmatch(text)
    if match is None or BARE_IPV6.fullmatch(text):
        raise AddressError(f"has a host that cannot be read; write HOST:PORT, and an IPv6 address as [::1]; {RESERVED}")
    return check_host(unquote(match["ipv6"] or match["name"] or "")), parse_port(match["port"]) if match[
        "port"
    ] else None


def check_host(host: str) -> str:
    """Return a host. Raises AddressError where it is a name that cannot be looked up; a path is a Unix socket."""
    try:
        if not host.startswith("/"):
            host.encode("idna")
    except UnicodeError:
        raise AddressError("has a host name with an empty part, or one of more than 63 characters") from None
    return host


def _parameters(query: str) -> dict[str, str]:
    """Return the parameters, the last of each name. A + is a +, as for libpq."""
    parameters = {}
    for pair in query.split("&") if query else ():
        name, equals, value = pair.partition("=")
        if not (name and equals):
            raise AddressError("has a parameter that is not NAME=VALUE after its ?, or two of them without an &")
        parameters[unquote(name)] = unquote(value)
    return parameters
