"""The design broken on purpose, one way each. A simulation that stays green for them is not looking."""

from dataclasses import replace
from typing import Any

from consumer.store.provisioning_statements import SQL as STORE_SQL
from ops.websites import start_asleep
from tests.simulation import statements
from tests.simulation.world import World


def acks_before_commit(world: World, patch: Any) -> None:
    """A delivery is acked before anything has been done."""
    from consumer.worker.delivery_loop import Worker

    run_once = Worker.run_once

    async def early(self: Any, batch: Any) -> None:
        for buffered in batch:
            await buffered.delivery.session.ack(buffered.delivery)
        await run_once(self, batch)

    patch.setattr(Worker, "run_once", early)


def publishes_before_commit(world: World, patch: Any) -> None:
    """Events go out while their transaction is still open."""
    from consumer.messages.outbound import event_message
    from consumer.provisioning.use_case import ProvisioningUseCase
    from consumer.store.provisioning_statements import Transaction
    from tests.simulation.world import TOPOLOGY

    write = Transaction.write

    async def early(self: Any, moves: Any, stall_seconds: float) -> Any:
        rows = await write(self, moves, stall_seconds)
        for row in rows:
            world.broker.accept(event_message(row, TOPOLOGY))
        return rows

    assert ProvisioningUseCase
    patch.setattr(Transaction, "write", early)


def forgets_message_ids(world: World, patch: Any) -> None:
    """Nobody looks whether a message has been carried out already."""
    from consumer.store.provisioning_statements import Transaction

    lock = Transaction.lock

    async def forgetful(self: Any, asked: Any, *, waiting: bool) -> Any:
        locked, foreign = await lock(self, asked, waiting=waiting)
        return {website_id: replace(found, done=None) for website_id, found in locked.items()}, foreign

    patch.setattr(Transaction, "lock", forgetful)


def has_no_dispatcher(world: World, patch: Any) -> None:
    """Nobody sends what is owed."""
    from consumer.worker.due_dispatcher import Dispatcher

    async def none(self: Any) -> int:
        return 0

    patch.setattr(Dispatcher, "run_once", none)


def locks_nothing(world: World, patch: Any) -> None:
    """Rows are read without a lock."""
    for name in ("lock_available", "lock_waiting"):
        patch.setitem(statements.BY_TEXT, STORE_SQL[name], (name, statements.unlocked))


def clears_what_is_owed(world: World, patch: Any) -> None:
    """A website at rest is cleared whatever is owed to it: the bug of seed 516."""
    from consumer.store.database import Store

    clear = Store.mark_published

    async def careless(self: Any, rests: Any) -> None:
        await clear(self, [(website_id, seq, 0) for website_id, seq, _ in rests])

    patch.setattr(Store, "mark_published", careless)


def fails_on_infrastructure(world: World, patch: Any) -> None:
    """A database that is away is taken for a website's fault."""
    from consumer.error_classification import Infrastructure, Transient, classify
    from consumer.worker import delivery_loop

    def careless(error: BaseException) -> Any:
        fault = classify(error)
        return Transient(fault.error) if isinstance(fault, Infrastructure) else fault

    patch.setattr(delivery_loop, "classify", careless)


def starts_pending_websites_only(world: World, patch: Any) -> None:
    """website.created is for websites that are pending; to any other it does nothing."""
    from consumer.domain.outcomes import Stale
    from consumer.provisioning import planning
    from statemachine import State

    meant = planning._meant_by_signup

    def narrow(signup: Any, website: Any) -> Any:
        asked = meant(signup, website)
        return asked if website.state in (State.PENDING, State.FAILED) else Stale("it is not pending")

    patch.setattr(planning, "_meant_by_signup", narrow)


def takes_any_due_time_for_a_promise(world: World, patch: Any) -> None:
    """A website counts as under way as soon as it has a due time, that of its insert included."""
    from consumer.provisioning import planning

    patch.setattr(planning, "is_under_way", lambda website: website.has_due_time)


def proves_no_guards(world: World, patch: Any) -> None:
    """A step is taken from wherever the product has moved a website, whatever it lacks."""
    from consumer.provisioning import planning

    patch.setattr(planning, "is_proven", lambda _: True)


def proves_guards_for_signups_only(world: World, patch: Any) -> None:
    """The guards of the states before are proven by website.created alone, not by the next attempt."""
    from consumer.provisioning import planning

    plan = planning.plan_command

    def once(command: Any, website: Any, cause: Any) -> Any:
        planned = plan(command, website, cause)
        if isinstance(planned, planning.Planned) and not command.created:
            return replace(planned, proves_guards=False)
        return planned

    patch.setattr(planning, "plan_command", once)


def starts_nothing(world: World, patch: Any) -> None:
    """What an operator starts is recorded, and never published."""

    async def forget(session: Any, messages: Any) -> None:
        """Publish nothing."""

    patch.setattr(start_asleep, "publish_all", forget)


WAYS = {
    acks_before_commit: 30,
    publishes_before_commit: 910,
    forgets_message_ids: 44,
    has_no_dispatcher: 1,
    locks_nothing: 1,
    clears_what_is_owed: 435,
    fails_on_infrastructure: 108,
    starts_pending_websites_only: 1,
    takes_any_due_time_for_a_promise: 2,
    proves_no_guards: 30,
    proves_guards_for_signups_only: 133,
    starts_nothing: 1,
}
"""Each with a seed that has found it out: the search begins there, and goes on should that seed come to mean another
run."""
