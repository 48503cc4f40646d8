"""The fingerprint of an error's text: everything is folded that differs from one website to the next.

Errors of one fingerprint are one group.
"""

import hashlib
import re

FOLDS = (
    (re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b", re.IGNORECASE), "ID"),
    # An apostrophe within a word quotes nothing: "the website's row isn't there".
    (re.compile(r"\"[^\"]*\"|(?<!\w)'(?:[^']|(?<=\w)'(?=\w))*'(?!\w)|«[^»]*»|“[^”]*”|`[^`]*`"), "…"),
    (re.compile(r"(?<![^\s@])[^\s@]+@[^\s@]+\.[a-z]+", re.IGNORECASE), "E-MAIL"),
    (re.compile(r"\b0x[0-9a-f]+\b|\b(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{8,}\b", re.IGNORECASE), "ID"),
    (re.compile(r"\d+(?:[.,:]\d+)*"), "#"),
)
"""Applied in this order: an id is no number, and a quoted text is folded whole."""
MAX_CHARACTERS_READ = 2000
"""Of a text; what distinguishes errors is at the beginning, and a message of others may have megabytes."""
MAX_CHARACTERS = 200
GROUP_DIGITS = 8


def fingerprint(text: str) -> str:
    """Return an error's text with ids, quoted values, e-mail addresses and numbers folded, at most 200 characters.

    Two websites that failed for one cause have one fingerprint: "links (have 2, need 3)" and "links (have 0, need 3)".
    """
    text = text[:MAX_CHARACTERS_READ]
    for pattern, folded in FOLDS:
        text = pattern.sub(folded, text)
    return " ".join(text.split())[:MAX_CHARACTERS]


def group_id(text: str) -> str:
    """Return the short name of the group that an error belongs to: the same for the same fingerprint, everywhere."""
    return hashlib.sha256(fingerprint(text).encode(errors="replace")).hexdigest()[:GROUP_DIGITS]
