"""Erasing by the console: what is kept of an owner goes, and page and API say so; what was pruned is named."""

from tests.console.conftest import OPERATOR, READER, Console
from tests.worker_processes import until

KEPT = "/api/websites/7"


async def test_an_operator_erases_and_everybody_sees_it(working: Console) -> None:
    """A reader may not; the reason is needed and has no address; then the owner's data is gone."""
    await working.sign_up(7)
    await working.reaches(7, "live")
    text = "SELECT provisioning_due_at IS NULL FROM pwb_websites WHERE id = 7"
    await until(lambda: working.db.fetchval(text), 60, "website 7 owes nothing")
    async with working.client(READER) as reader, working.client(OPERATOR) as client:
        seq = (await client.get(KEPT)).json()["seq"]
        asked = {"seq": seq, "reason": "request 2026-117"}
        assert (await reader.post(f"{KEPT}/erase", json=asked)).status_code == 403
        for reason in ("", "ana@example.com asked"):
            answer = await client.post(f"{KEPT}/erase", json=asked | {"reason": reason})
            assert (answer.status_code, "reason" in answer.json()["error"]) == (400, True)
        answer = await client.post(f"{KEPT}/erase", json=asked)
        assert (answer.status_code, answer.json()["sent"]) == (202, True)
        found = (await reader.get(KEPT)).json()
        assert found["erased_at"]
        assert found["pruned"] is None
        assert await working.db.fetchval("SELECT owner_email FROM pwb_websites WHERE id = 7") is None
        await working.db.execute(
            "UPDATE provisioning_transitions SET occurred_at = now() - interval '2 days'; "
            "SELECT provisioning_prune(0, 86400, 10, false)"
        )
        assert (await reader.get(KEPT)).json()["pruned"]["through_seq"] == seq - 1
        page = (await reader.get("/websites/7")).text
        assert "The data of its owner was erased" in page
        assert f"Seq 1 to {seq - 1} were pruned" in page
