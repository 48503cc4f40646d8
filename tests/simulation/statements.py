"""What each `.sql` file does, told to the database in memory: one function a file, named after it.

The contract suite (`test_store_contract.py`) runs the same calls against PostgreSQL; a statement that is not here fails
the simulation with its first line.
"""

import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg

from consumer.provisioning.rejected_signup_rows import SQL as REJECTIONS_SQL
from consumer.store.provisioning_statements import SQL as STORE_SQL
from consumer.store.sequences import SQL as SEQUENCES_SQL
from ops.audit.trail import SQL as AUDIT_SQL
from ops.websites.queries import SQL as WEBSITES_SQL
from seeders.seeding import STATEMENTS as SEEDERS_SQL
from tests.simulation.database import LogRow, Transaction, new_website

Statement = Callable[..., Awaitable[list[LogRow]]]


def _seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def _json(text: str | None) -> Any:
    return json.loads(text) if text else {}


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


async def _unique(unit: Transaction, index: str, value: Any) -> None:
    """Wait for whoever is inserting the same key."""
    if value is not None:
        await unit.lock((index, value))


def _subdomain_taken(unit: Transaction, website_id: int, subdomain: str | None) -> bool:
    return subdomain is not None and any(
        row["subdomain"] == subdomain for key, row in unit.rows("websites") if key != website_id
    )


def _violation(table: str, constraint: str) -> asyncpg.UniqueViolationError:
    error = asyncpg.UniqueViolationError(f'duplicate key value violates unique constraint "{constraint}"')
    error.table_name, error.constraint_name = table, constraint
    return error


# ------------------------------------------------------------------------------------------------------- websites


async def register_websites(
    unit: Transaction,
    ids: Sequence[int],
    subdomains: Sequence[str | None],
    site_types: Sequence[str | None],
    packs: Sequence[str | None],
    emails: Sequence[str | None],
    skips: Sequence[bool],
    autos: Sequence[bool],
    requests: Sequence[str],
) -> list[LogRow]:
    signups = zip(ids, subdomains, site_types, packs, emails, skips, autos, requests, strict=True)
    new = []
    for website_id, subdomain, site_type, pack, email, skip, auto, request in sorted(signups):
        if unit.get("websites", website_id) or _subdomain_taken(unit, website_id, subdomain):
            continue
        await unit.lock(("website id", website_id))
        await _unique(unit, "subdomain", subdomain)
        if unit.get("websites", website_id) or _subdomain_taken(unit, website_id, subdomain):
            continue
        last = max((seq for key, seq in _log_keys(unit) if key == website_id), default=0)
        row = new_website(
            unit.began,
            website_id,
            subdomain=subdomain,
            site_type=site_type,
            seed_pack_name=pack,
            owner_email=email,
            provisioning_skip_properties=skip,
            provisioning_auto_go_live=auto,
            provisioning_request=request,
            provisioning_seq=last,
            provisioning_published_seq=last,
        )
        unit.put("websites", website_id, row)
        await unit.lock(("row", website_id))
        new.append({"id": website_id})
    return new


def _log_keys(unit: Transaction) -> list[tuple[int, int]]:
    return [key for key, _ in unit.rows("log")]


def _locked(row: LogRow) -> LogRow:
    return row | {name: row[f"provisioning_{name}"] for name in ("skip_properties", "auto_go_live")}


def _last(row: LogRow | None) -> LogRow:
    """Return what statements say of a website's last log row."""
    return {f"last_{name}": row[name] if row else None for name in ("message_id", "to_state", "actor")}


def _locking(*, skip: bool, lock: bool = True) -> Statement:
    """Return a locking statement: the log is seen as it is when it begins, a website as it is once it is locked."""

    async def locking(unit: Transaction, ids: Sequence[int], message_ids: Sequence[UUID]) -> list[LogRow]:
        snapshot = [
            (website_id, row["provisioning_seq"], unit.get("log by message", (website_id, message_id)))
            for website_id, message_id in sorted(zip(ids, message_ids, strict=True))
            if (row := unit.get("websites", website_id))
        ]
        await unit.moment()
        found = []
        for website_id, seen_seq, done in snapshot:
            if lock and not await unit.lock(("row", website_id), skip=skip):
                continue
            row = unit.get("websites", website_id)
            last = unit.get("log", (website_id, seen_seq)) if seen_seq == row["provisioning_seq"] else None
            found.append(
                {
                    **_locked(row),
                    "done_seq": done["seq"] if done else None,
                    "seen_seq": last["seq"] if last else 0,
                    **_last(last),
                }
            )
        return found

    return locking


lock_available = _locking(skip=True)
lock_waiting = _locking(skip=False)
unlocked = _locking(skip=False, lock=False)
"""What a design without row locks would do."""


async def known_websites(unit: Transaction, ids: Sequence[int]) -> list[LogRow]:
    return [{"id": website_id} for website_id in ids if unit.get("websites", website_id)]


async def known_users(unit: Transaction, ids: Sequence[int]) -> list[LogRow]:
    return [{"id": row["id"]} for _, row in unit.rows("users") if row["id"] in ids]


async def stored_owners(unit: Transaction, websites: Sequence[int], users: Sequence[int]) -> list[LogRow]:
    by_id = {row["id"]: row["email"] for _, row in unit.rows("users")}
    active = [
        {"website_id": website_id, "user_id": user_id, "email": by_id[user_id]}
        for website_id in websites
        for user_id, membership in (unit.get("memberships", website_id) or {}).items()
        if membership == ("owner", True)
    ]
    return [*active, *({"website_id": None, "user_id": each, "email": by_id[each]} for each in users if each in by_id)]


async def pruned_messages(unit: Transaction, ids: Sequence[int], message_ids: Sequence[UUID]) -> list[LogRow]:
    kept = (unit.get("pruned", each) or () for each in ids)
    return [
        {"website_id": each} for each, message_id, ids_kept in zip(ids, message_ids, kept, strict=True)
        if message_id in ids_kept
    ]  # fmt: skip


async def users_of_others(unit: Transaction, websites: Sequence[int], users: Sequence[int]) -> list[LogRow]:
    return []  # users have no website here


async def processed_messages(
    unit: Transaction, ids: Sequence[int], message_ids: Sequence[Any], seqs: Sequence[int]
) -> list[LogRow]:
    found = []
    blank = dict.fromkeys(
        ("seq", "trigger", "from_state", "to_state", "message_id", "actor", "reason", "detail", "occurred_at")
    )
    for website_id, message_id, seq in zip(ids, message_ids, seqs, strict=True):
        done = unit.get("log by message", (website_id, message_id))
        last = unit.get("log", (website_id, seq))
        found.append(
            {
                **blank,
                **(done or {}),
                "website_id": website_id,
                **_last(last),
            }
        )
    return found


async def fill_websites(
    unit: Transaction,
    ids: Sequence[int],
    subdomains: Sequence[str | None],
    site_types: Sequence[str | None],
    packs: Sequence[str | None],
    emails: Sequence[str | None],
    requests: Sequence[str],
) -> list[LogRow]:
    said = zip(ids, subdomains, site_types, packs, emails, requests, strict=True)
    for website_id, subdomain, site_type, pack, email, request in said:
        if not unit.get("websites", website_id):
            continue
        await unit.lock(("row", website_id))
        row = unit.get("websites", website_id)
        if row["subdomain"] is None and subdomain is not None:
            await _unique(unit, "subdomain", subdomain)
            if _subdomain_taken(unit, website_id, subdomain):
                raise _violation("pwb_websites", "index_pwb_websites_on_lower_subdomain")
        unit.update(
            website_id,
            subdomain=row["subdomain"] if row["subdomain"] is not None else subdomain,
            site_type=row["site_type"] if row["site_type"] is not None else site_type,
            seed_pack_name=row["seed_pack_name"] if row["seed_pack_name"] is not None else pack,
            owner_email=row["owner_email"] if row["owner_email"] is not None else email,
            provisioning_request=_text({**_json(request), **_json(row["provisioning_request"])}),
        )
    return []


async def facts(unit: Transaction, ids: Sequence[int]) -> list[LogRow]:
    return [
        {
            "id": website_id,
            "owners": sum(
                role == "owner" and active for role, active in (unit.get("memberships", website_id) or {}).values()
            ),
            **{
                name: len(unit.get(table, website_id) or ())
                for name, table in (
                    ("agencies", "agencies"),
                    ("links", "links"),
                    ("field_keys", "field_keys"),
                    ("properties", "assets"),
                )
            },
        }
        for website_id in ids
    ]


async def write(unit: Transaction, *columns: Any) -> list[LogRow]:
    *moves, stall = columns
    written = []
    occurred_at = unit.statement_time()
    for move in zip(*moves, strict=True):
        website_id, seq, trigger, from_state, to_state, message_id, actor, reason = move[:8]
        detail, error, published_seq, asked_live = move[8:]
        if not unit.get("websites", website_id):
            continue
        await unit.lock(("row", website_id))
        row = unit.get("websites", website_id)
        if row["provisioning_seq"] != seq - 1:
            unit.surprise(f"website {website_id} was judged at seq {seq - 1} and is at {row['provisioning_seq']}")
            continue
        failed = to_state == "failed"
        unit.update(
            website_id,
            provisioning_state=to_state,
            provisioning_seq=seq,
            provisioning_attempts=0,
            provisioning_attempt_error=None,
            provisioning_due_at=unit.began + _seconds(stall),
            provisioning_published_seq=row["provisioning_published_seq"]
            + (row["provisioning_published_seq"] == published_seq - 1),
            provisioning_started_at=(
                row["provisioning_started_at"] or unit.began
                if trigger == "assign_owner"
                else row["provisioning_started_at"]
            ),
            provisioning_completed_at=unit.began if trigger == "mark_ready" else row["provisioning_completed_at"],
            provisioning_failed_at=unit.began if failed else None,
            provisioning_error=error,
            provisioning_failed_from=from_state if failed else None,
            provisioning_auto_go_live=row["provisioning_auto_go_live"] or asked_live,
        )
        await unit.lock(("log", website_id, seq))
        await unit.lock(("log by message", website_id, message_id))
        if unit.get("log", (website_id, seq)):
            raise _violation("provisioning_transitions", "provisioning_transitions_pkey")
        if unit.get("log by message", (website_id, message_id)):
            raise _violation("provisioning_transitions", "provisioning_transitions_message_once")
        logged = {
            "website_id": website_id,
            "seq": seq,
            "trigger": trigger,
            "from_state": from_state,
            "to_state": to_state,
            "message_id": message_id,
            "actor": actor,
            "reason": reason,
            "detail": detail,
            "occurred_at": occurred_at,
        }
        unit.put("log", (website_id, seq), logged)
        unit.put("log by message", (website_id, message_id), logged)
        written.append({"website_id": website_id, "occurred_at": occurred_at})
    return written


async def write_attempts(
    unit: Transaction,
    ids: Sequence[int],
    attempts: Sequence[int],
    errors: Sequence[str],
    backoffs: Sequence[float],
    asked: Sequence[bool],
    published: Sequence[int],
) -> list[LogRow]:
    tries = zip(ids, attempts, errors, backoffs, asked, published, strict=True)
    for website_id, count, error, backoff, live, published_seq in tries:
        if unit.get("websites", website_id):
            await unit.lock(("row", website_id))
            row = unit.get("websites", website_id)
            unit.update(
                website_id,
                provisioning_attempts=count,
                provisioning_attempt_error=error,
                provisioning_due_at=unit.began + _seconds(backoff),
                provisioning_published_seq=row["provisioning_published_seq"]
                + (row["provisioning_published_seq"] == published_seq - 1),
                provisioning_auto_go_live=row["provisioning_auto_go_live"] or live,
            )
    return []


async def claim(unit: Transaction, limit: int, stall: float) -> list[LogRow]:
    now = unit.began
    due = sorted(
        (row["provisioning_due_at"], website_id)
        for website_id, row in unit.rows("websites")
        if row["provisioning_due_at"] is not None and row["provisioning_due_at"] <= now
    )
    claimed = []
    for _, website_id in due:
        if len(claimed) == limit:
            break
        if not await unit.lock(("row", website_id), skip=True):
            continue
        row = unit.get("websites", website_id)
        wait = _seconds(stall)
        if row["provisioning_attempts"] == 0:
            last = unit.get("log", (website_id, row["provisioning_seq"]))
            since = last["occurred_at"] if last else row["created_at"]
            wait = max(wait, min(timedelta(hours=1), now - since))
        unit.update(website_id, provisioning_due_at=now + wait)
        claimed.append(_locked(row))
    return claimed


async def unpublished(
    unit: Transaction, ids: Sequence[int], published: Sequence[int], seqs: Sequence[int]
) -> list[LogRow]:
    return [
        row
        for website_id, out, seq in sorted(zip(ids, published, seqs, strict=True))
        for number in range(min(out + 1, seq), seq + 1)
        if (row := unit.get("log", (website_id, number)))
    ]


async def mark_published(
    unit: Transaction, ids: Sequence[int], seqs: Sequence[int], answered: Sequence[int], resting: Sequence[str]
) -> list[LogRow]:
    def rests(row: LogRow | None, seq: int, out: int) -> bool:
        return (
            row is not None
            and row["provisioning_seq"] == seq
            and row["provisioning_published_seq"] >= out
            and row["provisioning_attempts"] == 0
            and (
                row["provisioning_state"] in resting
                or (row["provisioning_state"] == "ready" and not row["provisioning_auto_go_live"])
            )
        )

    for website_id, seq, out in zip(ids, seqs, answered, strict=True):
        if rests(unit.get("websites", website_id), seq, out):
            await unit.lock(("row", website_id))
            if rests(unit.get("websites", website_id), seq, out):
                unit.update(website_id, provisioning_due_at=None, provisioning_published_seq=seq)
    return []


async def due_soon(unit: Transaction, ids: Sequence[int], seqs: Sequence[int], seconds: float) -> list[LogRow]:
    def waits(row: LogRow | None, seq: int) -> bool:
        return row is not None and row["provisioning_seq"] == seq and row["provisioning_due_at"] is not None

    for website_id, seq in zip(ids, seqs, strict=True):
        if waits(unit.get("websites", website_id), seq):
            await unit.lock(("row", website_id))
            if waits(unit.get("websites", website_id), seq):
                unit.update(website_id, provisioning_due_at=unit.began + _seconds(seconds))
    return []


async def under_way(unit: Transaction, ids: Sequence[int], resting: Sequence[str]) -> list[LogRow]:
    return [
        {"id": website_id}
        for website_id in ids
        if (row := unit.get("websites", website_id))
        and row["provisioning_attempts"] == 0
        and row["provisioning_state"] not in resting
        and not (row["provisioning_state"] == "ready" and not row["provisioning_auto_go_live"])
    ]


async def report_worker(
    unit: Transaction, worker_id: UUID, host: str, pid: int, version: str, up: float, in_flight: int, paused: bool,
    since_delivery: float | None, gone: float,
) -> list[LogRow]:  # fmt: skip
    """Rows of the dead stay here: nobody but people reads them."""
    there = unit.get("workers", str(worker_id)) or {"since": unit.began - _seconds(up)}
    last = None if since_delivery is None else unit.began - _seconds(since_delivery)
    told = {"id": worker_id, "host": host, "pid": pid, "version": version, "in_flight": in_flight, "paused": paused}
    row = {**there, **told, "seen_at": unit.began, "last_delivery_at": last, "here": True}
    unit.put("workers", str(worker_id), row)
    pauses = [row for key, row in unit.rows("pauses") if key in ("all", str(worker_id))]
    return sorted(pauses, key=lambda row: row["worker"] != "all")[:1]


async def forget_worker(unit: Transaction, worker_id: UUID) -> list[LogRow]:
    if there := unit.get("workers", str(worker_id)):
        unit.put("workers", str(worker_id), {**there, "here": False})
    return []


async def probe(unit: Transaction) -> list[LogRow]:
    return [{"pg_current_xact_id": 1}]


# -------------------------------------------------------------------------------------------------------- seeders


async def insert_users(
    unit: Transaction, ids: Sequence[int], emails: Sequence[str | None], names: Sequence[str | None]
) -> list[LogRow]:
    wanted: dict[str, int] = {}
    for website_id, email, _ in sorted(zip(ids, emails, names, strict=True)):
        row = unit.get("websites", website_id)
        if row is None or row["provisioning_state"] != "pending":
            continue
        owner = _json(row["provisioning_request"]).get("owner") or {}
        if owner.get("user_id") is None and (address := owner.get("email") or email):
            wanted.setdefault(address, website_id)
    inserted: list[LogRow] = []
    for address in sorted(wanted):
        if not unit.get("users", address):
            await unit.lock(("user", address))
            if not unit.get("users", address):
                unit.put("users", address, {"id": unit.next_user_id(), "email": address})
                inserted.append({"website_id": wanted[address]})
    return inserted


async def insert_owner_memberships(
    unit: Transaction, ids: Sequence[int], emails: Sequence[str | None], user_ids: Sequence[int | None]
) -> list[LogRow]:
    by_id = {row["id"]: row for _, row in unit.rows("users")}
    for website_id, email, named in sorted(zip(ids, emails, user_ids, strict=True), key=lambda asked: asked[0]):
        user = by_id.get(named) if named is not None else unit.get("users", email)
        if user:
            there = unit.get("memberships", website_id) or {}
            unit.put("memberships", website_id, {**there, user["id"]: ("owner", True)})
    return []


async def insert_agencies(unit: Transaction, ids: Sequence[int], *_: Any) -> list[LogRow]:
    return [{"website_id": website_id} for website_id in sorted(ids) if unit.add("agencies", website_id, ["agency"])]


def _insert(table: str) -> Statement:
    async def insert(
        unit: Transaction, ids: Sequence[int], of: Sequence[int], packs: Sequence[int], keys: Sequence[str], *_: Any
    ) -> list[LogRow]:
        for website_id, number in zip(ids, of, strict=True):
            unit.add(table, website_id, [key for key, pack in zip(keys, packs, strict=True) if pack == number])
        return []

    return insert


def _insert_listings(table: str) -> Statement:
    async def insert(
        unit: Transaction, ids: Sequence[int], of: Sequence[int], packs: Sequence[int], keys: Sequence[str], *_: Any
    ) -> list[LogRow]:
        for website_id, number in zip(ids, of, strict=True):
            assets = unit.get("assets", website_id) or ()
            told = [key for key, pack in zip(keys, packs, strict=True) if pack == number and key in assets]
            unit.add(table, website_id, told)
        return []

    return insert


async def no_sequences(_unit: Transaction, *_: Any) -> list[LogRow]:
    """Here every id comes with its row: there is no sequence that could fall behind."""
    return []


# ------------------------------------------------------------------------------------------------------------ ops


async def statuses(unit: Transaction, ids: Sequence[int]) -> list[LogRow]:
    return [
        {
            **_locked(row),
            "requested": row["provisioning_request"] is not None,
            "erased_at": None,
            "last_state": _last(unit.get("log", (website_id, row["provisioning_seq"])))["last_to_state"],
        }
        for website_id in sorted(set(ids))
        if (row := unit.get("websites", website_id))
    ]


async def asleep(unit: Transaction, states: Sequence[str], limit: int) -> list[LogRow]:
    found = [
        website_id
        for website_id, row in unit.rows("websites")
        if row["provisioning_due_at"] is None
        and row["provisioning_state"] in states
        and not (row["provisioning_state"] == "ready" and not row["provisioning_auto_go_live"])
    ]
    return [{"id": website_id} for website_id in sorted(found)[:limit]]


async def record_action(unit: Transaction, *_: Any) -> list[LogRow]:
    """Nobody reads the audit trail here."""
    return [{"id": 1}]


async def record_items(unit: Transaction, *_: Any) -> list[LogRow]:
    return []


async def settle_items(unit: Transaction, *_: Any) -> list[LogRow]:
    return []


async def settle_action(unit: Transaction, *_: Any) -> list[LogRow]:
    return []


async def record_rejections(
    unit: Transaction, message_ids: Sequence[Any], website_ids: Sequence[int], codes: Sequence[str]
) -> list[LogRow]:
    """Keep when each signup was first rejected."""
    for message_id in message_ids:
        if unit.get("rejections", message_id) is None:
            unit.put("rejections", message_id, unit.began)
    return [{"message_id": each, "rejected_at": unit.get("rejections", each)} for each in set(message_ids)]


STORE: dict[str, Statement] = {
    "lock_available": lock_available,
    "lock_waiting": lock_waiting,
    **{
        function.__name__: function
        for function in (
            register_websites, known_websites, known_users, stored_owners, users_of_others, pruned_messages,
            processed_messages, fill_websites, write, write_attempts, claim, unpublished, mark_published,
            due_soon, under_way, probe, report_worker, forget_worker,
        )
    },
}  # fmt: skip
SEEDERS: dict[str, Statement] = {
    "insert_users": insert_users,
    "insert_owner_memberships": insert_owner_memberships,
    "facts": facts,
    "insert_agencies": insert_agencies,
    "insert_links": _insert("links"),
    "insert_field_keys": _insert("field_keys"),
    "insert_assets": _insert("assets"),
    "insert_sale_listings": _insert_listings("sales"),
    "insert_rental_listings": _insert_listings("rentals"),
}
BY_TEXT: dict[str, tuple[str, Statement]] = {
    **{text: (name, no_sequences) for name, text in SEQUENCES_SQL.items() if name in ("sequences", "advance_ids")},
    REJECTIONS_SQL["record_rejections"]: ("record_rejections", record_rejections),
    **{STORE_SQL[name]: (name, statement) for name, statement in STORE.items()},
    **{SEEDERS_SQL[name]: (name, statement) for name, statement in SEEDERS.items()},
    **{WEBSITES_SQL[each.__name__]: (each.__name__, each) for each in (statuses, asleep)},
    **{
        AUDIT_SQL[each.__name__]: (each.__name__, each)
        for each in (record_action, record_items, settle_items, settle_action)
    },
}
"""Every statement of the service by its text. A new `.sql` file needs its function here, and a test says so."""
