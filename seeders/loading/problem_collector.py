"""Collects what is wrong with the files of a seed pack: all of it, not the first only."""

from collections.abc import Iterable

from seeders.pack_problems import PackProblem

MAX_NAME = 64
"""Characters of an entry's name, and of a key, that an error quotes."""


class FileProblems:
    """What is wrong with one file, or probably wrong; an error costs the rows of one step."""

    def __init__(self, file: str, step: str = "") -> None:
        """`file` is the path below the folder of packs; `step` is empty where an error costs the whole pack."""
        self.file = file
        self.step = step
        self.errors: list[PackProblem] = []
        self.warnings: list[PackProblem] = []
        self.left_out: list[str] = []
        """Keys with a value from which the existing product seeds something, and this service does not."""

    def error(self, reason: str, *, line: int | None = None, entry: str = "", key: str = "") -> None:
        """Note what cannot be inserted."""
        self.errors.append(PackProblem(self.file, reason, self.step, line, entry[:MAX_NAME], _printable(key)))

    def warning(self, reason: str, *, line: int | None = None, entry: str = "", key: str = "") -> None:
        """Note what can be inserted, and is probably a mistake."""
        self.warnings.append(PackProblem(self.file, reason, self.step, line, entry[:MAX_NAME], _printable(key)))

    def include(self, other: "FileProblems") -> None:
        """Take over what was found elsewhere."""
        self.errors += other.errors
        self.warnings += other.warnings
        self.left_out += other.left_out


def in_order(problems: Iterable[PackProblem]) -> tuple[PackProblem, ...]:
    """Return problems by file, as the files were read, and by line."""
    found = list(problems)
    files = {file: number for number, file in enumerate(dict.fromkeys(problem.file for problem in found))}
    return tuple(sorted(found, key=lambda problem: (files[problem.file], problem.line or 0)))


def _printable(key: str) -> str:
    """Return a key so that it can stand in an error: not long, and nothing in it unseen."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in key[:MAX_NAME])
