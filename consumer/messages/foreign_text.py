"""Text that somebody else chose, made fit to be shown: nothing in it moves a cursor, changes a colour, reverses the
direction of a text or begins a line. Pure; whoever writes to a log, a page or a terminal passes such text through here.

What does not print is escaped as Python writes it; nothing is lost, unless a length is asked for.
"""

import re

MAX_ID_CHARACTERS = 64
"""So many characters of an id are shown: a UUID has 36, the longest message type of ours 33, a pack's name 64."""
PLAIN_ID = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._:/*#-]{{,{MAX_ID_CHARACTERS - 1}}}", re.ASCII)
"""Ids as programs choose them: UUIDs, message types, names of packs and queues. They need no quotes."""
MORE = "…"


def printable(text: str, *, keep: str = "") -> str:
    """Return a text with all that does not print escaped, line feeds too; `keep` has the characters that may stay."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else ascii(c)[1:-1] for c in text)


def bounded(text: str, longest: int) -> str:
    """Return a text on one line, of at most `longest` characters; one that was cut ends in an ellipsis."""
    shown = printable(text[: longest + 1])
    return shown if len(shown) <= longest else shown[: longest - 1] + MORE


def is_plain_id(text: str) -> bool:
    """Return whether a text looks like an id of a program, and is no longer than one."""
    return PLAIN_ID.fullmatch(text) is not None


def identifier(text: str, longest: int = MAX_ID_CHARACTERS) -> str:
    """Return an id that somebody else chose, cut to `longest` characters; quoted where it does not look like an id."""
    if len(text) <= longest and is_plain_id(text):
        return text
    return f"'{bounded(text, longest)}'"
