"""Seed packs: list them, show one, and check them before anybody signs up."""

import sys
from typing import Any

import click

from ops.cli.options import json_option
from ops.cli.output import fail, print_result
from ops.cli.runtime import run_async, settings_or_exit
from ops.errors import EXIT_FAILED


@click.group()
def packs() -> None:
    """What websites are seeded from; docs/packs.md says how to write one."""


@packs.command("list")
@json_option
def list_packs(*, as_json: bool) -> None:
    """List the seed packs that signups can ask for: where each is, its parents, what it brings, what is wrong.

    Those of PROVISIONER_PACKS_DIR come before those that ship. Example: provisioner packs list --json
    """
    settings = settings_or_exit(inprocess=True)
    from consumer.factories import pack_folders
    from ops.cli.tables import packs as pack_tables
    from ops.packs import reports
    from ops.packs.pack_argument import select_all_packs

    async def work() -> dict[str, Any]:
        return await reports.check_packs(select_all_packs(pack_folders(settings), settings.images_url))

    print_result(run_async(work()), as_json=as_json, table=pack_tables.print_packs)


@packs.command("show")
@click.argument("name")
@json_option
def show_pack(*, name: str, as_json: bool) -> None:
    """Show what one seed pack brings, its parents merged in.

    Example: provisioner packs show residential
    """
    settings = settings_or_exit(inprocess=True)
    from consumer.factories import pack_folders
    from ops.cli.tables import packs as pack_tables
    from ops.errors import NotFoundError
    from ops.packs import reports
    from seeders.loading.pack_library import PackLibrary

    try:
        library = PackLibrary(pack_folders(settings), images_url=settings.images_url)
        found = run_async(reports.pack_content(library, name))
    except NotFoundError as error:
        fail(str(error))
    print_result(found, as_json=as_json, table=pack_tables.print_pack)


@packs.command("check")
@click.argument("pack", required=False, metavar="[NAME|DIR]")
@json_option
def check_packs(*, pack: str | None, as_json: bool) -> None:
    """Say all that is wrong with seed packs, and what it would cost the websites that ask for them.

    Without an argument every pack that signups can ask for; with one the pack of that name, the pack in a folder, or
    all packs in a folder. Needs neither database nor broker. Exit code 1: there are errors. Warnings are what can be
    inserted and is probably a mistake.

    \b
    Examples:
      provisioner packs check
      provisioner packs check ./packs/coast --json
    """
    settings = settings_or_exit(inprocess=True)
    from consumer.factories import pack_folders
    from ops.cli.tables import packs as pack_tables
    from ops.errors import InvalidInputError, NotFoundError
    from ops.packs import reports
    from ops.packs.pack_argument import select_all_packs, select_packs

    try:
        folders, url = pack_folders(settings), settings.images_url
        selection = select_packs(folders, pack, url) if pack is not None else select_all_packs(folders, url)
    except (NotFoundError, InvalidInputError) as error:
        fail(str(error))
    found = run_async(reports.check_packs(selection))
    print_result(found, as_json=as_json, table=pack_tables.print_check)
    if found["errors"]:
        sys.exit(EXIT_FAILED)
