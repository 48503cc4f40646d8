"""A run is exact or it does not count: every website live, each log row and each row of its pack once, nothing left."""

from bench.arena import SITE_TYPES, NotExact, Run
from consumer.app import SHIPPED_PACKS
from seeders import PackLibrary

STEPS = 7
"""Transitions from website.created to live."""


async def check(run: Run) -> None:
    """Look whether everything that was signed up is exactly done. Its processes are ended: nothing is unacked then.

    Raises:
        NotExact: saying what is wrong.
    """
    count = run.signed_up
    live = await run.live()
    wrong = [f"{live} are live"] if live != count else []
    histories = await run.connection.fetch(
        "SELECT array_agg(seq ORDER BY seq) AS seqs FROM provisioning_transitions GROUP BY website_id"
    )
    whole = sum(record["seqs"] == list(range(1, STEPS + 1)) for record in histories)
    if not len(histories) == whole == count:
        wrong.append(f"{whole} of {len(histories)} histories have seq 1 to {STEPS}")
    for table, expected in (await _rows_expected(count)).items():
        found = await run.connection.fetchval(f"SELECT count(*) FROM {table}")
        if found != expected:
            wrong.append(f"{found} rows in {table}, expected {expected}")
    left = {queue.name: (await run.counts(queue.name)).ready for queue in run.topology.queues}
    wrong += [f"{ready} messages left in {name.partition('.')[2]}" for name, ready in left.items() if ready]
    if wrong:
        raise NotExact(f"{run.contestant.name}: of {count} websites, {'; '.join(wrong)}")


async def _rows_expected(count: int) -> dict[str, int]:
    """Return how many rows of each kind so many websites have, their ids from 1 on."""
    library = PackLibrary([SHIPPED_PACKS])
    packs = {name: await library.get(name) for name in SITE_TYPES}
    mine = [packs[SITE_TYPES[website_id % len(SITE_TYPES)]] for website_id in range(1, count + 1)]
    homes = [home for pack in mine for home in pack.properties]
    return {
        "pwb_users": count,
        "pwb_user_memberships": count,
        "pwb_agencies": count,
        "pwb_links": sum(len(pack.links) for pack in mine),
        "pwb_field_keys": sum(len(pack.field_keys) for pack in mine),
        "pwb_realty_assets": len(homes),
        "pwb_sale_listings": sum(bool(home.sale) for home in homes),
        "pwb_rental_listings": sum(bool(home.rental) for home in homes),
    }
