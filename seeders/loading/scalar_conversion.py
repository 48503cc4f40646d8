"""Turns the written text of a scalar into what a field needs, or says how to write it.

Only what is exactly a number is a number: digits, a dot before decimals. What could be read in two ways is refused, for
a price that is a thousand times too small is worse than none.
"""

import re
import unicodedata
from collections.abc import Callable
from typing import Any

from seeders.canonical_email import canonical_email
from seeders.loading.yaml_mistakes import CURLY_QUOTES
from seeders.loading.yaml_reader import Scalar, kind

MAX_KEY_CHARACTERS = 255
"""A natural key is indexed; an index entry beyond some 2,700 bytes is refused by the database."""
MAX_TEXT_CHARACTERS = 10_000
"""The existing product's longest description has 600."""
MAX_DIGITS = 30
"""Longer ones are in no column's range; Python refuses to read more than 4,300."""
MAX_SHOWN = 40
"""Characters of a value that an error quotes."""

JOINERS = "\u200c\u200d"
"""Invisible characters that Persian and languages of India need within words."""
CURRENCY_CODE = re.compile("[A-Z]{3}")
CURRENCY_SIGNS = {"€": "EUR", "£": "GBP", "$": "USD", "¥": "JPY", "₹": "INR", "₽": "RUB", "₺": "TRY", "zł": "PLN"}
"""The code that an error suggests for a sign: that of the currency which most often has it."""
IN_A_TEXT = frozenset("\t\n\r")
"""The control characters that a text may have."""
WHOLE = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
DECIMAL = re.compile(r"[-+]?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")
GROUPED = re.compile(r"[-+]?[0-9]{1,3}(?:[.,'’_ \u00a0\u202f][0-9]{3})+")
"""How people write thousands: 450.000 in Spain, 450,000 in Britain, 450'000 in Switzerland."""
AMBIGUOUS = re.compile(r"[-+]?[0-9]{1,3}[.,][0-9]{3}")
COMMA = re.compile(r"[-+]?[0-9]+,[0-9]+")
BOOLEANS = {
    form: value
    for word, value in (("true", True), ("yes", True), ("on", True), ("false", False), ("no", False), ("off", False))
    for form in (word, word.capitalize(), word.upper())
}
"""Without quotes, as the existing product reads them: `furnished: yes` can mean nothing else where a boolean is wanted.
In quotes each of these words is a text, and every text is true to many a program."""


class RefusedValueError(ValueError):
    """A value is not what its field needs; the text says what it is, and how to write it."""


def text(value: Any) -> str:
    """Return a text as it is written.

    Raises:
        RefusedValueError: it is none, or cannot be stored.
    """
    return _storable(value, MAX_TEXT_CHARACTERS)


def filled(value: Any) -> str:
    """Return a text as it is written; an empty one means that there is none.

    Raises:
        RefusedValueError: it is no text, only spaces, or cannot be stored.
    """
    if isinstance(value, str) and value and not value.strip():
        raise RefusedValueError("is blank; write a text, or leave it out")
    return text(value)


def word(value: Any) -> str:
    """Return a natural key as it is written.

    Raises:
        RefusedValueError: it is no text, blank, too long, has an invisible character, or cannot be stored.
    """
    if isinstance(value, str) and not value.strip():
        raise RefusedValueError(f"is {'blank' if value else 'empty'}; write 1 to {MAX_KEY_CHARACTERS} characters")
    found = _storable(value, MAX_KEY_CHARACTERS)
    if found != found.strip():
        raise RefusedValueError(f"is {shown(found)}, with a space before or after it; remove the space")
    if CURLY_QUOTES.fullmatch(found):
        raise RefusedValueError(f"is {shown(found)}, in curly quotes, which YAML reads as text; leave them out")
    if unseen := next(
        (character for character in found if not character.isprintable() and character not in JOINERS), ""
    ):
        raise RefusedValueError(f"has U+{ord(unseen):04X} in it, which is invisible; remove that character")
    return found


def currency(value: Any) -> str:
    """Return the code of a currency by ISO 4217.

    Raises:
        RefusedValueError: it is no such code.
    """
    found = word(value)
    if CURRENCY_CODE.fullmatch(found):
        return found
    meant = CURRENCY_SIGNS.get(found) or (found.upper() if CURRENCY_CODE.fullmatch(found.upper()) else "EUR")
    raise RefusedValueError(f"is {shown(found)}; write the code by ISO 4217, three capital letters, such as {meant}")


def email(value: Any) -> str:
    """Return an e-mail address as it is written, but for space around it; an empty text means that there is none.

    Raises:
        RefusedValueError: it is no e-mail address.
    """
    if not (found := filled(value)):
        return found
    try:
        canonical_email(found)
    except ValueError as error:
        raise RefusedValueError(str(error)) from None
    return found.strip()


def flag(value: Any) -> bool:
    """Return a boolean.

    Raises:
        RefusedValueError: it is neither true nor false, or in quotes.
    """
    if isinstance(value, Scalar) and value.plain and value in BOOLEANS:
        return BOOLEANS[value]
    raise RefusedValueError(f"is {shown(value)}; write true or false, without quotes")


def whole(least: int, most: int, *, example: str) -> Callable[[Any], int]:
    """Return a function that reads a whole number from `least` to `most`; `example` is one, as errors show it."""

    def read(value: Any) -> int:
        found = _number(value, WHOLE, f"a whole number in digits, such as {example}")
        if not least <= (number := int(found)) <= most:
            raise RefusedValueError(f"is {number}; it must be from {least} to {most}")
        return number

    return read


def decimal(least: float, most: float, *, example: str) -> Callable[[Any], float]:
    """Return a function that reads a number that may have decimals, from `least` to `most`."""
    how = f"a number in digits with a dot before decimals, such as {example}"

    def read(value: Any) -> float:
        found = _number(value, DECIMAL, how)
        if not least <= (number := float(found)) <= most:
            raise RefusedValueError(f"is {found}; it must be from {least:g} to {most:g}")
        return number

    return read


def measure(most: float, *, example: str) -> Callable[[Any], float]:
    """Return a function that reads a number from 0 on, perhaps with decimals, but for 1.200, which is 1200 to many.

    Coordinates have three decimals and more, so this is for areas and counts alone.
    """
    read = decimal(0, most, example=example)

    def read_unless_ambiguous(value: Any) -> float:
        if isinstance(value, str) and AMBIGUOUS.fullmatch(value):
            fraction = value.replace(",", ".").rstrip("0").rstrip(".")
            fraction += "0" if AMBIGUOUS.fullmatch(fraction) else ""
            raise RefusedValueError(f"is {_two_ways(value)}; write {_ungrouped(value)}, or {fraction}")
        return read(value)

    return read_unless_ambiguous


def shown(value: Any) -> str:
    """Return a value as an error names it: a text in quotes and cut, anything else by its kind."""
    if isinstance(value, str):
        return repr(str(value) if len(value) <= MAX_SHOWN else f"{value[:MAX_SHOWN]}…")
    return kind(value)


def _number(value: Any, pattern: re.Pattern[str], how: str) -> str:
    if not isinstance(value, str):
        raise RefusedValueError(f"is {kind(value)}; write {how}")
    if pattern.fullmatch(value):
        if len(value) > MAX_DIGITS:
            raise RefusedValueError(f"has {len(value)} digits, at most {MAX_DIGITS} are read; shorten it")
        return str(value)
    if pattern is DECIMAL and COMMA.fullmatch(value):
        raise RefusedValueError(f"is {shown(value)}; write {value.replace(',', '.')[:MAX_SHOWN]}, with a dot")
    if AMBIGUOUS.fullmatch(value):
        raise RefusedValueError(f"is {_two_ways(value)}; write {how}")
    if GROUPED.fullmatch(value):
        raise RefusedValueError(f"is {shown(value)}; write {_ungrouped(value)}, without separators")
    raise RefusedValueError(f"is {shown(value)}; write {how}")


def _two_ways(value: str) -> str:
    """Return a number such as 450.000 with both of its readings."""
    return f"{shown(value)}, which can be read as {re.split('[.,]', value)[0]} or as {_ungrouped(value)}"


def _ungrouped(value: str) -> str:
    return re.sub(r"[^-+0-9]", "", value)[:MAX_SHOWN]


def _storable(value: Any, most: int) -> str:
    """Return a text, unless it has what no text column takes and YAML can write with an escape."""
    if not isinstance(value, str):
        raise RefusedValueError(f"is {kind(value)}; write a text")
    if len(value) > most:
        raise RefusedValueError(f"has {len(value)} characters, at most {most} are stored; shorten it")
    if "\0" in value:
        raise RefusedValueError("contains a NUL character; remove it")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise RefusedValueError("contains half of a surrogate pair; remove it")
    if control := next((each for each in value if unicodedata.category(each) == "Cc" and each not in IN_A_TEXT), ""):
        raise RefusedValueError(f"contains the control character U+{ord(control):04X}; remove it")
    return str(value)
