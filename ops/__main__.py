"""`python -m ops` is `provisioner`, for where no script is on the path."""

from ops.cli.main import main

main(prog_name="provisioner")
