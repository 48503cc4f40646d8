"""The command line `provisioner`. Parses, calls, prints; tables for people, --json for programs.

Exit codes: 0 done, 1 it was understood and did not succeed, 2 wrong usage or setting, 3 PostgreSQL or RabbitMQ away.
Errors are one line of text on standard error, with --json too.
"""

import sys
from typing import Any

import click

from ops.commands import (
    actions,
    completion,
    dead_letters,
    doctor,
    events,
    failures,
    letter_verbs,
    service,
    signups,
    websites,
    workers,
)
from ops.terminal import fail


class OneLine(click.Group):
    """Says in one line what is wrong with the usage; click itself takes four. Without a command it shows its help."""

    def main(self, *arguments: Any, **options: Any) -> Any:
        """Run, and end with the exit code."""
        try:
            sys.exit(super().main(*arguments, **options | {"standalone_mode": False}))
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            sys.exit(error.exit_code)
        except click.ClickException as error:
            context = error.ctx if isinstance(error, click.UsageError) else None
            where = f"; see `{context.command_path} --help`" if context else ""
            fail(" ".join(error.format_message().split()).removesuffix(".") + where, error.exit_code)
        except click.Abort:
            fail("aborted")


@click.group(cls=OneLine, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="website-provisioner")
def main() -> None:
    """Take signed-up websites from website.created to live.

    Settings come from the environment, prefix PROVISIONER_; the README lists them.
    """


for command in (
    service.init,
    service.worker,
    service.ready,
    signups.submit,
    websites.status,
    websites.list_websites,
    websites.explain,
    failures.failures,
    failures.requeue,
    websites.go_live,
    websites.suspend,
    websites.reactivate,
    websites.terminate,
    dead_letters.dead_letters,
    events.events,
    workers.list_workers,
    workers.pause,
    workers.resume,
    doctor.doctor,
    actions.actions,
    completion.completion,
    service.console,
    service.follow_token,
    service.demo,
):
    main.add_command(command)

for verb in (letter_verbs.redrive_dead_letters, letter_verbs.edit_dead_letter, letter_verbs.discard_dead_letters):
    dead_letters.dead_letters.add_command(verb)
