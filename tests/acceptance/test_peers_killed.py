"""The kills of bench/peers: they strike, and what they cost is counted. With the service, which needs no framework."""

from pathlib import Path

from bench.arena import Servers
from bench.peers.contestants import service
from bench.peers.killing import killing
from ops.sandbox.postgres import PostgresServer
from ops.sandbox.rabbitmq import RabbitServer


async def test_the_service_loses_nothing_to_kills_that_strike(
    postgres: PostgresServer, rabbitmq: RabbitServer, tmp_path: Path
) -> None:
    """Two workers in turn are killed with work in their hands; each website is live afterwards, with its rows once."""
    killed = await killing(Servers(postgres, rabbitmq, tmp_path), service, 200, kills=2)
    assert [stroke.struck for stroke in killed.strokes] == [True, True]
    assert any(stroke.in_hand for stroke in killed.strokes)
    assert killed.strokes[0].at_step < killed.strokes[1].at_step
    assert killed.reckoning.exact
    assert not killed.dead_letters
