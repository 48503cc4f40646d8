"""The command line `provisioner`: the group of all commands, and how wrong usage is reported.

Exit codes: 0 done, 1 it was understood and did not succeed, 2 wrong usage or setting, 3 PostgreSQL or RabbitMQ away or
not able to. Every error is one line of text on standard error, with --json too; this is the place where it is printed.
"""

import sys
import traceback
from typing import Any, NoReturn

import click

from ops.cli.commands import (
    completion,
    console,
    contracts,
    demo,
    doctor,
    event_replay,
    follow_token,
    init,
    operator_actions,
    overview,
    packs,
    workers,
)
from ops.cli.commands.dead_letters import actions as dead_letter_actions
from ops.cli.commands.dead_letters import listing as dead_letters
from ops.cli.commands.websites import erase, failures, prune, queries, requeue, start, submit, verbs
from ops.cli.output import fail
from ops.cli.safe_streams import close_output, prepare_streams
from ops.errors import EXIT_INTERRUPTED, OutputError


class OneLineErrors(click.Group):
    """A command group that reports every error in one line; click takes four, Python a traceback.

    Without a command it shows its help.
    """

    debug = False
    """Whether the traceback of an error is printed above its line."""
    invoked = ""
    """The name of the command that was run; empty before."""

    def main(self, *arguments: Any, **options: Any) -> Any:
        """Run, and end with the exit code."""
        prepare_streams()
        try:
            try:
                sys.exit(super().main(*arguments, **options | {"standalone_mode": False}))
            finally:
                sys.stdout.flush()
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            sys.exit(error.exit_code)
        except click.ClickException as error:
            context = error.ctx if isinstance(error, click.UsageError) else None
            where = f"; see `{context.command_path} --help`" if context else ""
            fail(" ".join(error.format_message().split()).removesuffix(".") + where, error.exit_code)
        except click.Abort:
            fail("aborted")
        except Exception as error:
            self._end(error)
        except BaseException as error:
            # A client library that loses its connection may cancel whoever waits. Without asyncio nobody is.
            asyncio = sys.modules.get("asyncio")
            if asyncio is None or not isinstance(error, asyncio.CancelledError):
                raise
            self._end(error)

    def invoke(self, context: click.Context) -> Any:
        """Run the command that was named; click would print an empty line for a Ctrl-C."""
        try:
            return super().invoke(context)
        except KeyboardInterrupt:
            fail("interrupted", EXIT_INTERRUPTED)
        finally:
            self.invoked = context.invoked_subcommand or ""

    def _end(self, error: BaseException) -> NoReturn:
        """Report an error in one line, and end with its exit code."""
        from ops.audit.log_file import audit_log, is_denial
        from ops.errors.reports import report_error

        if is_denial(error) and not audit_log.written:
            self._log_denied(error)
        if self.debug:
            traceback.print_exception(error)
        if isinstance(error, OutputError):
            close_output()
        report = report_error(error)
        fail(report.text, report.exit_code)

    def _log_denied(self, error: BaseException) -> None:
        """Write the audit line of a command that PostgreSQL or RabbitMQ denied before any action had begun."""
        from ops.audit.identity_proof import local_proof
        from ops.audit.log_file import audit_log
        from ops.errors.reports import report_error

        proof = local_proof()
        audit_log.write(
            self.invoked, "failure", actor=f"cli:{proof.user}", proof=proof, denied=True, why=report_error(error).text
        )


def _set_debug(context: click.Context, _parameter: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's
    if isinstance(context.command, OneLineErrors):
        context.command.debug = value


@click.group(cls=OneLineErrors, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="website-provisioner")
@click.option(
    "--debug", is_flag=True, callback=_set_debug, expose_value=False, help="Print the traceback of an error, too."
)
def main() -> None:
    """Take signed-up websites from website.created to live.

    Settings come from the environment, prefix PROVISIONER_; the README lists them.
    """


for command in (
    init.init,
    workers.worker,
    workers.ready,
    submit.submit,
    queries.status,
    queries.list_websites,
    queries.explain,
    failures.failures,
    requeue.requeue,
    start.start,
    *verbs.VERB_COMMANDS,
    erase.erase,
    prune.prune,
    dead_letters.dead_letters,
    event_replay.events,
    workers.list_workers,
    workers.pause,
    workers.resume,
    overview.overview,
    doctor.doctor,
    operator_actions.actions,
    packs.packs,
    contracts.contracts,
    completion.completion,
    console.console,
    follow_token.follow_token,
    demo.demo,
):
    main.add_command(command)

for verb in (
    dead_letter_actions.redrive_dead_letters,
    dead_letter_actions.edit_dead_letter,
    dead_letter_actions.discard_dead_letters,
):
    dead_letters.dead_letters.add_command(verb)
