"""Prunes the history of websites at rest."""

from typing import Any

import click

from ops.cli.options import actor_option, json_option, parse_duration
from ops.cli.output import fail, print_result, progress_line
from ops.cli.runtime import run_with_store, settings_or_exit
from ops.errors import EXIT_USAGE


@click.command()
@click.option("--older", "older_seconds", callback=parse_duration, required=True, help="How old rows must be: 90d.")
@click.option("--dry-run", is_flag=True, help="Delete nothing; print how much there is.")
@click.option("--reason", help="Why; is recorded among the actions (`actions list`). Only --dry-run needs none.")
@actor_option
@json_option
def prune(*, as_json: bool, reason: str | None, dry_run: bool, **options: Any) -> None:
    """Delete old rows from the history of websites at rest.

    Each keeps its last row, its seq, and the ids of the messages whose rows are gone, so that a late copy of one still
    does nothing. The events of rows that are gone cannot be published again.

    \b
    Examples:
      provisioner prune --older 90d --dry-run
      provisioner prune --older 90d --reason "retention of 90 days"
    """
    if not dry_run and not (reason or "").strip():
        fail("--reason: say why; it is recorded among the actions", EXIT_USAGE)
    options |= {"reason": reason, "dry_run": dry_run}
    settings = settings_or_exit()
    from ops.audit.identity_proof import local_proof
    from ops.retention import pruning

    with progress_line() as progress:
        result = run_with_store(
            settings, lambda store: pruning.prune(store, proof=local_proof(settings), progress=progress, **options)
        )
    print_result(result, as_json=as_json, table=_print_pruned)


def _print_pruned(result: dict[str, Any]) -> None:
    rows = f"{result['rows']} rows of {result['websites']} websites"
    click.echo(
        f"{rows} would go; nothing was deleted: this was a dry run" if result["dry_run"] else f"{rows} were pruned"
    )
