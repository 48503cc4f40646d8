"""Masks e-mail addresses in text and JSON, for people who may not see them."""

import re
from collections.abc import Mapping
from typing import Any

EMAIL = re.compile(r"(?<![^\s<>\"(),;:])('*+)([^\s@<>\"(),;:]++)@([^\s<>\"(),;:]++)")
"""Quotes before it, local part, and the rest of the word. Each word is read once, whatever is in it: a match begins
where a word begins, and gives nothing back (o'brien@example.com is one word, and so is a megabyte of quotes)."""


def masked(value: Any) -> Any:
    """Return a value with every e-mail address in it masked, however deep it stands: ana@example.com is a…@e…."""
    match value:
        case str():
            return EMAIL.sub(_masked_address, value)
        case Mapping():
            return {masked(key): masked(entry) for key, entry in value.items()}
        case list() | tuple():
            return [masked(entry) for entry in value]
    return value


def _masked_address(found: re.Match[str]) -> str:
    quotes, local, rest = found.groups()
    after = "'" * (len(rest) - len(rest.rstrip("'")))
    return f"{quotes}{local[:1]}…@{rest[:1]}…{after}"
