"""What must hold: whenever a message is acked, in every state, and in the states after which nothing happens."""

from tests.protocol.rules import Rules
from tests.protocol.world import (
    ADVANCED,
    BY_PRODUCT,
    CREATED,
    CREATES,
    FAILED,
    LAST,
    MOVE_UNPROVEN,
    NEVER,
    REFUSE,
    RELEASED,
    RETRIES,
    RETRY,
    STEP,
    TEN_MINUTES,
    TRANSIENT,
    WIPE,
    Message,
    ProtocolError,
    World,
    is_failed,
    on_its_way,
)


def check_ack(world: World, message: Message) -> None:
    """Check that the database accounts for a message that is acked.

    Raises:
        ProtocolError: it does not.
    """
    if message.kind == RETRY and not world.accounted >> message.id[1] & 1:
        raise ProtocolError(f"operator's command {message.id} acked, and nothing in the database accounts for it")
    ours = world.log or world.attempts
    if message.kind == CREATED and not world.stored and (ours or on_its_way(world)):
        raise ProtocolError("website.created acked, and its data are stored nowhere")
    if message.kind == STEP and len(world.log) == message.expected_seq and on_its_way(world) and not world.due:
        raise ProtocolError("step acked, the website is on its way, and its due time is null")
    if message.kind == CREATED and on_its_way(world) and world.held != RELEASED:
        if world.due == NEVER:
            raise ProtocolError("website.created acked, the website is on its way, and nothing is under way for it")
        if world.due == TEN_MINUTES:
            raise ProtocolError("website.created acked, and the website waits for ten minutes to pass")


def check_state(world: World, first: World, rules: Rules) -> None:
    """Check what must hold in every state.

    Raises:
        ProtocolError: it does not.
    """
    _check_log(world, first)
    seq = len(world.log)
    asleep = world.held == RELEASED or (first.due == NEVER and seq == len(first.log))
    if on_its_way(world) and world.due == NEVER and not asleep:
        raise ProtocolError("on its way, and its due time is null: nobody would ever rescue it")
    if not on_its_way(world) and world.due == NEVER and seq > len(first.log) and not world.events >> seq & 1:
        raise ProtocolError(f"at rest, its due time is null, and event {seq} was never published")
    if rules["published_seq"]:
        for each in range(1, world.published + 1):
            if not world.events >> each & 1:
                raise ProtocolError(f"published_seq is {world.published}, and event {each} was never published")


def check_end(world: World, first: World) -> None:
    """Check what must hold where nothing can happen any more.

    Raises:
        ProtocolError: it does not.
    """
    if on_its_way(world) and world.due != NEVER:
        raise ProtocolError("stuck on its way")
    if world.due or world.queue or any(world.workers) or any(world.dispatchers):
        raise ProtocolError("nothing can happen, and something is still to be published or carried out")
    for each in range(1, len(world.log) + 1):
        if not world.events >> each & 1:
            raise ProtocolError(f"nothing is due, and event {each} was never published")
    unspent = all(world.budgets[each] == first.budgets[each] for each in (REFUSE, TRANSIENT, WIPE, MOVE_UNPROVEN))
    created = world.budgets[CREATES] < first.budgets[CREATES]
    if is_failed(world) and unspent and created and not first.lacking:
        raise ProtocolError("website.created came, no step ever went wrong, and the website is failed")
    for number in range(world.budgets[RETRIES] + 1, first.budgets[RETRIES] + 1):
        if not world.accounted >> number & 1:
            raise ProtocolError(f"retry #{number} vanished")


def _check_log(world: World, first: World) -> None:
    """Check that the log is a legal walk from where the product had moved the website, one row a message."""
    failed, position = False, world.moved_to
    for number, row in enumerate(world.log):
        if number == world.inserted:
            failed, position = False, world.moved_to
        match row.kind:
            case kind if kind == FAILED:
                legal = not failed and row.position == position < LAST
            case kind if kind in (ADVANCED, BY_PRODUCT):
                legal = not failed and row.position == position + 1
            case _:
                legal = failed and row.position <= position
        if not legal and number >= len(first.log):
            raise ProtocolError("the log is not a legal walk")
        failed, position = row.kind == FAILED, row.position
    if len({row.cause for row in world.log}) != len(world.log):
        raise ProtocolError("a message was carried out twice")
