"""A burst: a thousand signups at once on an idle system, and in the middle of it ops retry one failed website."""

import time
from dataclasses import dataclass

from bench.arena import Contestant, Run, Servers, checkpoint, running
from bench.exactness import check
from ops import publishing
from statemachine import Trigger

RETRY_AFTER = 0.25
"""The share of the burst that is live when ops retry."""


@dataclass(frozen=True, slots=True)
class Burst:
    """One run, in seconds since the first signup was published.

    `retried` is how long the website took that ops retried, `overtaken` the share of the burst that was not live yet
    when it was. Both are None where there is no retry.
    """

    contestant: str
    first: float
    mean: float
    last: float
    retried: float | None
    overtaken: float | None


async def burst(servers: Servers, contestant: Contestant, websites: int, *, retry: bool) -> Burst:
    """Publish signups as fast as the broker takes them, and see when each website is live."""
    async with running(servers, contestant) as run:
        failed = await _failed_website(run) if retry else None
        warm = await run.live()
        signups = run.signups(websites)
        await checkpoint(servers)
        began = time.time()
        await publishing.publish_all(run.signup_system, list(signups.values()))
        asked = 0.0
        if failed:
            await run.until_live(warm + int(websites * RETRY_AFTER))
            asked = time.time()
            await _command(run, failed, Trigger.RETRY_PROVISIONING, seq=1)
        await run.until_live(run.signed_up)
        live = await run.live_since()
        await run.stop()
        if not failed:
            await check(run)
    took = [live[website_id] - began for website_id in signups]
    overtaken = sum(live[website_id] > live[failed] for website_id in signups) / websites if failed else None
    mean = sum(took) / websites
    return Burst(
        contestant.name, min(took), mean, max(took), live[failed] - asked if failed else None, overtaken
    )  # fmt: skip


async def _failed_website(run: Run) -> int:
    """Make one website that ops have failed: its row and its owner are there, so that a retry takes it all the way."""
    (website_id,) = run.next_ids(1)
    await run.connection.execute(
        "INSERT INTO pwb_websites (id, subdomain, site_type, created_at, updated_at) "
        "VALUES ($1, 'once-failed', 'residential', now(), now())",
        website_id,
    )
    await run.connection.execute(
        "WITH owner AS (INSERT INTO pwb_users (email, created_at, updated_at) "
        "VALUES ('owner@example.com', now(), now()) RETURNING id) "
        "INSERT INTO pwb_user_memberships (user_id, website_id, role, created_at, updated_at) "
        "SELECT id, $1, 'owner', now(), now() FROM owner",
        website_id,
    )
    await _command(run, website_id, Trigger.FAIL_PROVISIONING, seq=0)
    await run.until("SELECT count(*) FROM pwb_websites WHERE provisioning_state = 'failed'", 1)
    return website_id


async def _command(run: Run, website_id: int, trigger: Trigger, *, seq: int) -> None:
    message = publishing.operator_command(run.topology, trigger, website_id, seq, actor="bench", reason="to measure it")
    await publishing.publish_all(run.signup_system, [run.in_line(message)])
