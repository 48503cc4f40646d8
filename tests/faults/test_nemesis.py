"""A short run of the nemesis, and that its checker can find something."""

import random
from types import SimpleNamespace
from typing import Any

from ops.sandbox.postgres import PostgresServer
from ops.sandbox.rabbitmq import RabbitServer
from tests.faults.conftest import Scaled
from tests.faults.nemesis import Nemesis
from tests.faults.scene import Scene


async def test_a_short_run(
    own_scene: Scene, own_postgres: PostgresServer, own_rabbitmq: RabbitServer, scaled: Scaled
) -> None:
    """Faults of every kind strike under load; once they are over, all that was confirmed is accounted for."""
    nemesis = Nemesis(own_scene, own_postgres, own_rabbitmq, seed=random.randrange(10**6))
    try:
        await nemesis.run(scaled(15, 300))
    finally:
        print(nemesis.told())  # noqa: T201 - the seed of a run that failed
    assert nemesis.confirmed
    for kind, faults in nemesis.adversity.kinds().items():
        assert any(nemesis.fired[fault.__name__] for fault in faults), f"no fault of {kind} struck"


def test_what_is_nowhere_is_missed() -> None:
    """A confirmed signup that is no website, and poison that is no dead letter; but not what is one or the other."""
    nothing: Any = None
    nemesis = Nemesis(nothing, nothing, nothing, seed=1)
    nemesis.confirmed = {1: "website", 2: "dead letter", 3: "lost signup"}
    nemesis.adversity.poison = {"poison", "lost poison"}
    nemesis.letters = [SimpleNamespace(message_id=found) for found in ("dead letter", "poison")]
    assert nemesis.missing(known={1}) == {"lost signup", "lost poison"}
