"""Erases what is kept of a website's owner."""

from typing import TYPE_CHECKING, Any

import click

from ops.cli.options import actor_option, json_option, yes_option
from ops.cli.output import confirm, fail, print_result
from ops.cli.runtime import run_with_store, settings_or_exit
from ops.websites.verb_registry import ERASE, VERBS_BY_NAME

if TYPE_CHECKING:
    from consumer.config import Settings
    from consumer.store.database import Store

HELP = f"""{VERBS_BY_NAME[ERASE].help}

    Removed are the signup's request and owner_email, addresses and the owner's name in errors, reasons in its history
    and of actions about it, and dead letters that are about the website or have the address. States, seqs and message
    ids stay, and so do the product's own rows: users, memberships, agencies. Any later website.created for it is a
    conflict. The reason is kept: name the case, not the owner.

    \b
    Examples:
      provisioner erase sunny-meadow-42 --reason "request 2026-117" --dry-run
      provisioner erase ana@example.com --reason "request 2026-117"
    """


@click.command(ERASE, help=HELP)
@click.argument("website_or_email")
@click.option("--reason", help="Why; is recorded among the actions (`actions list`).")
@click.option("--dry-run", is_flag=True, help="Erase nothing; print what would go, and what stays.")
@actor_option
@yes_option
@json_option
def erase(*, website_or_email: str, reason: str | None, dry_run: bool, actor: str, yes: bool, as_json: bool) -> None:
    """Erase what is kept of the owner of a website, or of whoever has an address."""
    from ops.retention import erasure

    if not dry_run:
        erasure.check_reason(reason)
    settings = settings_or_exit()
    from ops.cli.tables.erasure import erasure_summary, print_erasure

    def run(*, dry: bool) -> dict[str, Any]:
        return _erase(settings, website_or_email, actor=actor, reason=reason, dry_run=dry)

    if dry_run:
        print_result(run(dry=True), as_json=as_json, table=print_erasure)
        return
    if not yes:
        confirm(f"erase {erasure_summary(run(dry=True))}: nothing brings that back", yes=yes)
    print_result(run(dry=False), as_json=as_json, table=print_erasure)


def _erase(settings: "Settings", name: str, **options: Any) -> dict[str, Any]:
    from consumer.factories import make_broker
    from ops.audit.identity_proof import local_proof
    from ops.dead_letters.queue_lease import LeaseHeldError
    from ops.retention import erasure, erasure_target

    async def work(store: "Store") -> dict[str, Any]:
        target = await erasure_target.find_target(store, name)
        try:
            return await erasure.erase(
                store, make_broker(settings), settings.namespace, target, proof=local_proof(settings), **options
            )
        except (erasure.NotAtRestError, erasure.BeyondLeaseError, LeaseHeldError) as error:
            fail(str(error))

    found: dict[str, Any] = run_with_store(settings, work)
    return found
