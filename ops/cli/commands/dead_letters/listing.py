"""Dead letters: listed, grouped, shown, exported. Each stays in the queue."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ops.cli.options import default_actor, json_option, parse_duration, website_id_type
from ops.cli.output import fail, print_result
from ops.cli.runtime import run_async, run_with_store, settings_or_exit
from ops.errors import EXIT_FAILED

if TYPE_CHECKING:
    from consumer.broker.protocol import Delivery
    from consumer.config import Settings
    from ops.dead_letters.queries import DeadLetterFilter, DeadLetterList


def filter_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options by which dead letters are selected, as fields of DeadLetterFilter."""
    for option in (
        click.option("--newer-than", "newer_seconds", callback=parse_duration, help="Dead for 30m, 2h, 7d at most."),
        click.option("--older-than", "older_seconds", callback=parse_duration, help="Dead for 30m, 2h, 7d at least."),
        click.option("--text", help="Only where the error or the body has this text."),
        click.option("--website", "website_id", type=website_id_type, help="Only those about this website's id."),
        click.option("--type", help="Only messages of this type, such as website.created."),
        click.option("--reason", help="Only those of this reason, ours or the broker's."),
        click.option("--group", help="Only those of this group, as `list --grouped` names it."),
    ):
        command = option(command)
    return command


@contextmanager
def exit_on_refusal() -> Iterator[None]:
    """End with one line where dead letters cannot be leased, are not those that were seen, or may not be edited."""
    from ops.dead_letters.actions import SelectionChangedError
    from ops.dead_letters.edited_messages import EditRefusedError
    from ops.dead_letters.lease import LeaseHeldError

    try:
        yield
    except (LeaseHeldError, SelectionChangedError, EditRefusedError) as error:
        fail(str(error))


def find_or_exit(settings: "Settings", selection: "DeadLetterFilter") -> "list[Delivery]":
    """Return the selected dead letters, the latest first; print how many the queue has beyond the limit of a lease."""
    from consumer.factories import make_broker
    from ops.dead_letters.queries import find_dead_letters

    with exit_on_refusal():
        found: DeadLetterList = run_async(find_dead_letters(make_broker(settings), settings.namespace, selection))
    if found.beyond_limit:
        more = f"{found.beyond_limit} more are beyond the limit of one lease; redrive or discard these first"
        click.echo(f"provisioner: {more}", err=True)
    return found.deliveries


def absence_of(*message_ids: str) -> str:
    """Return the sentence that there are no dead letters by these ids, and where to look."""
    return f"there is no dead letter {', '.join(message_ids)}; `provisioner dead-letters list` shows all"


@click.group("dead-letters")
def dead_letters() -> None:
    """Messages that could not be carried out."""


@dead_letters.command("list")
@filter_options
@click.option("--grouped", is_flag=True, help="In groups of one reason and one cause.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
@json_option
def list_dead_letters(*, limit: int, grouped: bool, as_json: bool, **filters: Any) -> None:
    """List dead letters, the latest first. Each stays in the queue.

    \b
    Examples:
      provisioner dead-letters list --reason poison --newer-than 2h
      provisioner dead-letters list --grouped
    """
    settings = settings_or_exit()
    from ops.cli.tables.dead_letters import print_dead_letters, print_groups
    from ops.dead_letters.queries import DeadLetterFilter, group_dead_letters, summarize

    found = [summarize(delivery) for delivery in find_or_exit(settings, DeadLetterFilter(**filters))]
    if grouped:
        print_result(group_dead_letters(found)[:limit], as_json=as_json, table=print_groups)
    else:
        print_result(found[:limit], as_json=as_json, table=lambda shown: print_dead_letters(shown, len(found)))


@dead_letters.command("show")
@click.argument("message_id")
@json_option
def show_dead_letter(*, message_id: str, as_json: bool) -> None:
    """Show one dead letter: headers, body, what is wrong with it, and what it would come to if it were sent back.

    Example: provisioner dead-letters show 0b5c…
    """
    settings = settings_or_exit()
    from ops.cli.tables.dead_letters import print_dead_letter
    from ops.dead_letters.queries import DeadLetterFilter, full_record
    from ops.dead_letters.redrive_forecast import forecast_redrive

    found = find_or_exit(settings, DeadLetterFilter(message_ids=frozenset({message_id})))[:1]
    if not found:
        fail(absence_of(message_id))

    (forecast,) = run_with_store(settings, lambda store: forecast_redrive(store, found, settings.owner_by_id))
    record = full_record(found[0], settings.namespace) | forecast
    print_result(record, as_json=as_json, table=print_dead_letter)


@dead_letters.command("export")
@filter_options
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="A new file; else standard output.")
@json_option
def export_dead_letters(*, output: Path | None, as_json: bool, **filters: Any) -> None:
    """Write dead letters, one JSON object a line, with all that is needed to send them again.

    Bodies may hold personal data: a file is for its owner alone, and one that is there already is left as it is.
    Example: provisioner dead-letters export --output letters.ndjson
    """
    settings = settings_or_exit()
    from ops.audit.identity_proof import local_proof
    from ops.audit.trail import AuditTrail
    from ops.dead_letters.actions import record_export
    from ops.dead_letters.queries import DeadLetterFilter, full_record
    from ops.text.printable import json_text

    found = find_or_exit(settings, DeadLetterFilter(**filters))

    proof, actor = local_proof(settings), default_actor()
    run_with_store(settings, lambda store: record_export(AuditTrail(store, actor, proof=proof), found))
    lines = "".join(f"{json_text(full_record(delivery, settings.namespace))}\n" for delivery in found)
    if output is None:
        click.echo(lines, nl=False)
        return
    try:
        with os.fdopen(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(lines)
    except FileExistsError:
        fail(f"{output} is there already; name another file", EXIT_FAILED)
    except OSError as error:
        fail(f"{output} cannot be written: {error.strerror}", EXIT_FAILED)
    result = {"dead_letters": len(found), "output": str(output)}
    text = f"{len(found)} dead letter{'' if len(found) == 1 else 's'} written to {output}"
    print_result(result, as_json=as_json, table=lambda _: click.echo(text))
