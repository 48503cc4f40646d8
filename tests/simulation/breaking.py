"""The design broken on purpose, one way each. A simulation that stays green for them is not looking."""

from dataclasses import replace
from typing import Any

from consumer.store import SQL as STORE_SQL
from tests.simulation import statements
from tests.simulation.world import World


def acks_before_commit(world: World, patch: Any) -> None:
    """A delivery is acked before anything has been done."""
    from consumer.worker import Worker

    carry = Worker.carry

    async def early(self: Any, batch: Any) -> None:
        for waiting in batch:
            await waiting.delivery.session.ack(waiting.delivery)
        await carry(self, batch)

    patch.setattr(Worker, "carry", early)


def publishes_before_commit(world: World, patch: Any) -> None:
    """Events go out while their transaction is still open."""
    from consumer.outbox import event
    from consumer.provision import Provision
    from consumer.store import Transaction
    from tests.simulation.world import TOPOLOGY

    write = Transaction.write

    async def early(self: Any, moves: Any, stall_seconds: float) -> Any:
        rows = await write(self, moves, stall_seconds)
        for row in rows:
            world.broker.accept(event(row, TOPOLOGY))
        return rows

    assert Provision
    patch.setattr(Transaction, "write", early)


def forgets_message_ids(world: World, patch: Any) -> None:
    """Nobody looks whether a message has been carried out already."""
    from consumer.store import Transaction

    lock = Transaction.lock

    async def forgetful(self: Any, asked: Any, *, waiting: bool) -> Any:
        locked, foreign = await lock(self, asked, waiting=waiting)
        return {website_id: replace(found, done=None) for website_id, found in locked.items()}, foreign

    patch.setattr(Transaction, "lock", forgetful)


def has_no_dispatcher(world: World, patch: Any) -> None:
    """Nobody sends what is owed."""
    from consumer.dispatcher import Dispatcher

    async def none(self: Any) -> int:
        return 0

    patch.setattr(Dispatcher, "run_once", none)


def locks_nothing(world: World, patch: Any) -> None:
    """Rows are read without a lock."""
    for name in ("lock_available", "lock_waiting"):
        patch.setitem(statements.BY_TEXT, STORE_SQL[name], (name, statements.unlocked))


def clears_what_is_owed(world: World, patch: Any) -> None:
    """A website at rest is cleared whatever is owed to it: the bug of seed 516."""
    from consumer.store import Store

    clear = Store.clear

    async def careless(self: Any, rests: Any) -> None:
        await clear(self, [(website_id, seq, 0) for website_id, seq, _ in rests])

    patch.setattr(Store, "clear", careless)


def fails_on_infrastructure(world: World, patch: Any) -> None:
    """A database that is away is taken for a website's fault."""
    from consumer import worker
    from consumer.errors import Infrastructure, Transient, classify

    def careless(error: BaseException) -> Any:
        fault = classify(error)
        return Transient(fault.error) if isinstance(fault, Infrastructure) else fault

    patch.setattr(worker, "classify", careless)


WAYS = {
    acks_before_commit: 10,
    publishes_before_commit: 136,
    forgets_message_ids: 5,
    has_no_dispatcher: 1,
    locks_nothing: 1,
    clears_what_is_owed: 150,
    fails_on_infrastructure: 11,
}
"""Each with a seed that has found it out: the search begins there, and goes on should that seed come to mean another
run."""
