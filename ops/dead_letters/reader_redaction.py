"""Redacts dead letters for readers, who see nothing in which a person's name or address may stand.

Nobody knows what a broken message has where. So what readers see is listed, and all else is left out: of the body the
fields that contracts have for websites, of the headers those that workers write, of the properties those of delivery.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from consumer.messages.authors import USER_ID_HEADER
from consumer.messages.inbound import PoisonError, parse_body
from consumer.messages.outbound_dead_letters import OWN_HEADERS

FIELDS = frozenset(
    {"website_id", "subdomain", "site_type", "seed_pack", "skip_properties", "auto_go_live", "expected_seq", "attempt"}
)
"""Of a body. `owner` is a person, `actor` names one, and in `reason` a person writes what they like."""
VALUE = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
"""Texts that those fields have where they are as they should be; any other is left out with the rest."""
HEADERS = frozenset(OWN_HEADERS) - {USER_ID_HEADER}
PROPERTIES = frozenset(
    {"content_type", "content_encoding", "delivery_mode", "expiration", "message_id", "priority", "timestamp", "type"}
)
LEFT_OUT = "…"


def for_readers(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a full record of a dead letter without what only operators may read; no body where it is no object."""
    shown = {name: value for name, value in record.items() if name not in ("body", "body_base64")}
    shown["headers"] = _only(HEADERS, record["headers"])
    shown["properties"] = _only(PROPERTIES, record["properties"])
    if (body := _readable_body(str(record.get("body", "")))) is not None:
        shown["body"] = json.dumps(body, ensure_ascii=False)
    return shown


def _only(names: frozenset[str], values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name in names and not isinstance(value, dict | list)}


def _readable_body(text: str) -> dict[str, Any] | None:
    try:
        body = parse_body(text.encode(errors="replace"))
    except PoisonError:
        return None
    if not isinstance(body, dict):
        return None
    shown = {name: value if name in FIELDS and _is_readable(value) else LEFT_OUT for name, value in body.items()}
    # The name of a field that nobody knows is the sender's text, too.
    return {name if VALUE.fullmatch(name) else LEFT_OUT: value for name, value in shown.items()}


def _is_readable(value: Any) -> bool:
    if isinstance(value, str):
        return VALUE.fullmatch(value) is not None
    return value is None or isinstance(value, bool | int)
