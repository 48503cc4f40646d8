"""A run is exact or it does not count: every website live, each log row and each row of its pack once, nothing left."""

from collections.abc import Sequence

from bench.arena import SITE_TYPES, NotExactError, Run
from consumer.factories import SHIPPED_PACKS
from seeders.loading.pack_library import PackLibrary
from statemachine import CHAIN

STEPS = len(CHAIN) - 1
"""Transitions from website.created to live."""
LISTED = "realty_asset_id IN (SELECT id FROM pwb_realty_assets WHERE website_id > $1)"
OWNED = {"pwb_field_keys": "pwb_website_id > $1", "pwb_sale_listings": LISTED, "pwb_rental_listings": LISTED}
"""By what rows belong to websites above an id, where it is not by `website_id`."""


async def check(run: Run) -> None:
    """Look whether everything that was signed up is exactly done. Its processes are ended: nothing is unacked then.

    What was in the database before the run is not looked at.

    Raises:
        NotExactError: saying what is wrong.
    """
    count = run.signed_up
    live = await run.live()
    wrong = [f"{live} are live"] if live != count else []
    histories = await run.connection.fetch(
        "SELECT array_agg(seq ORDER BY seq) AS seqs FROM provisioning_transitions WHERE website_id > $1 "
        "GROUP BY website_id",
        run.before,
    )
    whole = sum(record["seqs"] == list(range(1, STEPS + 1)) for record in histories)
    if not len(histories) == whole == count:
        wrong.append(f"{whole} of {len(histories)} histories have seq 1 to {STEPS}")
    for table, expected in (await _rows_expected(run.ids)).items():
        found = await run.connection.fetchval(
            f"SELECT count(*) FROM {table} WHERE {OWNED.get(table, 'website_id > $1')}", run.before
        )
        if found != expected:
            wrong.append(f"{found} rows in {table}, expected {expected}")
    left = {queue.name: (await run.counts(queue.name)).ready for queue in run.topology.queues}
    wrong += [f"{ready} messages left in {name.partition('.')[2]}" for name, ready in left.items() if ready]
    if wrong:
        raise NotExactError(f"{run.contestant.name}: of {count} websites, {'; '.join(wrong)}")


async def _rows_expected(ids: Sequence[int]) -> dict[str, int]:
    """Return how many rows of each kind websites have together."""
    library = PackLibrary([SHIPPED_PACKS])
    packs = {name: await library.get(name) for name in SITE_TYPES}
    mine = [packs[SITE_TYPES[website_id % len(SITE_TYPES)]] for website_id in ids]
    homes = [home for pack in mine for home in pack.properties]
    return {
        "pwb_users": len(ids),
        "pwb_user_memberships": len(ids),
        "pwb_agencies": len(ids),
        "pwb_links": sum(len(pack.links) for pack in mine),
        "pwb_field_keys": sum(len(pack.field_keys) for pack in mine),
        "pwb_realty_assets": len(homes),
        "pwb_sale_listings": sum(bool(home.sale) for home in homes),
        "pwb_rental_listings": sum(bool(home.rental) for home in homes),
    }
