"""What people did that is no transition is written down before it takes effect, and what came of it after."""

from consumer.store import Store
from ops.recording import Action, recent, record, settle


async def test_actions_are_recorded_and_settled(store: Store) -> None:
    """Recorded in order with actor, verb and reason; open until settled; found by website."""
    acts = [Action(message_id="m-1", website_id=7, detail={"type": "website.created"}), Action()]
    first, second = await record(store, "cli:ana", "discard", "a test", acts)
    assert [act["outcome"] for act in await recent(store)] == [None, None]
    await settle(store, {first: "done"})
    (told,) = await recent(store, website_id=7)
    assert (told["id"], told["actor"], told["verb"], told["reason"]) == (first, "cli:ana", "discard", "a test")
    assert (told["message_id"], told["outcome"], told["detail"]) == ("m-1", "done", {"type": "website.created"})
    assert [act["id"] for act in await recent(store)] == [second, first]
