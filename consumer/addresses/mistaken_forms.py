"""Recognizes what people give instead of a URL: says what it is, and how the URL is written. Never quotes the text."""

import re
from collections.abc import Sequence

from consumer.addresses.uri import AddressError

MISTAKES = (
    (
        r"[\"'`\u2018\u201c].*",
        "is in quotes, which are part of the value here (docker's --env-file and Kubernetes keep them): leave them out",
    ),
    (r"\$[A-Za-z_]\w*", "is the name of a variable that nothing has replaced"),
    (r"(export )?[A-Za-z_][A-Za-z0-9_]*=[\"']?[A-Za-z+0-9]+://.*", "begins with a name and a =: leave them out"),
    (r"[A-Za-z_ ]+\s*=.*", "is a list of keywords (host=…), not a URL"),
    (r"[A-Za-z]+\s.*", "begins with a word and a space: give the URL alone"),
)
"""Patterns of texts that are no URL, each with what the error says of it."""
PLACEHOLDER = re.compile(r"\$\{\w+[^}]*\}|\$\(\w+\)|\{\{.*?\}\}")
"""What shells, Kubernetes and templates replace: Kubernetes leaves the name of a variable that it does not know."""
MANAGEMENT = "is the address of the management pages, which have another protocol and port"
OTHER_SERVICE = {
    "amqp": "is the address of a broker",
    "amqps": "is the address of a broker",
    "postgres": "is the address of a database",
    "postgresql": "is the address of a database",
}
"""What the error says of a scheme that belongs to the other server."""


def refuse_other_forms(text: str, schemes: Sequence[str], example: str) -> None:
    """Check that a text begins as a URL of one of these schemes.

    Raises:
        AddressError: it does not; the text says what it seems to be, and ends with `example`.
    """
    if not text:
        raise AddressError(f"is empty; write {example}")
    if PLACEHOLDER.search(text):
        raise AddressError(f"has the name of a variable that nothing has replaced (a $ itself is %24); write {example}")
    scheme, found, _ = text.partition("://")
    if found and scheme.lower() in schemes:
        return
    for pattern, meaning in MISTAKES:
        if re.fullmatch(pattern, text, re.DOTALL):
            raise AddressError(f"{meaning}; write {example}")
    name, plus, _ = scheme.lower().partition("+")
    if found and plus and name in schemes:
        raise AddressError(f"names a driver after a +, which only other programs know; write {example}")
    if found and name in ("http", "https") and "amqp" in schemes:
        raise AddressError(f"{MANAGEMENT}; write {example}")
    if found and name in OTHER_SERVICE:
        raise AddressError(f"{OTHER_SERVICE[name]}; write {example}")
    raise AddressError(f"must start with {schemes[0]}://; write {example}")
