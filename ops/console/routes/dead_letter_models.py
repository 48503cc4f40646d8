"""What requests about dead letters ask for, and what answers to them have."""

from contextlib import nullcontext
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator

from ops.console.access.auth import Person
from ops.console.context import Context
from ops.console.routes.inputs import OptionalLine, OptionalWhole, Reason
from ops.dead_letters import listing
from ops.dead_letters.listing import DeadLetterListing
from ops.dead_letters.queue_reader import DeadLetterFilter
from ops.dead_letters.selection_forecast import SelectionForecast, forecast_selection

MAX_LISTED = 500
"""Dead letters in one answer."""


class WantedDeadLetters(BaseModel):
    """Which dead letters are meant; what is left out or empty asks for nothing."""

    message_ids: Annotated[
        list[str], BeforeValidator(lambda value: [value] if isinstance(value, str) else value or [])
    ] = []
    message_id: str | None = None
    reason: OptionalLine = None
    type: OptionalLine = None
    website_id: OptionalWhole = None
    text: OptionalLine = None
    older_seconds: OptionalWhole = None
    newer_seconds: OptionalWhole = None
    group: OptionalLine = None

    @property
    def filter(self) -> DeadLetterFilter:
        """The same, as the queries take it."""
        ids = self.message_ids or ([self.message_id] if self.message_id else [])
        return DeadLetterFilter(
            frozenset(ids), self.reason, self.type, self.website_id, self.text, self.older_seconds, self.newer_seconds,
            self.group,
        )  # fmt: skip

    async def listing(self, context: Context, person: Person, *, grouped: bool = False) -> DeadLetterListing:
        """Return the letters by the last reading of their queue, the latest first. What only operators may read, only
        they may search. Raises LeaseHeldError."""
        return await listing.read_listing(
            context.store, context.broker, context.namespace, self.filter, read_by="console", limit=MAX_LISTED,
            grouped=grouped, whole=person.is_operator,
        )  # fmt: skip

    async def forecast(self, context: Context, person: Person) -> SelectionForecast:
        """Return what the letters would come to, each still where it is.

        Raises:
            LeaseHeldError: another tool has them.
            QuotaError: a reader asks, and no turn is due.
        """
        with nullcontext() if person.is_operator else context.reader_turns.turn():
            return await forecast_selection(
                context.store, context.broker, context.namespace, self.filter, context.settings.owner_by_id,
                whole=person.is_operator,
            )  # fmt: skip


class ActionRequest(WantedDeadLetters):
    """What is done to which dead letters, and why; `all` where no filter is named, `seen` out of a forecast."""

    why: Reason
    all: Annotated[bool, BeforeValidator(lambda value: value in (True, "true", "on"))] = False
    seen: OptionalLine = None
    body: Annotated[str, BeforeValidator(lambda value: str(value or ""))] = ""


class DeadLetter(BaseModel, extra="allow"):
    """A dead letter without its body."""

    message_id: str | None
    type: str | None
    website_id: int | None
    reason: str
    error: str | None
    source_queue: str | None
    failed_at: str | None
    bytes: int


class ForecastDeadLetter(DeadLetter):
    """A dead letter, and what it would come to if it were sent back; `contract`: what is wrong with it."""

    prospect: str
    about: str
    contract: str | None


class WholeDeadLetter(ForecastDeadLetter):
    """A dead letter with all that is needed to send it again; `body`, or `body_base64` where it is no text."""

    queue: str
    headers: dict[str, Any]
    properties: dict[str, Any]


class DeadLetterGroup(BaseModel, extra="allow"):
    """Dead letters of one reason and cause."""

    group: str
    reason: str
    cause: str
    letters: int
    types: list[str | None]
    first_at: str | None
    last_at: str | None
    example: str | None


class RedriveForecast(BaseModel):
    """What dead letters would come to; `seen` names them, for an action on these and no others."""

    summary: str
    seen: str
    letters: list[ForecastDeadLetter]


class ActionResult(BaseModel):
    """What was done to which dead letters."""

    verb: str
    letters: list[dict[str, Any]]
