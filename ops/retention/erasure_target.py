"""Finds whose data is to be erased: websites by id, subdomain or their owner's address, and that owner's addresses.

Reads only.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from consumer.broker.protocol import Delivery
from consumer.messages.inbound_contracts import MAX_ID
from consumer.store.database import Store
from ops.dead_letters.queue_reader import summarize
from ops.errors import InvalidInputError, NotFoundError
from seeders.canonical_email import canonical_email, comparable, other_spellings
from seeders.sql_loader import read_statements

SQL = read_statements("ops.retention.sql")

FIND_SECONDS = 60.0
"""To find the websites of an address: no index has that."""
JSON_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")


@dataclass(frozen=True, slots=True)
class ErasureTarget:
    """Whose data is to be erased: that of the owners of these websites, who have these addresses, in any spelling."""

    website_ids: tuple[int, ...]
    addresses: tuple[str, ...]

    def is_about(self, delivery: Delivery) -> bool:
        """Return whether a dead letter is about one of the websites, or has one of the addresses anywhere in it."""
        if summarize(delivery)["website_id"] in self.website_ids:
            return True
        if not self.addresses:
            return False
        headers = " ".join(map(str, (delivery.message_id, delivery.type, delivery.headers, delivery.properties)))
        body = delivery.body.decode(errors="replace")
        text = "\n".join((body, _unescaped(body), headers)).lower()
        return any(_standing_alone(address).search(text) for address in self.addresses)


async def find_target(store: Store, name: str) -> ErasureTarget:
    """Return whose data is meant by a website's id or subdomain, or by an owner's e-mail address.

    An address may have no website: it may stand in dead letters alone. An id may have no website any more, but a log.

    Raises:
        NotFoundError: there is no such website, and no history under that id.
        InvalidInputError: the address is none.
    """
    if "@" not in name:
        return await target_of(store, [await _website_id(store, name)])
    try:
        address = canonical_email(name)
    except ValueError as wrong:
        raise InvalidInputError(f"EMAIL: {wrong}") from None
    spellings = _spellings([address, name])
    records = await store.read_within(SQL["websites_of_owner"], spellings, seconds=FIND_SECONDS)
    if records is None:
        raise InvalidInputError(f"EMAIL: its websites were not found within {FIND_SECONDS:.0f} s: name them by id")
    return await target_of(store, [record["id"] for record in records], spellings)


async def target_of(store: Store, ids: Sequence[int], addresses: Iterable[str] = ()) -> ErasureTarget:
    """Return websites by id, with the addresses of their owners and more of them."""
    async with store.connection() as connection:
        records = await connection.fetch(SQL["owner_addresses"], list(ids))
    found = _spellings([*addresses, *(record["address"] for record in records)])
    return ErasureTarget(tuple(ids), tuple(found))


async def _website_id(store: Store, name: str) -> int:
    text = name.strip().lower()
    number = int(text) if text.isascii() and text.isdecimal() and len(text) <= len(str(MAX_ID)) else 0
    async with store.connection() as connection:
        found: int | None = await connection.fetchval(SQL["website_by_name"], text, number if number <= MAX_ID else 0)
    if found is None:
        raise NotFoundError(f"there is no website with the id or subdomain {name!r}, and no history under such an id")
    return found


def _spellings(addresses: Iterable[str]) -> list[str]:
    """Return addresses in lower case, in each form in which somebody may have stored them."""
    found: set[str] = set()
    for each in addresses:
        address = comparable(each)
        found |= {address, each.strip().lower()}
        try:
            found |= {other.lower() for other in other_spellings(canonical_email(address))}
        except ValueError:
            continue  # what the product holds for an address has the one spelling that it has
    return sorted(found)


def _unescaped(text: str) -> str:
    r"""Return a text with the escapes of JSON (\u0040) as the characters that they are, whether it is JSON or not."""
    found = JSON_ESCAPE.sub(lambda escape: chr(int(escape[1], 16)), text)
    return found.encode("utf-16", "surrogatepass").decode("utf-16", errors="replace")


def _standing_alone(address: str) -> re.Pattern[str]:
    """Return the pattern of an address that is no part of a longer one."""
    return re.compile(rf"(?<![\w.+@-]){re.escape(address)}(?![\w@-]|\.\w)")
