"""Text of strangers, fit for a terminal or a page: nothing in it moves a cursor, changes a colour or turns its order.

Nothing is lost either: what does not print is escaped, and JSON is only indented, never read and written anew.
"""

import json
import re
from typing import Any

DEEPEST = 40
"""Levels of JSON that are indented; a body nested deeper is shown as it came."""
WORDS = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]]|[,:]|[^\s{}\[\],:"]+', re.DOTALL)


def escaped(text: str) -> str:
    """Return a text with all that does not print escaped as Python would, line feeds and tabs apart."""
    return "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text)


def json_text(value: Any, indent: int | None = None) -> str:
    """Return a value as JSON that a terminal can be shown: it reads the same, and what does not print is escaped."""
    text = json.dumps(value, ensure_ascii=False, indent=indent, default=str)
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)


def indented(text: str) -> str:
    """Return JSON on lines of its own, every word of it as it stands; what is no JSON as it came."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return text
    pieces: list[str] = []
    depth = 0
    for word in (found[0] for found in WORDS.finditer(text)):
        if word in "{[":
            depth += 1
            if depth > DEEPEST:
                return text
            pieces.append(f"{word}\n{'  ' * depth}")
        elif word in "}]":
            depth -= 1
            pieces.append(f"\n{'  ' * depth}{word}")
        elif word == ",":
            pieces.append(f",\n{'  ' * depth}")
        else:
            pieces.append(": " if word == ":" else word)
    return re.sub(r"([{\[])\n\s*\n\s*([}\]])", r"\1\2", "".join(pieces))
