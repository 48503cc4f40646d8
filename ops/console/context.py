"""What the requests of one console process share: its settings and connections."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from consumer.broker.protocol import Broker
from consumer.config import Settings
from consumer.store.database import Store
from ops.console.access.auth import Authenticator
from ops.console.access.concurrency_limits import Quotas
from ops.console.access.dead_letter_read_limit import ReaderTurns
from ops.console.access.follow_tokens import FollowTokens
from ops.console.access.settings import ConsoleSettings
from ops.console.broadcaster import Broadcaster
from ops.console.jobs import Jobs
from ops.console.overview_feed import OverviewFeed
from ops.doctor.run import SharedReport
from seeders.loading.pack_library import PackLibrary


@dataclass(frozen=True, slots=True)
class Context:
    """What the requests of one console process share."""

    settings: Settings
    console: ConsoleSettings
    store: Store
    broker: Broker
    authenticator: Authenticator
    follow_tokens: FollowTokens
    broadcaster: Broadcaster
    doctor: SharedReport
    overview: OverviewFeed
    packs: PackLibrary
    jobs: Jobs
    quotas: Quotas
    reader_turns: ReaderTurns

    @property
    def namespace(self) -> str:
        """The prefix of the broker's queues."""
        return self.settings.namespace


async def context_of(request: Request) -> Context:
    """Return the context of the process that answers a request. A dependency of routes."""
    context: Context = request.app.state.context
    return context


Console = Annotated[Context, Depends(context_of)]
