"""Makes text from outside printable: nothing in it moves a cursor, changes a colour or reverses the text's direction.

Nothing is lost: what does not print is escaped, and JSON is only indented, never parsed and written anew.
"""

import json
import re
from typing import Any

from consumer.messages.foreign_text import printable

MAX_DEPTH = 40
"""Levels of JSON that are indented; a text nested deeper is returned as it is."""
TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]]|[,:]|[^\s{}\[\],:"]+', re.DOTALL)


def escaped(text: str) -> str:
    """Return a text with all that does not print escaped as Python would, line feeds and tabs apart."""
    return printable(text, keep="\n\t")


def json_escaped(text: str) -> str:
    """Return JSON with characters that do not print escaped as JSON escapes them: it parses to the same value."""
    lines = text.replace("\r\n", "\n")
    return "".join(c if c.isprintable() or c in "\n\t" else json.dumps(c)[1:-1] for c in lines)


def json_text(value: Any, indent: int | None = None) -> str:
    """Return a value as JSON that is safe on a terminal: it parses the same, and what does not print is escaped."""
    text = json.dumps(value, ensure_ascii=False, indent=indent, default=str)
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)


def indented(text: str) -> str:
    """Return JSON on indented lines, each token unchanged; what is no JSON is returned as it is."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return text
    pieces: list[str] = []
    depth = 0
    for symbol in (match[0] for match in TOKENS.finditer(text)):
        if symbol in "{[":
            depth += 1
            if depth > MAX_DEPTH:
                return text
            pieces.append(f"{symbol}\n{'  ' * depth}")
        elif symbol in "}]":
            depth -= 1
            pieces.append(f"\n{'  ' * depth}{symbol}")
        elif symbol == ",":
            pieces.append(f",\n{'  ' * depth}")
        else:
            pieces.append(": " if symbol == ":" else symbol)
    return re.sub(r"([{\[])\n\s*\n\s*([}\]])", r"\1\2", "".join(pieces))
