"""The statements by which websites are read, locked and written: `Queries` reads, `Transaction` does all three.

Values in and out; it decides nothing.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import orjson

from consumer.domain.existing_product_states import KNOWN, LOCKED_STATES
from consumer.domain.records import Attempt, Claim, Locked, LogRow, Move, StoredOwners, Website
from seeders.seeding import read_facts
from seeders.sql_loader import read_statements
from statemachine import REST_STATES, Facts, State, Trigger

if TYPE_CHECKING:
    from consumer.messages.inbound_contracts import WebsiteCreated

SQL = read_statements("consumer.store.sql")

LOGGED = ("website_id", "seq", "trigger", "from_state", "to_state", "message_id", "actor", "reason")
"""What a transition and its row in the log have in common, by the names of both, but for its detail."""
RESTING = sorted({*REST_STATES, *LOCKED_STATES})
"""The parameter of statements that ask whether a website rests; those name a website held at ready themselves."""


class Queries:
    """The service's reading statements, on a connection that is lent."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        """For statements of the caller's own."""

    async def known_users(self, ids: Iterable[int]) -> set[int]:
        """Return those of the users that exist."""
        return {record["id"] for record in await self.connection.fetch(SQL["known_users"], list(ids))}

    async def stored_owners(self, websites: Iterable[int], users: Iterable[int]) -> StoredOwners:
        """Return the active owners of websites, and the addresses of users who are named by id."""
        active: dict[int, list[tuple[int, str]]] = {}
        addresses: dict[int, str] = {}
        for record in await self.connection.fetch(SQL["stored_owners"], list(websites), list(users)):
            if record["website_id"] is None:
                addresses[record["user_id"]] = record["email"]
            else:
                active.setdefault(record["website_id"], []).append((record["user_id"], record["email"]))
        return StoredOwners(active, addresses)

    async def pruned_messages(self, asked: Mapping[int, UUID]) -> set[int]:
        """Return the websites whose message was carried out by a row that was pruned; `asked`: messages by website."""
        records = await self.connection.fetch(SQL["pruned_messages"], list(asked), list(asked.values()))
        return {record["website_id"] for record in records}

    async def users_of_others(self, users: Mapping[int, int]) -> set[int]:
        """Return the websites whose owner would be a user of another website; `users`: ids by website id."""
        records = await self.connection.fetch(SQL["users_of_others"], list(users), list(users.values()))
        return {record["website_id"] for record in records}

    async def known_websites(self, ids: Sequence[int]) -> set[int]:
        """Return those of the websites that exist, whoever has them locked."""
        return {record["id"] for record in await self.connection.fetch(SQL["known_websites"], ids)}

    async def facts(self, subdomains: Mapping[int, str | None]) -> dict[int, Facts]:
        """Count what websites have now, given their subdomains by id."""
        return await read_facts(self.connection, subdomains)

    async def unpublished(self, claims: Sequence[Claim]) -> dict[int, list[LogRow]]:
        """Return, by website, the log rows above `published_seq` in order, the last row always among them."""
        records = await self.connection.fetch(
            SQL["unpublished"],
            [claim.website_id for claim in claims],
            [claim.published_seq for claim in claims],
            [claim.seq for claim in claims],
        )
        rows: dict[int, list[LogRow]] = {}
        for record in records:
            rows.setdefault(record["website_id"], []).append(row_of(record))
        return rows

    async def under_way(self, ids: Iterable[int]) -> set[int]:
        """Return which of these websites still move by themselves."""
        return {record["id"] for record in await self.connection.fetch(SQL["under_way"], list(ids), RESTING)}


class Transaction(Queries):
    """Locks websites and writes what was judged, on a connection with an open transaction."""

    def __init__(self, connection: Any, optional: frozenset[str]) -> None:
        """Take the connection, and which optional statements of the seeders can be run on it."""
        super().__init__(connection)
        self.optional = optional

    async def register(self, signups: "Sequence[WebsiteCreated]") -> set[int]:
        """Insert websites that are not there yet; a row that is there stays as it is. Return the new ones."""
        records = await self.connection.fetch(
            SQL["register_websites"],
            [signup.website_id for signup in signups],
            [signup.subdomain for signup in signups],
            [signup.site_type for signup in signups],
            [signup.seed_pack for signup in signups],
            [_owner_email(signup) for signup in signups],
            [signup.skip_properties for signup in signups],
            [signup.auto_go_live for signup in signups],
            [_json_text(signup.request) for signup in signups],
        )
        return {record["id"] for record in records}

    async def lock(self, asked: Mapping[int, UUID], *, waiting: bool) -> tuple[dict[int, Locked], dict[int, str]]:
        """Lock websites, each for a message; without `waiting`, those that somebody else holds are left out.

        Returns:
            The websites by id; and by id the states of those that are in a state of the existing product's own.
        """
        locked: dict[int, Locked] = {}
        foreign: dict[int, str] = {}
        unclear: list[Website] = []
        statement = SQL["lock_waiting" if waiting else "lock_available"]
        for record in await self.connection.fetch(statement, list(asked), list(asked.values())):
            if record["provisioning_state"] not in KNOWN:
                foreign[record["id"]] = record["provisioning_state"]
                continue
            website = website_of(record)
            locked[website.id] = Locked(website, None, record["last_message_id"])
            # Carried out already, or moved by somebody between the statement's snapshot and its lock.
            if record["done_seq"] is not None or record["seen_seq"] != website.seq:
                unclear.append(website)
        return locked | await self._with_log(unclear, asked), foreign

    async def _with_log(self, websites: Sequence[Website], asked: Mapping[int, UUID]) -> dict[int, Locked]:
        """Return locked websites with what the log says of them now."""
        if not websites:
            return {}
        records = await self.connection.fetch(
            SQL["processed_messages"],
            [website.id for website in websites],
            [asked[website.id] for website in websites],
            [website.seq for website in websites],
        )
        rows = {record["website_id"]: row_of(record) for record in records if record["seq"] is not None}
        last = {record["website_id"]: record for record in records}
        return {
            website.id: Locked(
                replace(
                    website,
                    last_state=last[website.id]["last_to_state"],
                    last_actor=last[website.id]["last_actor"],
                ),
                rows.get(website.id),
                last[website.id]["last_message_id"],
            )
            for website in websites
        }

    async def fill(self, signups: "Sequence[WebsiteCreated]") -> None:
        """Fill the empty columns of websites' rows with what their signups bring."""
        await self.connection.execute(
            SQL["fill_websites"],
            [signup.website_id for signup in signups],
            [signup.subdomain for signup in signups],
            [signup.site_type for signup in signups],
            [signup.seed_pack for signup in signups],
            [_owner_email(signup) for signup in signups],
            [_json_text(signup.request) for signup in signups],
        )

    async def write(self, moves: Sequence[Move], stall_seconds: float) -> list[LogRow]:
        """Write states and log rows; return the rows in the order of `moves`.

        Raises:
            RuntimeError: a website had another seq than it was judged on, which its lock forbids.
        """
        records = await self.connection.fetch(
            SQL["write"],
            [move.website_id for move in moves],
            [move.seq for move in moves],
            [move.trigger.value for move in moves],
            [move.from_state.value for move in moves],
            [move.to_state.value for move in moves],
            [move.message_id for move in moves],
            [move.actor for move in moves],
            [move.reason for move in moves],
            [_json_text(move.detail) for move in moves],
            [move.error for move in moves],
            [move.published_seq for move in moves],
            [move.asked_live for move in moves],
            stall_seconds,
        )
        occurred = {record["website_id"]: record["occurred_at"] for record in records}
        if len(occurred) != len(moves):
            raise RuntimeError(f"{len(moves)} transitions were judged under lock, {len(occurred)} could be written")
        return [
            _log_row([getattr(move, name) for name in LOGGED], move.detail, occurred[move.website_id]) for move in moves
        ]

    async def write_attempts(self, attempts: Sequence[Attempt]) -> None:
        """Count attempts and set when the next one is due."""
        await self.connection.execute(
            SQL["write_attempts"],
            [attempt.website_id for attempt in attempts],
            [attempt.attempts for attempt in attempts],
            [attempt.error for attempt in attempts],
            [attempt.backoff_seconds for attempt in attempts],
            [attempt.asked_live for attempt in attempts],
            [attempt.published_seq for attempt in attempts],
        )


def website_of(record: Mapping[str, Any]) -> Website:
    """Return a website out of a row with the columns that the locking statements read."""
    failed_from = record["provisioning_failed_from"]
    return Website(
        id=record["id"],
        subdomain=record["subdomain"],
        site_type=record["site_type"],
        seed_pack_name=record["seed_pack_name"],
        owner_email=record["owner_email"],
        skip_properties=record["skip_properties"],
        auto_go_live=record["auto_go_live"],
        state=State(record["provisioning_state"]),
        failed_from=State(failed_from) if failed_from else None,
        seq=record["provisioning_seq"],
        attempts=record["provisioning_attempts"],
        request=json.loads(record["provisioning_request"] or "{}"),
        requested=record["provisioning_request"] is not None,
        created_at=_in_utc(record["created_at"]),
        has_due_time=record["provisioning_due_at"] is not None,
        last_state=record["last_to_state"],
        last_actor=record["last_actor"],
    )


def _in_utc(moment: datetime) -> datetime:
    """Return a time with its zone: the existing product's columns have none, and hold UTC."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def row_of(record: Mapping[str, Any]) -> LogRow:
    """Return a row of the transition log out of a record with all its columns, `detail` as text."""
    return _log_row([record[name] for name in LOGGED], json.loads(record["detail"]), record["occurred_at"])


def _log_row(columns: Sequence[Any], detail: Mapping[str, Any], occurred_at: datetime) -> LogRow:
    website_id, seq, trigger, from_state, to_state, message_id, actor, reason = columns
    following, failed = detail.get("next"), detail.get("step")
    return LogRow(
        website_id=website_id,
        seq=seq,
        trigger=trigger,
        from_state=from_state,
        to_state=to_state,
        message_id=message_id,
        actor=actor,
        reason=reason,
        detail=detail,
        occurred_at=occurred_at,
        next_trigger=Trigger(following) if following else None,
        failed_step=Trigger(failed) if failed else None,
    )


def claim_of(record: Mapping[str, Any]) -> Claim:
    """Return a claim out of a row that `claim.sql` returns."""
    return Claim(
        website_id=record["id"],
        state=record["provisioning_state"],
        seq=record["provisioning_seq"],
        published_seq=record["provisioning_published_seq"],
        attempts=record["provisioning_attempts"],
        skip_properties=record["skip_properties"],
        auto_go_live=record["auto_go_live"],
    )


def _json_text(value: Mapping[str, Any] | None) -> str | None:
    """Return a value as compact JSON, the form in which jsonb parameters are sent; None stays None."""
    return None if value is None else orjson.dumps(value).decode()


def _owner_email(signup: "WebsiteCreated") -> str | None:
    """Return the address of an owner who is named by it; None for one who is named by the id of a user."""
    return getattr(signup.owner, "email", None)
