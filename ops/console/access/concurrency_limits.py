"""Limits of concurrency (quotas): how many requests and event streams may be under way at once: in all, of one person
or token, on one website.

A place is reserved before anything is awaited, and is free again when the answer has ended. Whoever is not known yet
needs none: they are answered without a query, and the limit on connections holds for them.
"""

from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from fastapi import Request

from ops.console.access.auth import Person
from ops.console.access.tokens import Role

MAX_REQUESTS = 200
"""Requests under way in a process. They share four connections to the database, so that more would only wait."""
REQUESTS_FOR_OPERATORS = 20
OPERATORS_SHARE = 10
"""One of so many event streams is kept for operators, who must see what happens when everybody looks."""
MAX_STREAMS_OF_A_WEBSITE = 20
"""Streams that follow one website: many may have its token."""
CUSTOMER = "customer"
OWN_REQUESTS = {Role.OPERATOR: 40, Role.READER: 20, Role.SIGNUP: 100, CUSTOMER: 5}
OWN_STREAMS = {Role.OPERATOR: 40, Role.READER: 20, Role.SIGNUP: 10_000, CUSTOMER: 5}
"""Of one person, or one customer's token. The signup system may follow as many websites as there are streams."""


class OwnQuotaError(Exception):
    """A person or token has as much under way as one may have."""


class QuotaError(Exception):
    """As much is under way as may be."""


@dataclass(frozen=True, slots=True)
class Holder:
    """For whom a place is reserved."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Limit:
    """How many places of one kind there are; `error` is raised beyond."""

    key: Hashable
    most: int
    error: Exception


class Quotas:
    """What is under way in one console process."""

    def __init__(self, max_streams: int) -> None:
        """Have room for `max_streams` event streams."""
        self._max_streams = max_streams
        self._streams_for_operators = max(1, max_streams // OPERATORS_SHARE)
        self._reserved: Counter[Hashable] = Counter()

    def streams(self) -> int:
        """Return how many event streams are open or about to open."""
        return self._reserved["streams"]

    def reserve_request(self, request: Request, holder: Holder) -> None:
        """Reserve a place for a request until its answer has ended. Raises OwnQuotaError, QuotaError."""
        limits = self._limits("requests", holder, OWN_REQUESTS[holder.kind], MAX_REQUESTS, REQUESTS_FOR_OPERATORS)
        _place(request).enter_context(self._reserve(limits))
        request.state.holder = holder

    def reserve_stream(self, request: Request, website_id: int | None = None) -> None:
        """Exchange a request's place for that of an event stream. Raises OwnQuotaError, QuotaError."""
        holder: Holder = request.state.holder
        limits = self._limits(
            "streams", holder, OWN_STREAMS[holder.kind], self._max_streams, self._streams_for_operators
        )
        if website_id is not None:
            error = QuotaError(f"{MAX_STREAMS_OF_A_WEBSITE} event streams follow website {website_id}; try again later")
            limits.append(Limit(("website", website_id), MAX_STREAMS_OF_A_WEBSITE, error))
        place = _place(request)
        place.close()
        place.enter_context(self._reserve(limits))

    def _limits(self, kind: str, holder: Holder, own: int, most: int, for_operators: int) -> list[Limit]:
        what = "event streams" if kind == "streams" else kind
        mine = OwnQuotaError(f"{own} {what} of yours are under way, as many as may be; end one, or try again later")
        full = QuotaError(f"{most} {what} are under way, as many as may be; try again later")
        limits = [Limit((kind, holder), own, mine), Limit(kind, most, full)]
        if holder.kind != Role.OPERATOR:
            limits.append(Limit((kind, "of others"), most - for_operators, full))
        return limits

    @contextmanager
    def _reserve(self, limits: list[Limit]) -> Iterator[None]:
        for limit in limits:
            if self._reserved[limit.key] >= limit.most:
                raise limit.error
        keys = [limit.key for limit in limits]
        self._reserved.update(keys)
        try:
            yield
        finally:
            self._reserved.subtract(keys)
            # Else every token that ever came would stay.
            for key in keys:
                if not self._reserved[key]:
                    del self._reserved[key]


def holder_of(person: Person) -> Holder:
    """Return for whom a person's requests are counted."""
    return Holder(person.role, person.actor)


def _place(request: Request) -> ExitStack:
    """Return what a request has reserved; the middleware frees it."""
    place: ExitStack = request.state.place
    return place
