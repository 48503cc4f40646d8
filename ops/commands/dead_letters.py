"""Dead letters: look at them, alone and in groups, and keep a copy. Looking leaves every one where it is."""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ops.terminal import FAILED, as_json, duration, fail, opened, run, settings_or_exit, show

if TYPE_CHECKING:
    from consumer.config import Settings
    from ops.looking import Sight, Wanted


def filters(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options by which dead letters are chosen."""
    for option in (
        click.option("--newer-than", "newer_seconds", callback=duration, help="Dead for 30m, 2h, 7d at most."),
        click.option("--older-than", "older_seconds", callback=duration, help="Dead for 30m, 2h, 7d at least."),
        click.option("--text", help="Only where the error or the body has this text."),
        click.option("--website", "website_id", type=click.IntRange(1), help="Only those about this website's id."),
        click.option("--type", help="Only messages of this type, such as website.created."),
        click.option("--reason", help="Only those dead-lettered for this x-reason."),
        click.option("--group", help="Only those of this group, as `list --grouped` names it."),
    ):
        command = option(command)
    return command


def asked(work: Awaitable[Any]) -> Any:
    """Run what asks for dead letters; a refusal is one line."""
    from ops.holding import InOtherHands
    from ops.redriving import Changed, NotLikeIt

    try:
        return run(work)
    except (InOtherHands, Changed, NotLikeIt) as no:
        fail(str(no))


def sight_of(settings: "Settings", wanted: "Wanted") -> "Sight":
    """Return the dead letters that are meant, each still where it is; tell of those that one look does not see."""
    from consumer.app import make_broker
    from ops.looking import look

    sight: Sight = asked(look(make_broker(settings), settings.namespace, wanted))
    if sight.beyond:
        click.echo(f"provisioner: {sight.beyond} more dead letters lie behind those that one look takes in", err=True)
    return sight


@click.group("dead-letters")
def dead_letters() -> None:
    """What could not be carried out."""


@dead_letters.command("list")
@filters
@click.option("--grouped", is_flag=True, help="In groups of one reason and one cause.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
@as_json
def list_dead_letters(*, limit: int, grouped: bool, as_json: bool, **chosen: Any) -> None:
    """List dead letters, the latest first. Looking leaves every one where it is.

    \b
    Examples:
      provisioner dead-letters list --reason poison --newer-than 2h
      provisioner dead-letters list --grouped
    """
    settings = settings_or_exit()
    from ops import letter_tables, looking

    found = [looking.told(letter) for letter in sight_of(settings, looking.Wanted(**chosen)).letters]
    if grouped:
        show(looking.grouped(found)[:limit], as_json=as_json, table=letter_tables.groups)
    else:
        show(found[:limit], as_json=as_json, table=lambda shown: letter_tables.letters(shown, len(found)))


@dead_letters.command("show")
@click.argument("message_id")
@as_json
def show_dead_letter(*, message_id: str, as_json: bool) -> None:
    """Show one dead letter whole: headers, body, what is wrong with it, and what it would come to if it were sent back.

    Example: provisioner dead-letters show 0b5c…
    """
    settings = settings_or_exit()
    from ops import letter_tables, looking
    from ops.reconsidering import reconsider

    letters = sight_of(settings, looking.Wanted(message_ids=frozenset({message_id}))).letters[:1]
    if not letters:
        fail(f"no such dead letter: {message_id}")

    async def work() -> dict[str, Any]:
        async with opened(settings) as store:
            (prospect,) = await reconsider(store, letters)
        return looking.whole(letters[0], settings.namespace) | prospect

    show(run(work()), as_json=as_json, table=letter_tables.letter)


@dead_letters.command("export")
@filters
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="A new file; else standard output.")
@as_json
def export_dead_letters(*, output: Path | None, as_json: bool, **chosen: Any) -> None:
    """Write dead letters whole, one JSON object a line, with all that is needed to send them again.

    Bodies may hold personal data: a file is for its owner alone, and one that is there already is left as it is.
    Example: provisioner dead-letters export --output letters.ndjson
    """
    settings = settings_or_exit()
    from ops.looking import Wanted, whole
    from ops.printable import json_text

    sight = sight_of(settings, Wanted(**chosen))
    lines = "".join(f"{json_text(whole(letter, settings.namespace))}\n" for letter in sight.letters)
    if output is None:
        click.echo(lines, nl=False)
        return
    try:
        with os.fdopen(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(lines)
    except FileExistsError:
        fail(f"{output} is there already; name another file", FAILED)
    except OSError as error:
        fail(f"{output} cannot be written: {error.strerror}", FAILED)
    done = {"dead_letters": len(sight.letters), "output": str(output)}
    told = f"{len(sight.letters)} dead letter{'' if len(sight.letters) == 1 else 's'} written to {output}"
    show(done, as_json=as_json, table=lambda _: click.echo(told))
