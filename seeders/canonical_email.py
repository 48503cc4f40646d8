"""E-mail addresses of people, in the one form in which they are stored and compared.

Stripped, in Unicode's form NFC, in lower case, the domain as people read it (a U-label: `bücher.example`, not
`xn--bcher-kva.example`). Nothing is removed from the part before the @: no dot, no tag. Whether anybody reads mail
there, only a mail can prove.
"""

import re
import unicodedata

import idna

ADDRESS_MAX = 254
LOCAL_PART_MAX = 64
MISTAKES = (
    (re.compile(r"[^@]*<[^<>]*@[^<>]*>"), "it has a name or < > around it: leave those out"),
    (re.compile(r"(['\"`\u2018\u201c]).*@.*['\"`\u2019\u201d]"), "it stands in quotes: leave them out"),
    (re.compile(r"[^@:]*:[^@]*@.*", re.DOTALL), "there is text with a colon before it: leave that out"),
    (re.compile(r"[^@]*@[^@]*[,;/ \t\n][^@]*@.*", re.DOTALL), "it has several addresses: give one"),
    (re.compile(r"[^@]*@[^@()]*\([^@]*\)"), "there is a comment in ( ) after it: leave that out"),
    (re.compile(r"[^@]*\uff20.*"), "it has a full-width @ in it: write @"),
    (re.compile(r".*@.*\.\s*"), "it ends with a dot: leave that out"),
)
"""Common mistakes, each with what to do about it. No address matches any of these."""
NOT_IN_A_DOMAIN = re.compile(r"@[^@]*?([ -,/:-?\[-^`{-~])[^@]*$")
NOT_IN_A_LOCAL_PART = frozenset('@"<>(),;:\\[]')
"""Deliberately lenient: it catches what cannot be an address."""
ASCII_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?")
DOTS = re.compile("[.\u3002\uff0e\uff61]")
"""The full stop, and what keyboards of East Asia type for it in a domain."""
A_LABEL_PREFIX = "xn--"
LABEL_TYPED_MAX = 126
"""Characters of a part of a domain as it is typed, a letter perhaps as two; longer, no name can be registered."""
NOT_ASCII_LABELS_MAX = 31
"""So many parts that are not in ASCII fit into the 253 octets of a domain: each takes 8 at least. To check one costs as
much as a whole address in ASCII."""
JOINERS = "\u200c\u200d"
"""They are needed to write names in Persian and in languages of India; IDNA allows them in a domain where they change
what is seen, and nowhere else."""
BLANK = frozenset("\u2800")
"""Letters and symbols without ink that no category of Unicode tells apart."""
IGNORABLE = (
    (0x034F, 0x034F), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x2065, 0x2065), (0x3164, 0x3164),
    (0xFE00, 0xFE0F), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0xE0000, 0xE0FFF),
)  # fmt: skip
"""Unicode's Default_Ignorable_Code_Point, as far as it is not in the categories below: not seen wherever it stands."""
NOT_SEEN = re.compile(f"[{''.join(BLANK)}{''.join(f'{chr(first)}-{chr(last)}' for first, last in IGNORABLE)}]")
UNSEEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp", "Zs"})
"""Controls, format characters (of no width, or turning the direction of writing), half pairs, line ends and spaces."""


def canonical_email(text: str) -> str:
    """Return an address in the one form in which it is stored and compared.

    Raises:
        ValueError: it is no address, or has something in it that cannot be seen; the text says what is wrong, and
            nothing of the address.
    """
    address = text.strip()
    if len(address) > ADDRESS_MAX:
        raise ValueError(f"is not an e-mail address: it has {len(address)} characters, at most {ADDRESS_MAX} may be")
    try:
        return _canonical(address)
    except ValueError as error:
        raise ValueError(_mistake(address) or str(error)) from None


def comparable(text: str) -> str:
    """Return a text as addresses are compared: an address in its canonical form, any other text in lower case."""
    try:
        return canonical_email(text)
    except ValueError:
        return text.strip().lower()


def _canonical(address: str) -> str:
    local, at, domain = address.rpartition("@")
    if not at or not local or not domain:
        raise ValueError("is not an e-mail address: it needs a name, an @ and a domain, such as ana@example.com")
    _refuse_unseen(local, 0)
    _refuse_unseen(domain, len(local) + 1, allowed=JOINERS)
    local = _lower(local)
    if found := NOT_IN_A_LOCAL_PART & set(local):
        raise ValueError(f"is not an e-mail address: {min(found)} may not stand before the last @")
    if len(local) > LOCAL_PART_MAX:
        raise ValueError(f"is not an e-mail address: {len(local)} characters before the @, at most {LOCAL_PART_MAX}")
    canonical = f"{local}@{_domain(domain)}"
    if len(canonical) > ADDRESS_MAX:
        raise ValueError(f"is not an e-mail address: it has {len(canonical)} characters, at most {ADDRESS_MAX} may be")
    return canonical


def _mistake(address: str) -> str | None:
    """Return what is wrong with a text that is no address, for known mistakes; None for others."""
    for pattern, what in MISTAKES:
        if pattern.fullmatch(address):
            return f"is not an e-mail address alone: {what}"
    if "@" in address and (place := address.find(" ")) >= 0:
        return f"is not an e-mail address: it has a space at character {place + 1}: leave it out"
    if found := NOT_IN_A_DOMAIN.search(address):
        return f"is not an e-mail address: it has a {found[1]} after the @, which no domain has"
    return None


def other_spellings(address: str) -> list[str]:
    """Return the other forms in which rows of others may have a canonical address: the domain in A-labels, as browsers
    write it, and letters as several characters, as some systems type them."""
    local, _, domain = address.rpartition("@")
    domains = {domain, unicodedata.normalize("NFD", domain), _ascii_domain(domain)}
    found = {f"{name}@{each}" for name in (local, unicodedata.normalize("NFD", local)) for each in domains}
    return sorted(found - {address})


def _ascii_domain(domain: str) -> str:
    return ".".join(label if label.isascii() else idna.alabel(label).decode() for label in domain.split("."))


def _lower(text: str) -> str:
    """Return a text in lower case and NFC: lower case first, as some capitals are made of several characters there."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower())


def _refuse_unseen(text: str, place: int, allowed: str = "", of: str = "") -> None:
    if text.isprintable() and " " not in text and not NOT_SEEN.search(text):
        return  # nearly every address, at hardly a cost
    for number, character in enumerate(text, start=place + 1):
        if character not in allowed and _is_unseen(character):
            name = unicodedata.name(character, "a control character")
            where = f"U+{ord(character):04X} {name}, at character {number}{of}"
            raise ValueError(f"has a character that cannot be seen, {where}: type the address again")


def _is_unseen(character: str) -> bool:
    return unicodedata.category(character) in UNSEEN_CATEGORIES or NOT_SEEN.search(character) is not None


def _domain(text: str) -> str:
    """Return a domain with every label as people read it."""
    typed = DOTS.split(text)
    if sum(not _is_plain(label) for label in typed) > NOT_ASCII_LABELS_MAX:
        raise ValueError("is not an e-mail address: its domain is longer than any can be")
    labels = [_label(label) for label in typed]
    if len(labels) < 2:  # noqa: PLR2004 - a name and a top-level domain
        raise ValueError("is not an e-mail address: its domain has no dot, as in example.com")
    return ".".join(labels)


def _is_plain(label: str) -> bool:
    return label.isascii() and label[:4].lower() != A_LABEL_PREFIX


def _label(text: str) -> str:
    if len(text) > LABEL_TYPED_MAX:
        raise ValueError("is not an e-mail address: a part of its domain is empty, too long, or no name")
    label = text.lower() if text.isascii() else _mapped(text)
    if label.isascii() and not label.startswith(A_LABEL_PREFIX):
        # Not IDNA's rules: an underscore, or hyphens at any place, are met in names that work.
        if len(label) > 63 or not ASCII_LABEL.fullmatch(label):  # noqa: PLR2004 - octets a label may have
            raise ValueError("is not an e-mail address: a part of its domain is empty, too long, or no name")
        return label
    try:
        # Checks the name by IDNA 2008, whichever of its two forms it came in, and that the forms lead to each other.
        seen = idna.ulabel(label)
        idna.alabel(seen)
    except idna.IDNAError:
        _refuse_unseen(label, 0, of=" of a part of its domain")
        raise ValueError("is not an e-mail address: a part of its domain is no name that can be registered") from None
    return seen


def _mapped(text: str) -> str:
    """Return a label as IDNA maps what people type: wide letters, capitals, letters in several characters."""
    try:
        return idna.uts46_remap(text, std3_rules=False, transitional=False)
    except idna.IDNAError:
        raise ValueError("is not an e-mail address: a part of its domain has a character that no name has") from None
