"""Masks e-mail addresses in text and JSON, for people who may not see them."""

import re
from collections.abc import Mapping
from typing import Any

EMAIL = re.compile(r"(?<![^\s@<>\"'(),;:])(?<!\w')[^\s@<>\"'(),;:]+(?:'[^\s@<>\"'(),;:]+)*@[^\s@<>\"'(),;:]+")
"""Begins at the beginning of a word, and not at an apostrophe within one (o'brien@example.com): tried at every letter
of one long word from outside, it would take minutes."""


def masked(value: Any) -> Any:
    """Return a value with every e-mail address in it masked, however deep it stands: ana@example.com is a…@e…."""
    match value:
        case str():
            return EMAIL.sub(lambda found: "@".join(f"{part[:1]}…" for part in found[0].split("@", 1)), value)
        case Mapping():
            return {key: masked(entry) for key, entry in value.items()}
        case list() | tuple():
            return [masked(entry) for entry in value]
    return value
