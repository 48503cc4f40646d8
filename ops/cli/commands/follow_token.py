"""Tokens by which browsers follow one website in the console's API."""

import os

import click

from ops.cli.options import json_option, website_id_type
from ops.cli.output import print_result
from ops.cli.runtime import Audited, console_errors


@click.command("follow-token")
@click.argument("website_id", type=website_id_type)
@click.option("--seconds", type=click.IntRange(1), default=3600, show_default=True, help="How long it is valid.")
@json_option
def follow_token(*, website_id: int, seconds: int, as_json: bool) -> None:
    """Make a token by which a browser may follow one website in the console's API, and no other.

    Example: provisioner follow-token 42 --seconds 3600
    """
    with console_errors():
        from ops.audit.log_file import audit_log
        from ops.console.access.follow_tokens import FollowTokens
        from ops.console.access.settings import read_console_settings

        # Not by `settings_or_exit`: this command works without the settings of database and broker.
        audit_log.configure(os.environ.get("PROVISIONER_AUDIT_LOG", ""))
        with Audited("follow-token", f"website {website_id}"):
            token, expires = FollowTokens(read_console_settings()).issue(website_id, seconds)
    print_result({"token": token, "expires": expires}, as_json=as_json, table=lambda made: click.echo(made["token"]))
