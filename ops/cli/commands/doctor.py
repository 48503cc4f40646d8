"""The doctor: checks everything and prints its findings."""

import os
import sys

import click

from ops.cli.options import json_option
from ops.cli.output import print_result, progress_line
from ops.cli.runtime import run_with_store, settings_or_exit
from ops.errors import EXIT_AWAY, EXIT_FAILED


@click.command()
@click.option("--full", is_flag=True, help="Check every website, not only the newest 10000; may take minutes.")
@json_option
def doctor(*, full: bool, as_json: bool) -> None:
    """Check settings, database, broker, workers and websites: what is wrong, and what to do next. Changes nothing.

    Exit code 0 where nothing failed (warnings are printed), 1 where something did, 3 where a server is away. What AMQP
    does not tell is reported as unknown. Example: provisioner doctor --json
    """
    settings = settings_or_exit()
    from consumer.factories import make_broker
    from ops.cli.tables.doctor import print_doctor_report
    from ops.doctor.run import run_checks

    broker = make_broker(settings)
    with progress_line() as progress:
        report = run_with_store(
            settings, lambda store: run_checks(settings, store, broker, os.environ, full=full, progress=progress)
        )
    print_result(report, as_json=as_json, table=print_doctor_report)
    if report["away"]:
        sys.exit(EXIT_AWAY)
    if report["counts"]["fail"]:
        sys.exit(EXIT_FAILED)
