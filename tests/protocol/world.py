"""What the model knows at one moment: one website, its log, one queue, workers and dispatchers, as plain tuples.

The chain has three steps. Position 0 stands for pending, READY for ready, LAST for live; the positions between them
stand for all the states between.
"""

from typing import Any, NamedTuple

READY = 2
LAST = 3
ATTEMPTS_A_STEP = 2

# Kinds of messages.
CREATED, STEP, RETRY = "website.created", "step", "retry"

# Kinds of rows in the log: who moved the website, and how.
ADVANCED, FAILED, RETRIED, BY_PRODUCT = "advanced", "failed", "retried", "moved by the product"

# Values of the due time, provisioning_due_at.
NEVER, STALL, PASSED, BACKOFF, TEN_MINUTES = range(5)

# What the states before the website's own lack: nothing, the owner (the product may still add it), or something else.
NOTHING, OWNER, OTHER = range(3)

# Whom a signup names as the owner: the one whom the product has, too, or somebody else.
NOBODY, HONEST, STRANGER = range(3)

# Values of `held`, the opposite of auto_go_live; RELEASED: somebody set auto_go_live while nothing was due.
FREE, HELD, RELEASED = range(3)


class Row(NamedTuple):
    """A row of the log; `cause` is the id of the message that was carried out."""

    kind: str
    position: int
    cause: Any


class Message(NamedTuple):
    """A message in the queue. `expected_seq`, `attempt` and `position` are those of the engine's own commands and of
    operators'; `owner` is whom a website.created names."""

    id: Any
    kind: str
    expected_seq: int = -1
    attempt: int = -1
    position: int = -1
    owner: int = NOBODY


class World(NamedTuple):
    """One state of the search.

    Attributes:
        log: rows; their number is the website's seq.
        moved_to: how far the product had moved the website by itself when it had no log row yet.
        attempts: counted attempts at the step of now.
        due: one of the values of the due time.
        stored: the owner whom a website.created named whose data are in the database.
        published: provisioning_published_seq.
        events: bit set of the seqs whose event the broker has confirmed at least once.
        queue: messages, sorted.
        workers: each () or (message, still held unacked, rest of its to-do list); the list is None before COMMIT.
        dispatchers: each () or the rest of its to-do list.
        budgets: how often each of the things in `Budget` may still happen.
        accounted: bit set of the retries that something in the database, or the wiped broker, accounts for.
        lacking: what the states before the website's own lack.
        held: whether the website rests at READY.
        inserted: the seq with which the row was inserted: above 0 where a website of that id has been before.
    """

    log: tuple[Row, ...] = ()
    moved_to: int = 0
    attempts: int = 0
    due: int = STALL
    stored: int = NOBODY
    published: int = 0
    events: int = 0
    queue: tuple[Message, ...] = ()
    workers: tuple[Any, ...] = ()
    dispatchers: tuple[Any, ...] = ()
    budgets: tuple[int, ...] = ()
    accounted: int = 0
    lacking: int = NOTHING
    held: int = FREE
    inserted: int = 0


class Budget(NamedTuple):
    """How often each fault, and each act of somebody else, may happen in a run."""

    crash: int = 0
    duplicate: int = 0
    unknown_publish: int = 0
    wipe: int = 0
    early_due: int = 0
    refuse: int = 0
    transient: int = 0
    created: int = 0
    retry: int = 0
    move: int = 0
    """The product moves the website one position on, as its guards allow."""
    move_unproven: int = 0
    """The product moves it over a guard that does not hold."""
    owner: int = 0
    """The product adds the owner that is missing."""
    release: int = 0
    """Somebody sets auto_go_live of a website that is held."""
    stranger: int = 0
    """A website.created with the website's id that names somebody else as its owner."""


(
    CRASH, DUPLICATE, UNKNOWN, WIPE, EARLY, REFUSE, TRANSIENT, CREATES, RETRIES, MOVE, MOVE_UNPROVEN, ADD_OWNER,
    RELEASE, STRANGERS,
) = range(len(Budget._fields))  # fmt: skip


class ProtocolError(Exception):
    """A property of the protocol does not hold."""


def has_row(world: World) -> bool:
    """Return whether the last log row is of this website: it led to where the website is."""
    return len(world.log) > world.inserted


def position_of(world: World) -> int:
    """Return where on the chain the website is; for a failed one, where it failed."""
    return world.log[-1].position if has_row(world) else world.moved_to


def owner_of(world: World) -> int:
    """Return whom the website belongs to: the owner whom the product added, else the one whom a signup named."""
    rows = world.log[world.inserted :]
    by_product = world.moved_to > 0 or any(row.kind == BY_PRODUCT and row.position == 1 for row in rows)
    return HONEST if by_product and world.lacking != OWNER else world.stored


def is_failed(world: World) -> bool:
    """Return whether the website is failed."""
    return has_row(world) and world.log[-1].kind == FAILED


def on_its_way(world: World) -> bool:
    """Return whether a step is due to the website: it is on the chain, and not held at READY."""
    position = position_of(world)
    return not is_failed(world) and position < LAST and not (world.held == HELD and position == READY)


def is_ours(world: World) -> bool:
    """Return whether this service has begun to provision the website: its trigger logs what the product does to it."""
    return has_row(world) or bool(world.attempts or world.stored)


def guards_unproven(world: World) -> bool:
    """Return whether the website is in a state to which no transition of this service led."""
    return world.log[-1].kind == BY_PRODUCT if has_row(world) else world.moved_to > 0
