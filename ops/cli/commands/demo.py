"""The demonstration, on servers of its own."""

import sys

import click

from ops.cli.options import json_option
from ops.cli.output import fail
from ops.cli.runtime import settings_or_exit

LONGEST_LINE = 500
"""Characters: enough for the beginning of a server's log."""


@click.command()
@click.option("--count", type=click.IntRange(10, 5000), default=200, show_default=True, help="How many websites.")
@click.option("--keep", is_flag=True, help="Keep its database and queues, to look around, until Enter or Ctrl-C.")
@click.option("--yes", is_flag=True, help="Use a RabbitMQ on another machine without asking.")
@json_option
def demo(*, count: int, keep: bool, yes: bool, as_json: bool) -> None:
    """Demonstrate the service on servers of its own: websites of all kinds, failures, their repair, a requeue.

    A RabbitMQ that answers at PROVISIONER_AMQP_URL or on this machine is used, in a namespace of its own, which is
    removed however the demo ends; what one left that was killed, the next removes.
    Example: provisioner demo --count 50
    """
    settings_or_exit(inprocess=True)
    from ops.cli.demo import run_demo
    from ops.sandbox.child_process import LocalServerError

    try:
        code = run_demo(count, keep=keep, yes=yes, as_json=as_json)
    except LocalServerError as error:
        fail(f"the demo's own server: {' '.join(str(error).split())}"[:LONGEST_LINE])
    sys.exit(code)
