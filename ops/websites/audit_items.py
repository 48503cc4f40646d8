"""Makes the items of an action on websites, before their messages are published and after. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from ops.audit.trail import ActionItem

PUBLISHED = "published"


def website_item(outcome: Mapping[str, Any], **detail: Any) -> ActionItem:
    """Return the item of a website from the result of a verb; a website that is not sent has its outcome at once."""
    return ActionItem(
        outcome["message_id"],
        outcome["website_id"],
        {"from": outcome["state_before"]} | {name: value for name, value in detail.items() if value is not None},
        None if outcome["sent"] else f"not sent: {outcome['why']}",
    )


def published_items(numbers: Sequence[int], outcomes: Sequence[Mapping[str, Any]]) -> dict[int, str]:
    """Return the outcomes of the items whose messages the broker has confirmed, by number."""
    return {number: PUBLISHED for number, outcome in zip(numbers, outcomes, strict=True) if outcome["sent"]}
