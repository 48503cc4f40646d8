"""Lengths of time as people read them."""

UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def span(seconds: float) -> str:
    """Return a length of time in the largest unit that it fills."""
    size, unit = next(((size, unit) for size, unit in UNITS if seconds >= size), (0.001, "ms"))
    return f"{seconds / size:.3g} {unit}"
