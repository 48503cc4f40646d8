"""Contracts of what is published: the fields of events and their types, as types of the dictionaries that are sent.

Nothing checks them while the service runs: mypy compares the code with them, and `asyncapi` describes them.
"""

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

WebsiteId = Annotated[int, Field(ge=1, description="The website.")]
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


class EventBody(TypedDict):
    """`website.<state>`: a website has moved. It may come twice, and out of order.

    Deduplicate by message id, order by seq.
    """

    website_id: WebsiteId
    subdomain: Annotated[str | None, Field(description="Null where it has none yet.")]
    seq: Annotated[int, Field(ge=1, description="How many transitions the website has had, with this one.")]
    trigger: Annotated[str, Field(description="What moved it; the triggers are those of docs/states.md.")]
    from_state: Annotated[str, Field(description="Where it was.")]
    to_state: Annotated[str, Field(description="Where it is; the event is named after it.")]
    progress: Annotated[int | None, Field(ge=0, le=100, description="In percent; null where there is no bar to show.")]
    message: Annotated[str | None, Field(description="A sentence for the customer, unless it failed.")]
    error: Annotated[str | None, Field(description="Why it failed, for operators; null otherwise.")]
    missing: Annotated[list[str], Field(description="What it still lacks, each with what it has and needs.")]
    actor: Annotated[str | None, Field(description="Who asked for it; null where it moved by itself.")]
    occurred_at: Annotated[Time, Field(description="When it moved.")]


class LiveEventBody(EventBody):
    """`website.live`: a website is live."""

    url: Annotated[str | None, Field(description="Where it is found.")]


class RejectionBody(TypedDict):
    """`website.rejected`: a signup that can never be begun. It has moved no website, and has no seq."""

    website_id: Annotated[int, Field(ge=1, description="Which it names; may not exist, or be somebody else's.")]
    signup_message_id: Annotated[str, Field(json_schema_extra={"format": "uuid"}, description="Of the signup.")]
    subdomain: Annotated[str | None, Field(description="Which it asks for; null where it has none, or is invalid.")]
    code: Annotated[str, Field(description="Why, for programs.")]
    message: Annotated[str, Field(description="Why, as a sentence for the customer.")]
    occurred_at: Annotated[Time, Field(description="When it was first rejected.")]
