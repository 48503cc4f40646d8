"""Errors whose text is fit for people: which field, website or stream, and why; and the exit codes of commands."""

EXIT_FAILED, EXIT_USAGE, EXIT_AWAY, EXIT_INTERRUPTED = 1, 2, 3, 130
"""Exit codes: not done, wholly or in part; wrong usage or setting; a server does not answer or cannot now; Ctrl-C."""


class InvalidInputError(ValueError):
    """A value cannot be used; the text names the field and says why."""


class NotFoundError(Exception):
    """There is no such website or group; the text says what was sought."""


class OutputError(Exception):
    """Standard output cannot be written to; the text has the errno."""
