"""What is wrong with a seed pack, and the error of one that cannot be used."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PackProblem:
    """One thing that is wrong with a seed pack, or probably wrong. As a text it says where, what and how to write it.

    Attributes:
        file: below the folder of packs; empty where no file is to blame.
        reason: what is wrong, and how to write it.
        step: whose rows it costs, `agency`, `links`, `field_keys` or `properties`; empty: the whole pack's.
        line: in the file, from 1.
        entry: the natural key of the entry.
        key: of the value in the entry.
    """

    file: str
    reason: str
    step: str = ""
    line: int | None = None
    entry: str = ""
    key: str = ""

    def __str__(self) -> str:
        """Return it as one line."""
        line, entry = f"line {self.line}" if self.line else "", f"entry {self.entry!r}" if self.entry else ""
        where = ", ".join(filter(None, (self.file, line, entry)))
        return ": ".join(filter(None, (where, " ".join(filter(None, (self.key, self.reason))))))


class PackError(Exception):
    """A seed pack cannot be used; the text names file, line, entry and reason, and what to do.

    Attributes:
        errors: all that is wrong with it.
        warnings: what is probably wrong.
        strict: as far as the pack could be read, it says `fallback: false`.
    """

    def __init__(
        self,
        text: str,
        *,
        errors: Sequence[PackProblem] = (),
        warnings: Sequence[PackProblem] = (),
        strict: bool = False,
    ) -> None:
        super().__init__(text)
        self.errors = tuple(errors) or (PackProblem("", text),)
        self.warnings = tuple(warnings)
        self.strict = strict

    def error_of(self, _step: str) -> str:
        """Return why a step cannot take its rows from this pack: none can."""
        return str(self)
