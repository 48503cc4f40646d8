"""The small worlds that are searched, and the rules whose absence each of them shows."""

from dataclasses import dataclass

from tests.protocol.model import Start
from tests.protocol.rules import Rules
from tests.protocol.world import (
    ADVANCED,
    HELD,
    NEVER,
    OTHER,
    OWNER,
    READY,
    TEN_MINUTES,
    Budget,
    Row,
)

WITHOUT_PRODUCT: dict[str, Start] = {
    "crash, wipe": Start(Budget(crash=1, wipe=1, created=1)),
    "refuse, retry": Start(Budget(crash=1, early_due=1, refuse=1, created=1, retry=1)),
    "refuse, retry, wipe": Start(Budget(crash=1, wipe=1, refuse=1, created=1, retry=1)),
    "two retries": Start(Budget(duplicate=1, refuse=2, created=1, retry=2), workers=1),
    "two retries, two workers": Start(Budget(crash=1, refuse=1, created=1, retry=2)),
    "transient": Start(Budget(crash=1, duplicate=1, early_due=1, transient=1, created=1)),
    "operator's transient": Start(Budget(refuse=1, transient=1, created=1, retry=1)),
    "created twice": Start(Budget(crash=1, early_due=1, created=2)),
    "broker": Start(Budget(crash=1, duplicate=1, unknown_publish=1, wipe=1, created=1)),
    "two crashes": Start(Budget(crash=2, early_due=1, created=1)),
    "early twice": Start(Budget(early_due=2, created=2), workers=1),
    "duplicates": Start(Budget(duplicate=2, created=1)),
    "unknown publishes": Start(Budget(crash=1, unknown_publish=2, early_due=1, created=1)),
    "two dispatchers": Start(Budget(crash=2, wipe=1, early_due=1, created=1), workers=1, dispatchers=2),
}
"""Websites that nobody but this service moves."""

SLEPT = (Row(ADVANCED, 1, "an earlier message"),)

BESIDE_PRODUCT: dict[str, Start] = {
    # A signup: the product moves its website itself, then publishes website.created, twice perhaps.
    "moved": Start(Budget(crash=1, duplicate=1, created=2), moved_to=1, due=TEN_MINUTES),
    "moved, faults": Start(
        Budget(crash=1, wipe=1, early_due=1, refuse=1, created=1, retry=1), moved_to=1, due=TEN_MINUTES
    ),
    "moved, no message": Start(Budget(crash=1, early_due=1), moved_to=1, due=TEN_MINUTES),
    # Never begun: pending, nothing moved, website.created is to come.
    "never begun": Start(Budget(duplicate=1, early_due=1, transient=1, created=2), due=TEN_MINUTES),
    # The product goes on moving the website while messages for it are carried out.
    "goes on moving": Start(Budget(crash=1, early_due=1, created=1, move=2), workers=2, due=TEN_MINUTES),
    "moves, transient": Start(Budget(duplicate=1, transient=1, created=1, move=2), workers=1, due=TEN_MINUTES),
    "moves, refuse, retry": Start(Budget(refuse=1, created=1, retry=1, move=1), workers=2, due=TEN_MINUTES),
    # The states before the website's own lack something.
    "owner missing": Start(
        Budget(duplicate=1, early_due=1, created=2, owner=1), moved_to=1, due=TEN_MINUTES, lacking=OWNER
    ),
    "guard unmet": Start(Budget(crash=1, created=2, retry=1), moved_to=1, due=TEN_MINUTES, lacking=OTHER),
    "owner missing, asleep": Start(
        Budget(early_due=1, created=2, owner=1), workers=1, moved_to=1, due=NEVER, lacking=OWNER
    ),
    "moved over a guard": Start(Budget(crash=1, created=1, move_unproven=1, retry=1), due=TEN_MINUTES),
    # Asleep: nothing is due.
    "asleep": Start(Budget(crash=1, duplicate=1, wipe=1, created=2), moved_to=1, due=NEVER),
    "asleep at pending": Start(Budget(crash=1, duplicate=1, transient=1, created=1), due=NEVER),
    "asleep, moves": Start(Budget(crash=1, created=1, move=2), moved_to=1, due=NEVER),
    "asleep, with a log": Start(Budget(crash=1, duplicate=1, refuse=1, created=2), log=SLEPT, due=NEVER),
    "asleep, with an attempt": Start(Budget(duplicate=1, created=2), attempts=1, due=NEVER),
    # Inserted again under an id that had a website before: its log goes on.
    "inserted again": Start(Budget(duplicate=1, created=2), workers=1, log=SLEPT, inserted=1, due=TEN_MINUTES),
    # Somebody else's website.created for the same id, before or after the honest one.
    "stranger": Start(Budget(crash=1, duplicate=1, created=1, stranger=1), due=TEN_MINUTES),
    "stranger, failed": Start(Budget(early_due=2, transient=1, created=1, stranger=1), workers=1),
    "stranger, moved": Start(Budget(crash=1, created=1, stranger=1), moved_to=1, due=TEN_MINUTES),
    "stranger, owner missing": Start(
        Budget(early_due=1, created=1, owner=1, stranger=1), workers=1, moved_to=1, due=TEN_MINUTES, lacking=OWNER
    ),
    # Held at ready.
    "held": Start(Budget(crash=1, duplicate=1, created=2), moved_to=READY, due=TEN_MINUTES, held=HELD),
    "held, released": Start(
        Budget(duplicate=1, early_due=1, created=2, release=1), moved_to=1, due=TEN_MINUTES, held=HELD
    ),
}
"""Websites that the product moves too, or for which nothing is under way."""

CONFIGURATIONS = WITHOUT_PRODUCT | BESIDE_PRODUCT

QUICK = (
    "crash, wipe", "duplicates", "operator's transient", "moved", "moved, no message", "moves, transient",
    "owner missing, asleep", "asleep", "asleep at pending", "asleep, moves", "asleep, with a log",
    "asleep, with an attempt", "inserted again", "held", "stranger, moved", "stranger, owner missing",
)  # fmt: skip
"""Configurations that are searched whole in a few seconds: those of `make test`."""


@dataclass(frozen=True)
class Defect:
    """Rules that are taken back in a configuration, and what then does not hold.

    An empty error: all properties hold still, and the result shows what the rule saves in deliveries. `quick`: the
    counter-example is found in a second or two.
    """

    configuration: str
    changed: Rules
    error: str
    quick: bool = True


NO_PUBLISHED_SEQ: Rules = {"published_seq": False, "publishes": "all"}
NO_EVENTS: Rules = NO_PUBLISHED_SEQ | {"dispatcher_sends_events": False}
UNORDERED: Rules = {"event_before_command": False}
ALWAYS: Rules = {"redelivery_publishes": "always"}
BURNT = "an attempt was burnt while the backoff of the last one still ran"
NEVER_PUBLISHED = "was never published"
NOBODY_RESCUES = "nobody would ever rescue it"
NOT_UNDER_WAY = "website.created acked, the website is on its way, and nothing is under way for it"
TEN_MINUTES_PASS = "website.created acked, and the website waits for ten minutes to pass"
UNPROVEN = "a guard of a state before does not hold"
HELD_WENT_LIVE = "a website that is held at ready went live"

DEFECTS: tuple[Defect, ...] = (
    # Events.
    Defect("crash, wipe", NO_EVENTS | UNORDERED, NEVER_PUBLISHED),
    Defect("crash, wipe", NO_PUBLISHED_SEQ | UNORDERED, NEVER_PUBLISHED),
    Defect("crash, wipe", NO_PUBLISHED_SEQ, NEVER_PUBLISHED),
    Defect("crash, wipe", UNORDERED, NEVER_PUBLISHED),
    Defect("moves, refuse, retry", {"publishes": "own, proves all"}, NEVER_PUBLISHED),
    Defect("refuse, retry, wipe", NO_PUBLISHED_SEQ, NEVER_PUBLISHED, quick=False),
    Defect("refuse, retry, wipe", NO_PUBLISHED_SEQ | {"operator_publishes_first": True}, "", quick=False),
    Defect("refuse, retry", {"clear_compares_seq": False}, NOBODY_RESCUES),
    # Fences.
    Defect("transient", {"attempt_in_command": False}, BURNT),
    Defect("refuse, retry", {"redelivery_uses_attempt_of_now": True}, BURNT, quick=False),
    Defect("two retries", {"operator_command_has_seq": False}, "is applied to that at seq 3"),
    Defect(
        "operator's transient", {"operator_command_kept_on_error": False}, "nothing in the database accounts for it"
    ),
    Defect("held, released", {"inbox": False}, "a message was carried out twice"),
    # What a redelivery publishes: no property needs the rule, it saves deliveries.
    Defect("two crashes", NO_EVENTS | UNORDERED | ALWAYS, "", quick=False),
    Defect("unknown publishes", NO_EVENTS | UNORDERED | ALWAYS, "", quick=False),
    Defect("duplicates", ALWAYS, "", quick=False),
    Defect("early twice", ALWAYS, "", quick=False),
    # website.created, and its data.
    Defect("transient", {"created_is_stored": False}, "its data are stored nowhere"),
    Defect("early twice", {"created_retries_for_owner": False}, "and the website is failed"),
    Defect("early twice", {"created_under_way": "publish"}, "", quick=False),
    Defect("early twice", {"created_under_way": "publish"} | ALWAYS, "", quick=False),
    # One that contradicts what is stored.
    Defect("stranger", {"contradiction": "row wins"}, "contradicts what is stored, and has vanished"),
    Defect("stranger", {"contradiction": "message wins"}, "has changed an owner once named"),
    Defect("stranger, moved", {"contradiction": "row wins"}, "contradicts what is stored, and has vanished"),
    # website.created wherever the website is on the chain.
    Defect("moved", {"created_starts": False}, TEN_MINUTES_PASS),
    Defect("asleep", {"created_starts": False}, NOT_UNDER_WAY),
    Defect("never begun", {"under_way": "due"}, TEN_MINUTES_PASS),
    Defect("moved", {"under_way": "due"}, TEN_MINUTES_PASS),
    Defect("inserted again", {"under_way": "due and seq"}, TEN_MINUTES_PASS),
    Defect("asleep, with a log", {"under_way": "ours"}, NOT_UNDER_WAY),
    Defect("asleep, with an attempt", {"under_way": "ours"}, NOT_UNDER_WAY),
    Defect("held, released", {"under_way": "ours"}, NOBODY_RESCUES),
    Defect("owner missing", {"under_way": "never"}, BURNT),
    Defect("never begun", {"under_way": "never"}, BURNT),
    Defect("owner missing", {"guards_proven": "never"}, UNPROVEN),
    Defect("owner missing", {"guards_proven": "created"}, UNPROVEN),
    Defect("moved over a guard", {"guards_proven": "created"}, UNPROVEN),
    Defect("moved over a guard", {"guards_proven": "empty log"}, UNPROVEN),
    Defect("held", {"held_rests": False}, HELD_WENT_LIVE),
    Defect("held, released", {"clear_requires_rest": False}, NOBODY_RESCUES),
)
