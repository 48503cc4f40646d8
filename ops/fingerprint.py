"""What errors have in common: their text with everything folded that differs from one website to the next. Pure."""

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
"""In this order: an id is no number, and what stands in quotes is folded whole."""
LONGEST_READ = 2000
"""Of a text; what differs stands at its beginning, and a stranger's may have megabytes."""
LONGEST = 200
GROUP_DIGITS = 8


def fingerprint(text: str) -> str:
    """Return an error's text with ids, quoted values, e-mail addresses and numbers folded, at most 200 characters.

    Two websites that failed for one cause have one fingerprint: "links (have 2, need 3)" and "links (have 0, need 3)".
    """
    text = text[:LONGEST_READ]
    for pattern, folded in FOLDS:
        text = pattern.sub(folded, text)
    return " ".join(text.split())[:LONGEST]


def group_id(text: str) -> str:
    """Return the short name of the group that an error belongs to: the same for the same fingerprint, everywhere."""
    return hashlib.sha256(fingerprint(text).encode(errors="replace")).hexdigest()[:GROUP_DIGITS]
