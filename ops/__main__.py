"""`python -m ops` is `provisioner`: the way in where no script is on the path."""

from ops.cli import main

main(prog_name="provisioner")
