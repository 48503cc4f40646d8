"""Dead letters: listed, grouped, shown, exported. Each stays in the queue."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Any

import click

from ops.cli.options import default_actor, json_option, parse_duration, website_id_type
from ops.cli.output import fail, print_result, warn
from ops.cli.runtime import run_async, run_with_store, settings_or_exit
from ops.errors import EXIT_FAILED

if TYPE_CHECKING:
    from consumer.broker.protocol import Delivery
    from consumer.config import Settings
    from ops.dead_letters.queue_reader import DeadLetterFilter, DeadLetterList


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
    from ops.dead_letters.edited_copies import EditRefusedError
    from ops.dead_letters.queue_lease import LeaseHeldError

    try:
        yield
    except (LeaseHeldError, SelectionChangedError, EditRefusedError) as error:
        fail(str(error))


def find_or_exit(settings: "Settings", selection: "DeadLetterFilter") -> "list[Delivery]":
    """Return the selected dead letters whole, the latest first."""
    from consumer.factories import make_broker
    from ops.dead_letters.queue_reader import find_dead_letters

    with exit_on_refusal():
        found: DeadLetterList = run_async(find_dead_letters(make_broker(settings), settings.namespace, selection))
    print_beyond(found.beyond_limit)
    return found.deliveries


def print_beyond(beyond_limit: int) -> None:
    """Print how many dead letters the queue has beyond the limit of a lease."""
    if beyond_limit:
        warn(f"{beyond_limit} more are beyond the limit of one lease; redrive or discard these first")


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
    from consumer.factories import make_broker
    from ops.cli.tables.dead_letters import print_dead_letters, print_groups
    from ops.dead_letters.listing import DeadLetterListing, read_listing
    from ops.dead_letters.queue_reader import DeadLetterFilter

    broker, selection, read_by = make_broker(settings), DeadLetterFilter(**filters), default_actor()
    with exit_on_refusal():
        found: DeadLetterListing = run_with_store(
            settings,
            lambda store: read_listing(
                store, broker, settings.namespace, selection, read_by=read_by, limit=limit, grouped=grouped
            ),
        )
    reading = found.reading
    print_beyond(reading.beyond_limit)
    if reading.note:
        warn(f"as read at {reading.began_at:%Y-%m-%d %H:%M:%S} UTC by {reading.read_by}: {reading.note}")
    if grouped:
        print_result(found.groups[:limit], as_json=as_json, table=lambda shown: print_groups(shown, reading))
    else:
        total = found.total
        print_result(found.letters, as_json=as_json, table=lambda shown: print_dead_letters(shown, total, reading))


@dead_letters.command("show")
@click.argument("message_id")
@json_option
def show_dead_letter(*, message_id: str, as_json: bool) -> None:
    """Show one dead letter: headers, body, what is wrong with it, and what it would come to if it were sent back.

    Example: provisioner dead-letters show 0b5c…
    """
    settings = settings_or_exit()
    from ops.cli.tables.dead_letters import print_dead_letter
    from ops.dead_letters.queue_reader import DeadLetterFilter, full_record
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
    from consumer.factories import make_broker
    from ops.audit.identity_proof import local_proof
    from ops.audit.trail import AuditTrail
    from ops.dead_letters.actions import write_export
    from ops.dead_letters.queue_reader import DeadLetterFilter

    broker, namespace, selection = make_broker(settings), settings.namespace, DeadLetterFilter(**filters)
    proof, actor = local_proof(settings), default_actor()
    with _new_file(output) as file:
        with exit_on_refusal():
            count, beyond_limit = run_with_store(
                settings,
                lambda store: write_export(broker, namespace, selection, AuditTrail(store, actor, proof=proof), file),
            )
        if output is None:
            file.seek(0)
            for line in file:
                click.echo(line, nl=False)
    print_beyond(beyond_limit)
    if output is not None:
        result = {"dead_letters": count, "output": str(output)}
        text = f"{count} dead letter{'' if count == 1 else 's'} written to {output}"
        print_result(result, as_json=as_json, table=lambda _: click.echo(text))


@contextmanager
def _new_file(path: Path | None) -> "Iterator[IO[bytes]]":
    """Yield a new file that is its owner's alone, or one without a name; the new one is deleted where this fails."""
    if path is None:
        with TemporaryFile() as file:
            yield file
        return
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        fail(f"{path} is there already; name another file", EXIT_FAILED)
    except OSError as error:
        fail(f"{path} cannot be written: {error.strerror}", EXIT_FAILED)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            yield file
    except OSError as error:
        path.unlink(missing_ok=True)
        fail(f"{path} cannot be written: {error.strerror}", EXIT_FAILED)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
