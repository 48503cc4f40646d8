"""The commands that people send to websites, one for each verb of the registry."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from ops.cli.options import actor_option, json_option, reason_option, yes_option
from ops.cli.output import confirm, print_result
from ops.cli.runtime import run_with_store, settings_or_exit, website_ids_or_exit
from ops.errors import EXIT_FAILED
from ops.websites.verb_registry import VERBS, WITH_OWN_COMMAND, Verb

if TYPE_CHECKING:
    from consumer.store.database import Store


def _verb_command(verb: Verb) -> click.Command:
    """Return the command of a verb of the registry."""

    @click.command(
        verb.name, help=f"{verb.help}\n\nExample: provisioner {verb.name} sunny-meadow-42 --reason 'asked by phone'"
    )
    @click.argument("websites", nargs=-1, required=True)
    @reason_option
    @actor_option
    @json_option
    def command(
        *, websites: tuple[str, ...], reason: str | None, actor: str, as_json: bool, yes: bool = not verb.destroys
    ) -> None:
        confirm(f"{verb.name} {', '.join(websites)}: nothing brings them back", yes=yes)
        _carry_out(verb, websites, reason, actor, as_json=as_json)

    return yes_option(command) if verb.destroys else command


VERB_COMMANDS = tuple(_verb_command(verb) for verb in VERBS if verb.name not in WITH_OWN_COMMAND)
"""A command for each verb but those that have a module of their own: `start`, `requeue`."""


def _carry_out(verb: Verb, websites: Sequence[str], reason: str | None, actor: str, *, as_json: bool) -> None:
    settings = settings_or_exit()
    from consumer.factories import make_broker
    from ops.audit.identity_proof import local_proof
    from ops.cli.tables.websites import print_sent
    from ops.websites import verb_execution

    async def work(store: "Store") -> list[dict[str, Any]]:
        ids = await website_ids_or_exit(store, websites, "; nothing was sent")
        broker = make_broker(settings)
        return await verb_execution.carry_out(
            store, broker, settings.namespace, verb, ids, actor=actor, reason=reason, proof=local_proof(settings)
        )

    results = run_with_store(settings, work)
    print_result(results, as_json=as_json, table=lambda found: print_sent(verb.name, found))
    if any(not result["sent"] for result in results):
        sys.exit(EXIT_FAILED)
