"""Dead letters: send them back, as they are or edited, and throw them away. Each is recorded before it takes effect."""

import sys
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from ops.commands.dead_letters import asked, filters, sight_of
from ops.terminal import FAILED, USAGE, as_json, fail, not_asking, opened, run, settings_or_exit, show, sure, who

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from consumer.broker import Broker, Delivery
    from consumer.config import Settings
    from consumer.store import Store
    from ops.looking import Wanted

    Deed = Callable[[Broker, str, Wanted, Store], Awaitable[list[dict[str, Any]]]]

WHY = click.option("--why", "why", help="Why you do this; stands in the record of what people did.")
EVERY = click.option("--all", "every", is_flag=True, help="All of them, as far as what follows lets them.")
LIMIT = click.option("--limit", type=click.IntRange(1, 10_000), help="At most so many, the oldest first.")
DRY_RUN = click.option("--dry-run", is_flag=True, help="Send nothing; say what would become of them.")


@click.command("redrive")
@click.argument("message_ids", nargs=-1)
@EVERY
@filters
@LIMIT
@DRY_RUN
@WHY
@who
@not_asking
@as_json
def redrive_dead_letters(
    *,
    message_ids: tuple[str, ...],
    every: bool,
    limit: int | None,
    dry_run: bool,
    why: str | None,
    actor: str,
    yes: bool,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Send dead letters back to their queue, by MESSAGE_ID, or with --all: same id, same body.

    What was carried out before does nothing when it comes again.

    \b
    Examples:
      provisioner dead-letters redrive --all --reason unknown_website --dry-run
      provisioner dead-letters redrive --all --reason unknown_website --why "the rows are there now"
    """
    wanted = _wanted(message_ids, chosen, every=every)
    settings = settings_or_exit()
    letters = _seen(settings, wanted, limit)
    told = _forecast(settings, letters)
    from ops import letter_tables
    from ops.redriving import Ledger, redrive

    if dry_run:
        show(told, as_json=as_json, table=letter_tables.forecast)
        _miss(message_ids, told["letters"])
        return
    sure(f"send back dead letters, {told['summary']}", yes=yes or not letters)
    moved = _carry_out(
        settings, letters, lambda broker, name, these, store: redrive(broker, name, these, Ledger(store, actor, why))
    )
    show(moved, as_json=as_json, table=lambda sent: click.echo(f"dead letters sent back: {len(sent)}"))
    _miss(message_ids, moved)


@click.command("discard")
@click.argument("message_ids", nargs=-1)
@EVERY
@filters
@LIMIT
@click.option("--why", required=True, help="Why; stands in the record of what people did.")
@who
@not_asking
@as_json
def discard_dead_letters(
    *,
    message_ids: tuple[str, ...],
    every: bool,
    limit: int | None,
    why: str,
    actor: str,
    yes: bool,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Throw dead letters away, by MESSAGE_ID, or with --all. Each is recorded first; `export` keeps a copy.

    Example: provisioner dead-letters discard --all --reason poison --older-than 30d --why "nobody sends these any more"
    """
    if not why.strip():
        fail("--why: say why", USAGE)
    wanted = _wanted(message_ids, chosen, every=every)
    settings = settings_or_exit()
    letters = _seen(settings, wanted, limit)
    from ops.redriving import Ledger, discard

    sure(f"discard {len(letters)} dead letters: nothing brings them back", yes=yes or not letters)
    gone = _carry_out(
        settings, letters, lambda broker, name, these, store: discard(broker, name, these, Ledger(store, actor, why))
    )
    show(gone, as_json=as_json, table=lambda sent: click.echo(f"dead letters discarded: {len(sent)}"))
    _miss(message_ids, gone)


@click.command("edit")
@click.argument("message_id")
@click.option("--body", type=click.File("rb"), help="The new body, a file, or - for standard input.")
@DRY_RUN
@WHY
@who
@as_json
def edit_dead_letter(
    *, message_id: str, body: BinaryIO | None, dry_run: bool, why: str | None, actor: str, as_json: bool
) -> None:
    """Send a dead letter back with another body; without --body, your editor opens with the old one.

    The body must fulfil its contract and be about the same website. The copy has an id of its own, names its original.

    Example: provisioner dead-letters edit 0b5c… --body mended.json
    """
    settings = settings_or_exit()
    if body is None and not sys.stdin.isatty():
        fail("say --body FILE, or --body - for standard input", USAGE)
    from consumer.app import make_broker
    from ops import letter_tables
    from ops.looking import Wanted
    from ops.redriving import Ledger, edit

    letters = _seen(settings, Wanted(message_ids=frozenset({message_id})), None)
    if not letters:
        fail(f"no such dead letter: {message_id}")
    text, copy = _mended(settings, letters[-1], body.read() if body else None)
    if dry_run:
        show(_forecast(settings, [copy]), as_json=as_json, table=letter_tables.forecast)
        return

    async def work() -> dict[str, Any]:
        async with opened(settings) as store:
            return await edit(make_broker(settings), settings.namespace, message_id, text, Ledger(store, actor, why))

    try:
        done = asked(work())
    except KeyError:
        fail(f"no such dead letter any more: {message_id}")
    show(done, as_json=as_json, table=lambda sent: click.echo(f"sent back as message {sent['copy']}"))


def _wanted(message_ids: tuple[str, ...], chosen: dict[str, Any], *, every: bool) -> "Wanted":
    """Return who is meant, or end where nobody is named: nothing of this happens to all by mistake."""
    from ops.looking import Wanted

    if message_ids and every:
        fail("name message ids or say --all, not both", USAGE)
    if not message_ids and not every:
        fail("name message ids, or say --all (with --reason, --type, --website, … only those)", USAGE)
    return Wanted(message_ids=frozenset(message_ids), **chosen)


def _seen(settings: "Settings", wanted: "Wanted", limit: int | None) -> "list[Delivery]":
    """Return the letters that are meant, the oldest first; what comes later nobody has agreed to."""
    return sight_of(settings, wanted).letters[::-1][:limit]


def _forecast(settings: "Settings", letters: "list[Delivery]") -> dict[str, Any]:
    from ops.reconsidering import reconsider, summary

    async def work() -> dict[str, Any]:
        async with opened(settings) as store:
            told = await reconsider(store, letters)
        return {"summary": summary(told), "letters": told}

    told: dict[str, Any] = run(work())
    return told


def _carry_out(settings: "Settings", letters: "list[Delivery]", deed: "Deed") -> list[dict[str, Any]]:
    """Do it to those that were seen, and return what they were."""
    from consumer.app import make_broker
    from ops.looking import Wanted

    async def work() -> list[dict[str, Any]]:
        these = Wanted(message_ids=frozenset(str(letter.message_id) for letter in letters))
        async with opened(settings) as store:
            done: list[dict[str, Any]] = await deed(make_broker(settings), settings.namespace, these, store)
        return done

    done: list[dict[str, Any]] = asked(work()) if letters else []
    return done


def _mended(settings: "Settings", letter: "Delivery", given: bytes | None) -> "tuple[bytes, Delivery]":
    """Return the new body and the copy that it makes; whoever types it may mend it until it fits."""
    from consumer.topology import Topology
    from ops.redriving import NotLikeIt, as_edited, as_sent_back

    draft = letter.body.decode(errors="replace")
    while True:
        if given is None:
            typed = click.edit(draft, extension=".json")
            if typed is None or typed == draft:
                fail("nothing was changed, nothing was sent")
            draft = str(typed)
        body = given if given is not None else draft.encode(errors="replace")
        try:
            return body, as_sent_back(letter, as_edited(letter, body, Topology(settings.namespace)))
        except NotLikeIt as no:
            if given is not None:
                fail(str(no))
            click.echo(f"provisioner: {no}", err=True)
            if not click.confirm("Edit it again?", err=True):
                fail("nothing was sent")


def _miss(message_ids: tuple[str, ...], found: list[dict[str, Any]]) -> None:
    if absent := set(message_ids) - {letter["message_id"] for letter in found}:
        fail(f"no such dead letter: {', '.join(sorted(absent))}", FAILED)
