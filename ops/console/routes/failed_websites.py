"""Failed websites: in groups by cause, with a preflight of a requeue, and requeues in bulk."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from ops.audit.trail import AuditTrail
from ops.console.access.auth import Person
from ops.console.context import Console, Context
from ops.console.jobs import Job
from ops.console.pages.hour_bars import hour_bars
from ops.console.pages.rendering import render
from ops.console.routes.authorization import Operator, Reader
from ops.console.routes.inputs import WHOLE_OR_NONE, ApiRoute, NoFields, OptionalLine, Posted, Reason
from ops.errors import NotFoundError
from ops.websites import failures, requeue_forecast
from ops.websites.bulk_requeue import requeue_websites
from ops.websites.failures import FailureFilter
from ops.websites.queries import MAX_SELECTED

api, pages = APIRouter(route_class=ApiRoute), APIRouter()
CANARY_SECONDS = 60.0
"""How long each batch of canaries has to advance."""
WAIT_SECONDS = 5.0
"""How long a request waits for the end of its job; a longer one is followed by its id."""
MAX_LISTED = 500
MAX_RATE = 10_000
MAX_AGE_SECONDS = 10**9 - 1
"""Thirty years."""
JOBS_SHOWN = 5
"""Requeues that the page shows, the latest."""


WebsiteIds = Annotated[
    frozenset[int], BeforeValidator(lambda value: [value] if isinstance(value, str | int) else value)
]


def _chosen(websites: frozenset[int]) -> frozenset[int]:
    """Return the ids that were chosen. Raises ValueError for none."""
    if not websites:
        raise ValueError("choose one website at least")
    return websites


class FailedWebsites(BaseModel):
    """Which failed websites are meant; what is left out or empty asks for nothing."""

    group: OptionalLine = None
    error: OptionalLine = None
    pack: OptionalLine = None
    site_type: OptionalLine = None
    since_seconds: Annotated[Annotated[int, Field(le=MAX_AGE_SECONDS)] | None, WHOLE_OR_NONE] = None
    websites: WebsiteIds | None = None
    """Only these of them, by their ids."""
    limit: Annotated[Annotated[int, Field(ge=1, le=MAX_SELECTED)] | None, WHOLE_OR_NONE] = None

    async def ids(self, context: Context, person: Person) -> list[int]:
        """Return the websites' ids. What only operators may read, only they may search.

        Raises NotFoundError for a group that there is not.
        """
        filters = self.model_dump(include=set(FailedWebsites.model_fields), exclude_none=True)
        return await failures.failed_website_ids(
            context.store, FailureFilter(**filters), view=None if person.is_operator else person.view
        )

    async def preflight(self, context: Context, person: Person) -> dict[str, Any]:
        """Return what a requeue would come to, in a sentence and by website. Raises NotFoundError."""
        ids = await self.ids(context, person)
        forecasts = await requeue_forecast.forecast_requeue(context.store, context.packs, ids)
        return requeue_forecast.preflight_report(forecasts, MAX_LISTED)


class RequeueRequest(FailedWebsites):
    """Which failed websites to requeue, why, with a few first, and how many a second at most."""

    reason: Reason
    canary: Annotated[bool, BeforeValidator(bool)] = False
    rate: Annotated[Annotated[int, Field(ge=1, le=MAX_RATE)] | None, WHOLE_OR_NONE] = None


class ChosenRequeue(RequeueRequest):
    """The same for websites that were chosen on a page; none chosen is a mistake, and does not mean all."""

    websites: Annotated[WebsiteIds, AfterValidator(_chosen)] = Field(frozenset(), validate_default=True)


class FailureGroup(BaseModel, extra="allow"):
    """Failed websites with one cause."""

    group: str
    cause: str
    websites: int
    first_at: str | None
    last_at: str | None
    example: int
    example_error: str
    failed_from: dict[str, int]


class FailureGroupPage(FailureGroup):
    """A group with a page of its websites, and what they have in common."""

    members: list[dict[str, Any]]
    offset: int
    next: int | None
    breakdown: dict[str, list[dict[str, Any]]]
    attempts: list[int]
    last_requeue: dict[str, Any] | None


class WantedPage(BaseModel):
    """Which page of a group's websites, and how they are sorted."""

    sort: Annotated[Literal[failures.SORTS], BeforeValidator(lambda value: value or failures.SORTS[0])] = "failed_at"  # type: ignore[valid-type]
    offset: Annotated[int, Field(ge=0, le=10**9)] = 0
    limit: Annotated[int, Field(ge=1, le=MAX_LISTED)] = 50

    async def read(self, context: Context, group: str) -> dict[str, Any]:
        """Return the group with this page. Raises NotFoundError."""
        return await failures.failure_group_page(
            context.store, group, sort=self.sort, offset=self.offset, limit=self.limit
        )


class Preflight(BaseModel, extra="allow"):
    """What a requeue would come to."""

    summary: str
    websites: list[dict[str, Any]]


class Requeue(BaseModel, from_attributes=True, validate_by_name=True):
    """A requeue in bulk: `state` is running, stopped (`stopped` says why) or done; `errand` is its id."""

    errand: str = Field(validation_alias="id")
    state: str
    progress: str
    sent: int
    not_sent: Annotated[list[dict[str, Any]], AfterValidator(lambda found: found[:MAX_LISTED])]
    stopped: str | None
    actor: str
    reason: str
    about: dict[str, Any]
    began_at: str

    @classmethod
    def for_person(cls, person: Person, job: Job) -> Any:
        """Return a job as a person may see it."""
        return person.view(cls.model_validate(job).model_dump())


async def job_in_path(context: Console, job: str) -> Job:
    """Return the job in a path. Raises NotFoundError."""
    found = context.jobs.get(job)
    if found is None:
        raise NotFoundError("this requeue is not known (any more); each website's history has what was sent")
    return found


PathJob = Annotated[Job, Depends(job_in_path)]
PostedChoice = Annotated[ChosenRequeue, Depends(Posted(ChosenRequeue))]
PostedRequeue = Annotated[RequeueRequest, Depends(Posted(RequeueRequest))]
Confirmed = Annotated[NoFields, Depends(Posted(NoFields))]


@api.get("/failures", response_model=list[FailureGroup])
async def list_failure_groups(context: Console, person: Reader) -> Any:
    """Return failed websites in groups by cause, the largest first."""
    return person.view(await failures.failure_groups(context.store))


@pages.get("/failures")
async def failures_page(
    request: Request, context: Console, person: Reader, group: str | None = None, job: str | None = None
) -> Response:
    """Show failed websites in groups; with a group, what a requeue of it would come to; and requeues under way."""
    groups = await failures.failure_groups(context.store)
    # A group that has gone meanwhile is what everybody hopes for, and no error.
    known = group if any(found["group"] == group for found in groups) else None
    return render(
        request, "failures.html", person, groups=groups, group=group, gone=group if group and not known else None,
        preflight=await FailedWebsites(group=known).preflight(context, person) if known else None, asked=job,
        jobs=[Requeue.for_person(person, each) for each in context.jobs.latest(JOBS_SHOWN)],
    )  # fmt: skip


@api.get("/failures/groups/{group}", response_model=FailureGroupPage)
async def show_failure_group(
    context: Console, person: Reader, group: str, wanted: Annotated[WantedPage, Query()]
) -> Any:
    """Return a group, a page of its websites, and what they have in common."""
    return person.view(await wanted.read(context, group))


@pages.get("/failures/groups/{group}")
async def failure_group_page(
    request: Request, context: Console, person: Reader, group: str, wanted: Annotated[WantedPage, Query()]
) -> Response:
    """Show a group: what its websites have in common, and they themselves, to be chosen for a requeue."""
    found = await wanted.read(context, group)
    return render(
        request, "failure_group.html", person, found=found, sort=wanted.sort, sorts=failures.SORTS,
        hours=hour_bars(found["breakdown"]["hour"]), page_size=wanted.limit,
    )  # fmt: skip


@api.get("/failures/preflight", response_model=Preflight)
async def preflight_requeue(context: Console, person: Reader, wanted: Annotated[FailedWebsites, Query()]) -> Any:
    """Return what a requeue of failed websites would come to, on today's data."""
    return person.view(await wanted.preflight(context, person))


@api.post(
    "/failures/requeue",
    response_model=Requeue,
    status_code=202,
    responses={409: {"model": Requeue, "description": "`stopped`: why no more were sent"}},
)
async def requeue(response: Response, context: Console, person: Operator, wanted: PostedRequeue) -> Any:
    """Requeue failed websites; a requeue that takes longer is `running`, and followed by its `errand`."""
    job = await _start(context, person, wanted)
    await context.jobs.wait(job, WAIT_SECONDS)
    if job.stopped:
        response.status_code = 409
    return Requeue.for_person(person, job)


@pages.post("/failures/requeue")
async def requeue_by_page(context: Console, person: Operator, wanted: PostedRequeue) -> Response:
    """Begin to requeue a group, and show how far it is."""
    job = await _start(context, person, wanted)
    return RedirectResponse(f"/failures?job={job.id}", 303)


@pages.post("/failures/groups/{group}/requeue")
async def requeue_chosen(context: Console, person: Operator, group: str, wanted: PostedChoice) -> Response:
    """Begin to requeue the chosen websites of a group, and show how far it is."""
    job = await _start(context, person, wanted.model_copy(update={"group": group}))
    return RedirectResponse(f"/failures?job={job.id}", 303)


async def _start(context: Context, person: Person, wanted: RequeueRequest) -> Job:
    """Begin to requeue. Raises NotFoundError: there is no such group; InvalidInputError: too many are under way."""
    ids = await wanted.ids(context, person)
    selection = wanted.model_dump(include=set(FailedWebsites.model_fields) - {"websites"}, exclude_none=True)
    if wanted.websites is not None:
        selection["chosen"] = len(wanted.websites)

    async def work(job: Job) -> None:
        await requeue_websites(
            context.store, context.broker, context.namespace, ids, actor=person.actor, reason=wanted.reason,
            rate=wanted.rate, canary_seconds=CANARY_SECONDS if wanted.canary else None,
            progress=job.report_progress, results=job.results, proof=person.proof, selection=selection,
        )  # fmt: skip

    about = selection | {"websites": len(ids), "canary": wanted.canary}
    return context.jobs.start(work, actor=person.actor, reason=wanted.reason, about=about)


@api.get("/failures/requeues/{job}", response_model=Requeue)
async def show_requeue(person: Reader, job: PathJob) -> Any:
    """Return how far a requeue is, and what came of it, until the console restarts."""
    return Requeue.for_person(person, job)


@api.post("/failures/requeues/{job}/stop", response_model=Requeue)
async def stop_requeue(context: Console, person: Operator, _: Confirmed, job: PathJob) -> Any:
    """Stop a requeue, and return how far it came; what is sent stays sent."""
    await _stop(context, person, job)
    return Requeue.for_person(person, job)


@pages.post("/failures/requeues/{job}/stop")
async def stop_requeue_by_page(context: Console, person: Operator, _: Confirmed, job: PathJob) -> Response:
    """Stop a requeue, and show how far it came."""
    await _stop(context, person, job)
    return RedirectResponse(f"/failures?job={job.id}", 303)


async def _stop(context: Context, person: Person, job: Job) -> None:
    """Stop a requeue that is under way."""
    trail = AuditTrail(context.store, person.actor, proof=person.proof)
    async with trail.action("stop-requeue", f"requeue {job.id} of {job.actor}") as action:
        await action.begin()
        action.outcome = f"{job.state} after {job.sent} were sent"
        await context.jobs.stop(job, f"stopped by {person.actor}")
