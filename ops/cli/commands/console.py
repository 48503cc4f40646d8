"""Serves the console."""

import click

from ops.cli.options import logs_as_json
from ops.cli.output import fail
from ops.cli.runtime import console_errors, settings_or_exit
from ops.errors import EXIT_USAGE


@click.command()
@logs_as_json
def console() -> None:
    """Serve the pages and the JSON API for ops and the signup system; docs/console.md has its settings.

    Example: PROVISIONER_CONSOLE_OPERATOR_TOKENS=ana=… provisioner console
    """
    settings = settings_or_exit()
    with console_errors():
        from ops.console.access.settings import load_console_settings

        console_settings = load_console_settings()
        from ops.console.app import run_console
    from consumer.monitoring.http_server import ListenError
    from consumer.telemetry.logs import configure_logs
    from ops.audit.log_file import STDERR, audit_log

    configure_logs(settings.log_level, settings.log_format)
    audit_log.configure(settings.audit_log or STDERR)
    try:
        run_console(settings, console_settings)
    except ListenError as error:
        fail(f"PROVISIONER_CONSOLE_{error.setting}: {error}", EXIT_USAGE)
