"""Dead letters: listed, grouped, shown, forecast and exported; sent back, edited and discarded."""

import re
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, BeforeValidator

from ops.audit.trail import AuditTrail
from ops.console.access.auth import Person
from ops.console.context import Console, Context
from ops.console.pages.rendering import render
from ops.console.routes.authorization import Operator, Reader
from ops.console.routes.inputs import ApiRoute, OptionalLine, OptionalWhole, Posted, Reason, typed_query, verb_in_path
from ops.dead_letters import actions as dead_letter_actions
from ops.dead_letters import queries, redrive_forecast
from ops.dead_letters.edited_messages import EditRefusedError
from ops.dead_letters.queries import DeadLetterFilter, DeadLetterList
from ops.dead_letters.reader_view import for_readers
from ops.errors import InvalidInputError, NotFoundError
from ops.text.printable import escaped, indented, json_text

api, pages, MAX_LISTED = APIRouter(route_class=ApiRoute), APIRouter(), 500
AGES = (("3600", "1 hour"), ("7200", "2 hours"), ("86400", "1 day"), ("604800", "1 week"))
DONE_TEXTS = {"redrive": "sent back", "discard": "discarded", "edit": "edited and sent back"}
DONE = re.compile(rf"[0-9]{{1,6}} ({'|'.join(DONE_TEXTS.values())})")
"""What the page says of an action that is done. It comes by the address, so it may say nothing else."""


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

    async def find(self, context: Context, person: Person) -> DeadLetterList:
        """Return the letters, each still where it is, the latest first. What only operators may read, only they may
        search. Raises LeaseHeldError."""
        return await queries.find_dead_letters(context.broker, context.namespace, self.filter, whole=person.is_operator)


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


PathVerb = Annotated[str, verb_in_path(DONE_TEXTS)]
PostedAction = Annotated[ActionRequest, Depends(Posted(ActionRequest))]
Wanted = Annotated[WantedDeadLetters, Query()]


@api.get("/dead-letters", response_model=list[DeadLetter])
async def list_dead_letters(context: Console, person: Reader, wanted: Wanted) -> Any:
    """Return dead letters, the latest first, without their bodies."""
    found = await wanted.find(context, person)
    return person.view([queries.summarize(letter) for letter in found.deliveries[:MAX_LISTED]])


@pages.get("/dead-letters")
async def dead_letters_page(
    request: Request, context: Console, person: Reader, wanted: Wanted, done: str = ""
) -> Response:
    """Show dead letters in groups and by filters; each stays where it is."""
    found = await wanted.find(context, person)
    letters = [queries.summarize(letter) for letter in found.deliveries]
    asked = typed_query(request, WantedDeadLetters)
    rule = context.settings.owner_by_id
    forecast = await redrive_forecast.forecast_redrive(context.store, found.deliveries, rule) if letters else []
    return render(
        request, "dead_letters.html", person, letters=letters[:MAX_LISTED], total=len(letters),
        beyond=found.beyond_limit, groups=queries.group_dead_letters(letters), ages=AGES, asked=asked,
        forecast=redrive_forecast.redrive_summary(forecast), query=urlencode(asked),
        seen=queries.selection_digest(found.deliveries), done=done if DONE.fullmatch(done) else None,
    )  # fmt: skip


@api.get("/dead-letters/groups", response_model=list[DeadLetterGroup])
async def group_dead_letters(context: Console, person: Reader, wanted: Wanted) -> Any:
    """Return dead letters in groups by reason and cause."""
    found = await wanted.find(context, person)
    return person.view(queries.group_dead_letters([queries.summarize(letter) for letter in found.deliveries]))


@api.get("/dead-letters/letter", response_model=WholeDeadLetter)
async def show_dead_letter(context: Console, person: Reader, message_id: str = "") -> Any:
    """Return one dead letter whole, with what it would come to if it were sent back."""
    return person.view(await _whole(context, person, message_id))


@pages.get("/dead-letters/letter")
async def dead_letter_page(request: Request, context: Console, person: Reader, message_id: str = "") -> Response:
    """Show one dead letter whole, with what may be done with it."""
    return await _dead_letter_page(request, context, person, message_id)


async def _dead_letter_page(
    request: Request, context: Context, person: Person, message_id: str, *, typed: str | None = None,
    refused: str | None = None,
) -> Response:  # fmt: skip
    letter = await _whole(context, person, message_id)
    headers = {
        escaped(name): escaped(value) if isinstance(value, str) else json_text(value)
        for name, value in letter["headers"].items()
    }
    return render(
        request, "dead_letter.html", person, 400 if refused else 200, letter=letter, headers=headers, typed=typed,
        refused=refused, pretty=escaped(indented(letter["body"])) if "body" in letter else None,
    )  # fmt: skip


async def _whole(context: Context, person: Person, message_id: str) -> dict[str, Any]:
    """Return one dead letter whole, with what it would come to. Raises NotFoundError."""
    wanted = WantedDeadLetters(message_id=message_id)
    found = (await wanted.find(context, person)).deliveries if message_id else []
    if not found:
        raise NotFoundError(f"there is no dead letter {message_id[:100]}")
    (forecast,) = await redrive_forecast.forecast_redrive(context.store, found[:1], context.settings.owner_by_id)
    letter = queries.full_record(found[0], context.namespace) | forecast
    return letter if person.is_operator else for_readers(letter)


@api.get("/dead-letters/forecast", response_model=RedriveForecast)
async def forecast_redrive(context: Console, person: Reader, wanted: Wanted) -> Any:
    """Return what dead letters would come to if they were sent back."""
    found = await wanted.find(context, person)
    forecast = await redrive_forecast.forecast_redrive(context.store, found.deliveries, context.settings.owner_by_id)
    return person.view(
        {
            "summary": redrive_forecast.redrive_summary(forecast),
            "seen": queries.selection_digest(found.deliveries),
            "letters": forecast[:MAX_LISTED],
        }
    )


@api.get(
    "/dead-letters/export",
    response_model=None,
    responses={200: {"content": {"application/x-ndjson": {}}, "description": "a JSON object a line"}},
)
async def export_dead_letters(context: Console, person: Operator, wanted: Wanted) -> Response:
    """Return dead letters whole, a JSON object a line, with all that is needed to send them again."""
    found = await wanted.find(context, person)
    trail = AuditTrail(context.store, person.actor, proof=person.proof)
    await dead_letter_actions.record_export(trail, found.deliveries)
    lines = (f"{json_text(queries.full_record(letter, context.namespace))}\n" for letter in found.deliveries)
    return Response(
        "".join(lines), media_type="application/x-ndjson",
        headers={"content-disposition": 'attachment; filename="dead-letters.ndjson"'},
    )  # fmt: skip


@api.post(
    "/dead-letters/{verb}",
    response_model=ActionResult,
    responses={409: {"description": "another tool has them leased, or they are not those `seen`"}},
)
async def act_on_dead_letters(context: Console, person: Operator, verb: PathVerb, action: PostedAction) -> Any:
    """Send back, discard or edit dead letters; return what each of them was."""
    return {"verb": verb, "letters": await _carry_out(context, person, verb, action)}


@pages.post("/dead-letters/{verb}")
async def act_on_dead_letters_by_page(
    request: Request, context: Console, person: Operator, verb: PathVerb, action: PostedAction
) -> Response:
    """Send back, edit or discard, and show what is left; a body that does not fit is given back to be mended."""
    try:
        letters = await _carry_out(context, person, verb, action)
    except (InvalidInputError, EditRefusedError) as refusal:
        if verb != "edit":
            raise
        return await _dead_letter_page(
            request, context, person, action.message_id or "", typed=action.body, refused=str(refusal)
        )
    done = urlencode({"done": f"{len(letters)} {DONE_TEXTS[verb]}"})
    return RedirectResponse(f"/dead-letters?{done}", 303)


async def _carry_out(context: Context, person: Person, verb: str, action: ActionRequest) -> list[dict[str, Any]]:
    """Send back, edit or discard the dead letters that are meant; return what each was.

    Raises:
        NotFoundError: there is no such dead letter.
        InvalidInputError: none is named, or to edit not one.
        LeaseHeldError, SelectionChangedError, EditRefusedError, BrokerError: as in `ops.dead_letters.actions`.
    """
    wanted = action.filter
    if wanted == queries.ALL and not action.all:
        raise InvalidInputError("message_ids: name them, or a filter, or say all")
    trail = AuditTrail(context.store, person.actor, action.why, person.proof)
    if verb == "redrive":
        return await dead_letter_actions.redrive(context.broker, context.namespace, wanted, trail, digest=action.seen)
    if verb == "discard":
        return await dead_letter_actions.discard(context.broker, context.namespace, wanted, trail, digest=action.seen)
    if len(wanted.message_ids) != 1:
        raise InvalidInputError("message_ids: name the one that is edited")
    (message_id,) = wanted.message_ids
    body = action.body.encode(errors="replace")
    try:
        return [await dead_letter_actions.edit(context.broker, context.namespace, message_id, body, trail)]
    except KeyError:
        raise NotFoundError(f"there is no dead letter {message_id[:100]}") from None
