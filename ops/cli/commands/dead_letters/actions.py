"""Actions on dead letters: redriven, edited, discarded. Each is recorded before it takes effect."""

import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from ops.cli.commands.dead_letters.listing import (
    absence_of,
    exit_on_refusal,
    filter_options,
    find_or_exit,
    print_beyond,
)
from ops.cli.options import actor_option, json_option, yes_option
from ops.cli.output import confirm, fail, print_result, warn
from ops.cli.runtime import run_with_store, settings_or_exit
from ops.errors import EXIT_FAILED, EXIT_USAGE

if TYPE_CHECKING:
    from consumer.broker.protocol import Delivery
    from consumer.config import Settings

Action = Callable[..., Awaitable[list[dict[str, Any]]]]
"""`redrive` or `discard`."""

why_option = click.option("--why", help="Why; is recorded in the list of actions. With --all it must be said.")
SAY_WHY = "--why: say why; it is recorded in the list of actions"
dry_run_option = click.option("--dry-run", is_flag=True, help="Send nothing; print what they would come to.")


def selection_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add what `_selected_or_exit` takes: message ids, or --all with filters and a limit."""
    limit = click.option("--limit", type=click.IntRange(1, 10_000), help="At most so many, the oldest first.")
    every = click.option("--all", "every", is_flag=True, help="All of them, or those that the filters below select.")
    return click.argument("message_ids", nargs=-1)(every(filter_options(limit(command))))


@click.command("redrive")
@selection_options
@dry_run_option
@why_option
@actor_option
@yes_option
@json_option
def redrive_dead_letters(
    *, dry_run: bool, why: str | None, actor: str, yes: bool, as_json: bool, **selection: Any
) -> None:
    """Send dead letters back to their queue, by MESSAGE_ID, or with --all: same id, same body.

    What was carried out before does nothing when it comes again.

    \b
    Examples:
      provisioner dead-letters redrive --all --reason unknown_website --dry-run
      provisioner dead-letters redrive --all --reason unknown_website --why "the rows are there now"
    """
    if selection["every"] and not dry_run and not (why or "").strip():
        fail(SAY_WHY, EXIT_USAGE)
    settings, selected = _selected_or_exit(**selection)
    from ops.cli.tables.dead_letters import print_redrive_forecast
    from ops.dead_letters.actions import redrive
    from ops.dead_letters.redrive_forecast import redrive_summary

    forecast = {"summary": redrive_summary(selected), "letters": selected}
    if dry_run:
        print_result(forecast, as_json=as_json, table=print_redrive_forecast)
        _exit_if_missing(selection, selected)
        return
    confirm(f"send back dead letters, {forecast['summary']}", yes=yes or not selected)
    sent = _carry_out(settings, selected, redrive, actor, why)
    print_result(sent, as_json=as_json, table=lambda _: click.echo(f"dead letters sent back: {len(sent)}"))
    _exit_if_missing(selection, sent)


@click.command("discard")
@selection_options
@click.option("--why", required=True, help="Why; is recorded in the list of actions.")
@actor_option
@yes_option
@json_option
def discard_dead_letters(*, why: str, actor: str, yes: bool, as_json: bool, **selection: Any) -> None:
    """Throw dead letters away, by MESSAGE_ID, or with --all. Each is recorded first; `export` keeps a copy.

    Example: provisioner dead-letters discard --all --reason poison --older-than 30d --why "nobody sends these any more"
    """
    if not why.strip():
        fail(SAY_WHY, EXIT_USAGE)
    settings, selected = _selected_or_exit(**selection)
    from ops.dead_letters.actions import discard

    confirm(f"discard {len(selected)} dead letters: nothing brings them back", yes=yes or not selected)
    gone = _carry_out(settings, selected, discard, actor, why)
    print_result(gone, as_json=as_json, table=lambda _: click.echo(f"dead letters discarded: {len(gone)}"))
    _exit_if_missing(selection, gone)


@click.command("edit")
@click.argument("message_id")
@click.option("--body", type=click.File("rb"), help="The new body, a file, or - for standard input.")
@dry_run_option
@why_option
@actor_option
@json_option
def edit_dead_letter(
    *, message_id: str, body: BinaryIO | None, dry_run: bool, why: str | None, actor: str, as_json: bool
) -> None:
    """Send a dead letter back with another body; without --body, your editor opens with the old one.

    The body must fulfil its contract and be about the same website. The copy has an id of its own, names its original.

    Example: provisioner dead-letters edit 0b5c… --body corrected.json
    """
    settings = settings_or_exit()
    if body is None and not sys.stdin.isatty():
        fail("say --body FILE, or --body - for standard input", EXIT_USAGE)
    from consumer.factories import make_broker
    from ops.audit.identity_proof import local_proof
    from ops.audit.trail import AuditTrail
    from ops.cli.tables.dead_letters import print_redrive_forecast
    from ops.dead_letters.actions import edit
    from ops.dead_letters.queue_reader import DeadLetterFilter

    found = find_or_exit(settings, DeadLetterFilter(message_ids=frozenset({message_id})))
    if not found:
        fail(absence_of(message_id))
    new_body, copy = _edited_copy(settings, found[0], body.read() if body else None)
    if dry_run:
        print_result(_forecast_copy(settings, copy), as_json=as_json, table=print_redrive_forecast)
        return

    broker, namespace = make_broker(settings), settings.namespace
    try:
        with exit_on_refusal():
            sent = run_with_store(
                settings,
                lambda store: edit(
                    broker, namespace, message_id, new_body, AuditTrail(store, actor, why, local_proof(settings))
                ),
            )
    except KeyError:
        fail(absence_of(message_id))
    print_result(sent, as_json=as_json, table=lambda _: click.echo(f"sent back as message {sent['copy']}"))


def _selected_or_exit(
    *, message_ids: tuple[str, ...], every: bool, limit: int | None, **filters: Any
) -> "tuple[Settings, list[dict[str, Any]]]":
    """Return the settings and forecasts of the selected dead letters, the oldest first; later ones are not acted on.

    It ends where neither ids nor --all are given: nothing of this happens to all by mistake.
    """
    from ops.dead_letters.queue_reader import DeadLetterFilter

    if message_ids and every:
        fail("name message ids or say --all, not both", EXIT_USAGE)
    if not message_ids and not every:
        fail("name message ids, or say --all (with --reason, --type, --website, … only those)", EXIT_USAGE)
    settings = settings_or_exit()
    from consumer.factories import make_broker
    from ops.dead_letters.selection_forecast import SelectionForecast, forecast_selection

    broker, selection = make_broker(settings), DeadLetterFilter(message_ids=frozenset(message_ids), **filters)
    with exit_on_refusal():
        found: SelectionForecast = run_with_store(
            settings,
            lambda store: forecast_selection(store, broker, settings.namespace, selection, settings.owner_by_id),
        )
    print_beyond(found.beyond_limit)
    return settings, found.letters[::-1][:limit]


def _forecast_copy(settings: "Settings", copy: "Delivery") -> dict[str, Any]:
    from ops.dead_letters.redrive_forecast import forecast_redrive, redrive_summary

    forecasts = run_with_store(settings, lambda store: forecast_redrive(store, [copy], settings.owner_by_id))
    return {"summary": redrive_summary(forecasts), "letters": forecasts}


def _carry_out(
    settings: "Settings", selected: list[dict[str, Any]], action: Action, actor: str, why: str | None
) -> list[dict[str, Any]]:
    """Redrive or discard the dead letters that were selected, and return summaries of them."""
    from consumer.factories import make_broker
    from ops.audit.identity_proof import local_proof
    from ops.audit.trail import AuditTrail
    from ops.dead_letters.queue_reader import DeadLetterFilter

    if not selected:
        return []
    broker, namespace = make_broker(settings), settings.namespace
    selection = DeadLetterFilter(message_ids=frozenset(str(letter["message_id"]) for letter in selected))
    with exit_on_refusal():
        done: list[dict[str, Any]] = run_with_store(
            settings,
            lambda store: action(broker, namespace, selection, AuditTrail(store, actor, why, local_proof(settings))),
        )
    return done


def _edited_copy(settings: "Settings", delivery: "Delivery", given: bytes | None) -> "tuple[bytes, Delivery]":
    """Return the new body and the copy that it makes; who edits it by hand may correct it until it is accepted."""
    from consumer.broker.topology import Topology
    from ops.dead_letters.edited_copies import EditRefusedError, edited_message
    from ops.dead_letters.redriven_messages import as_redelivered

    draft = delivery.body.decode(errors="replace")
    while True:
        if given is None:
            typed = click.edit(draft, extension=".json")
            if typed is None or typed == draft:
                fail("nothing was changed, nothing was sent")
            draft = str(typed)
        body = given if given is not None else draft.encode(errors="replace")
        try:
            return body, as_redelivered(delivery, edited_message(delivery, body, Topology(settings.namespace)))
        except EditRefusedError as error:
            if given is not None:
                fail(str(error))
            warn(str(error))
            if not click.confirm("Edit it again?", err=True):
                fail("nothing was sent")


def _exit_if_missing(selection: dict[str, Any], found: list[dict[str, Any]]) -> None:
    from ops.dead_letters.queue_reader import spellings

    if absent := set(selection["message_ids"]).difference(*(spellings(each["message_id"]) for each in found)):
        fail(absence_of(*sorted(absent)), EXIT_FAILED)
