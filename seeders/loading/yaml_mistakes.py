"""Common mistakes in YAML files: what an error of the parser's meant, and which values their author did not mean."""

import re
import unicodedata
from collections.abc import Iterator

HINTS = {
    "mapping values are not allowed": "check the indentation, and put a value that has ': ' in it in quotes",
    "cannot start any token": "put a value that begins with @, % or ` in quotes",
    "alphabetic or numeric": "put a value that begins with * or & in quotes",
    "expected key": "check quotes and indentation",
    "could not find expected ':'": "a key needs a colon and a space after it",
    "hexdecimal number": "in double quotes a \\ begins an escape: use single quotes, or write \\\\",
    "unknown escape": "in double quotes a \\ begins an escape: use single quotes, or write \\\\",
}
"""What people usually meant, by a part of the parser's words."""
KEY_WITHOUT_COLON = "could not find expected ':'"
"""The parser finds this at the line after the key."""
CONFLICT = re.compile(r"^<{7} .*$", re.MULTILINE)
"""What git leaves in a file where two versions were not merged."""
CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]")
NOT_A_SPACE = re.compile("[\u00a0\u1680\u2000-\u200b\u202f\u205f\u3000\ufeff]")
"""Spaces of word processors and web pages: YAML separates words by U+0020 alone."""
CURLY_QUOTES = re.compile("[\u2018\u201c\u201e\u00ab].*[\u2019\u201d\u201c\u00bb]", re.DOTALL)
"""Quotes as word processors write them."""
BLOCKS = ("|", ">")
"""How a value of several lines begins."""
TEMPLATE = re.compile(r"<%.*?%>|\{\{.*?\}\}|\$\{\w+[^}]*\}", re.DOTALL)
"""What ERB, Jinja and shells replace, and nothing here does."""


def name_mistake(text: str, reason: str, line: int | None, begun: int | None) -> tuple[str, int | None]:
    """Return why the parser refuses a file, with what to do about it, and the line where that is.

    `line` is the one at which the parser ended, `begun` where what it was reading had begun; from 1.
    """
    lines = text.splitlines()
    if conflict := CONFLICT.search(text):
        return "has two versions that git did not merge (<<<<<<<); keep one", _line_at(text, conflict.start())
    if "control characters" in reason and (control := CONTROL.search(text)):
        return f"has the control character U+{ord(control[0]):04X}; remove it", _line_at(text, control.start())
    if reason == KEY_WITHOUT_COLON and begun:
        line = begun
    hint = next((hint for words, hint in HINTS.items() if words in reason), "")
    if line and "\t" in _nth(lines, line):
        hint = "this line has a tab: write spaces"
    for number in filter(None, (line, begun, line and line - 1)):
        if space := NOT_A_SPACE.search(_nth(lines, number)):
            line, name = number, unicodedata.name(space[0])
            hint = f"this line has a U+{ord(space[0]):04X} ({name}), which is no space in YAML: write spaces"
            break
    return f"is not YAML: {reason}{hint and f'; {hint}'}", line


def doubts(value: str, style: str | None) -> Iterator[str]:
    """Return what is probably wrong with a value, which can be stored all the same; `style` is YAML's, none for a value
    without quotes."""
    plain = not style
    if style in BLOCKS and value.endswith("\n") and "\n" not in value[:-1]:
        yield f"has one line after {style}, which ends with a line break; write {style}-, or the value after the colon"
    if plain and CURLY_QUOTES.fullmatch(value):
        yield "has a value in curly quotes, which YAML reads as a part of it; write straight quotes, or leave them out"
    if found := TEMPLATE.search(value):
        yield f"has {found[0][:40]!r} in a value, which nothing replaces here; write what it stands for"


def _nth(lines: list[str], number: int) -> str:
    return "".join(lines[number - 1 : number])


def _line_at(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1
