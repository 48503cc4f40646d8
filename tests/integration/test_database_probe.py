"""When the database counts as back: once our own tables can be written to, and all that a batch says can be said."""

import asyncpg
import pytest

from consumer.store.database import Store
from consumer.worker.database_probe import DatabaseProbe
from consumer.worker.gate import ClosedBy, Gate
from consumer.worker.reconnect_backoff import Backoff
from tests.roles import as_role, with_password

BREAKS = {
    "the log is missing": (
        "ALTER TABLE provisioning_transitions RENAME TO elsewhere",
        "ALTER TABLE elsewhere RENAME TO provisioning_transitions",
        "42P01",
    ),
    "a column is missing": (
        "ALTER TABLE pwb_websites RENAME provisioning_due_at TO elsewhere",
        "ALTER TABLE pwb_websites RENAME elsewhere TO provisioning_due_at",
        "42703",
    ),
    "a column that only a seeder writes is missing": (
        "ALTER TABLE pwb_links RENAME slug TO elsewhere",
        "ALTER TABLE pwb_links RENAME elsewhere TO slug",
        "42703",
    ),
    "it may not be written": (
        "REVOKE UPDATE ON pwb_websites FROM worker_of_the_test",
        "GRANT UPDATE ON pwb_websites TO worker_of_the_test",
        "42501",
    ),
    "it is read-only": (
        "ALTER ROLE worker_of_the_test SET default_transaction_read_only = on",
        "ALTER ROLE worker_of_the_test RESET default_transaction_read_only",
        "25006",
    ),
}


@pytest.mark.parametrize("what", BREAKS)
async def test_the_gate_stays_closed_until_our_tables_can_be_written(database_url: str, what: str) -> None:
    """Each try finds what is wrong and says it; the one after the mend lifts the gate."""
    breaks, mends, sqlstate = BREAKS[what]
    owner = await asyncpg.connect(database_url)
    await owner.execute(
        f"""DO $$ BEGIN CREATE ROLE worker_of_the_test; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
           ALTER ROLE worker_of_the_test {with_password(database_url)};
           GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO worker_of_the_test"""
    )
    await owner.execute(breaks)
    gate, tries = Gate(), list[str]()
    gate.close(ClosedBy.DATABASE, "as the test begins")

    async def between_tries(_seconds: float) -> None:
        tries.append(gate.reasons[ClosedBy.DATABASE])
        if len(tries) == 2:
            await owner.execute(mends)

    store = Store(as_role(database_url, "worker_of_the_test"), size=1)
    await DatabaseProbe(store, gate, Backoff(1, 1, sleep=between_tries)).run_once()
    assert [sqlstate in told for told in tries] == [True, True]
    assert gate.reasons == {}
    await store.close()
    await owner.close()
