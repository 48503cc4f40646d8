"""The machine's definition as a database keeps it: states, edges, and a digest to compare two definitions by."""

import hashlib
from dataclasses import dataclass

from statemachine.transitions import TRANSITIONS, targets


@dataclass(frozen=True, slots=True)
class Definition:
    """The edges of a machine, as source and target; its states are the ends of its edges."""

    edges: frozenset[tuple[str, str]]

    @property
    def states(self) -> frozenset[str]:
        """Every state that an edge leaves or enters."""
        return frozenset(state for edge in self.edges for state in edge)

    @property
    def names(self) -> list[str]:
        """The edges as people write them, in alphabetical order, so that equal definitions read alike."""
        return [f"{source} -> {target}" for source, target in sorted(self.edges)]

    @property
    def digest(self) -> str:
        """Equal for equal definitions only."""
        return hashlib.sha256("\n".join(self.names).encode()).hexdigest()[:12]

    def __or__(self, other: "Definition") -> "Definition":
        """Return the edges of both."""
        return Definition(self.edges | other.edges)

    def __sub__(self, other: "Definition") -> "Definition":
        """Return the edges that the other lacks."""
        return Definition(self.edges - other.edges)


DEFINITION = Definition(
    frozenset(
        (source.value, target.value)
        for transition in TRANSITIONS
        for source in transition.sources
        for target in targets(transition)
    )
)
"""Of the machine in this version."""
