"""The states that only the existing product has, and which states are the machine's (docs/decisions/0007)."""

from enum import StrEnum
from types import MappingProxyType

from statemachine import State

KNOWN = frozenset(state.value for state in State)


class LockedState(StrEnum):
    """A state of the existing product's own, between ready and live: this service logs how a website comes there, and
    waits."""

    EMAIL = "locked_pending_email_verification"
    REGISTRATION = "locked_pending_registration"


LOCKED_STATES = frozenset(state.value for state in LockedState)
LOCKED_PROGRESS = MappingProxyType({LockedState.EMAIL: 95, LockedState.REGISTRATION: 98})
"""The percentage of a progress bar, as the product itself shows it; that of ready is 95, too."""
LOCKED_MESSAGES = MappingProxyType(
    {
        LockedState.EMAIL: "Please check your email to verify your account",
        LockedState.REGISTRATION: "Email verified! Please create your account to continue",
    }
)
"""The sentence that a customer sees."""
NOT_OURS = "it is in a state of the existing product's own; this service does not move it"
"""Why nothing is sent to a website, nor moved."""
UNKNOWN_MESSAGE = "In a state of the existing product's own"
"""The sentence that a customer sees in a state that is known to nobody here."""


def our_state(name: str | None) -> State | None:
    """Return a state of the machine by its name; None for the existing product's own (decision 0007)."""
    return State(name) if name in KNOWN else None


def locked_state(name: str) -> LockedState | None:
    """Return a state of the existing product's own by its name; None for any other."""
    return LockedState(name) if name in LOCKED_STATES else None
