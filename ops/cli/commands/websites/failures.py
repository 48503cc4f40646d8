"""Failed websites, in groups by what they have in common: listed, shown."""

from typing import TYPE_CHECKING, Any

import click

from ops.cli.options import json_option
from ops.cli.output import fail, print_result
from ops.cli.runtime import run_with_store, settings_or_exit
from ops.errors import NotFoundError

if TYPE_CHECKING:
    from consumer.store.database import Store

MAX_SHOWN = 20


@click.group()
def failures() -> None:
    """Failed websites, in groups by what they have in common."""


@failures.command("list")
@json_option
def list_failures(*, as_json: bool) -> None:
    """List the groups, the largest first: numbers, ids and quoted values of an error make no difference.

    Example: provisioner failures list
    """
    settings = settings_or_exit()
    from ops.cli.tables.failures import print_failure_groups
    from ops.websites.failures import failure_groups

    print_result(run_with_store(settings, failure_groups), as_json=as_json, table=print_failure_groups)


@failures.command("show")
@click.argument("group")
@json_option
def show_failures(*, group: str, as_json: bool) -> None:
    """Show one GROUP and the websites in it that failed first.

    Example: provisioner failures show 1f2e3d4c
    """
    settings = settings_or_exit()
    from ops.cli.tables.failures import print_failure_group
    from ops.websites import queries
    from ops.websites.failures import FailureFilter, failed_website_ids, failure_group

    async def work(store: "Store") -> dict[str, Any]:
        try:
            found = await failure_group(store, group)
            ids = await failed_website_ids(store, FailureFilter(group=group, limit=MAX_SHOWN))
        except NotFoundError as error:
            fail(str(error))
        return found | {"first": await queries.statuses(store, ids)}

    print_result(run_with_store(settings, work), as_json=as_json, table=print_failure_group)
