"""What a worker costs that has nothing to do: its CPU, and how often it asks the database anything."""

import asyncio
import re
import time
from dataclasses import dataclass

from bench.arena import Contestant, Servers, administer, running

STATEMENT = re.compile(r"LOG:  (?:execute|statement)")


@dataclass(frozen=True, slots=True)
class Idle:
    """The share of one core in percent, and statements a second."""

    contestant: str
    worker_percent: float
    postgres_percent: float
    rabbitmq_percent: float
    statements: float


async def idle(servers: Servers, contestant: Contestant, *, seconds: float) -> Idle:
    """Leave a warm worker alone. PostgreSQL's own log counts its statements, so they are all there."""
    async with running(servers, contestant) as run:
        log = servers.postgres.log
        cpu, began = run.cpu(), time.monotonic()
        await asyncio.sleep(seconds)
        used, lasted = run.cpu() - cpu, time.monotonic() - began
        await administer(servers, "ALTER SYSTEM SET log_statement = 'all'")
        try:
            await administer(servers, "SELECT pg_reload_conf()")
            await asyncio.sleep(1)
            start, counted_from = log.stat().st_size, time.monotonic()
            await asyncio.sleep(seconds)
            with log.open("rb") as lines:
                lines.seek(start)
                said = lines.read().decode(errors="replace")
            statements = len(STATEMENT.findall(said)) / (time.monotonic() - counted_from)
        finally:
            await administer(servers, "ALTER SYSTEM RESET log_statement")
            await administer(servers, "SELECT pg_reload_conf()")
    share = 100 / lasted
    return Idle(contestant.name, used.workers * share, used.postgres * share, used.rabbitmq * share, statements)
