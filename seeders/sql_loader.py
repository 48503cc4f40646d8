"""Reads the `.sql` files of any package here, one statement each, by name. In the lowest package that does I/O."""

from importlib import resources


def read_statements(package: str) -> dict[str, str]:
    """Return the statements of a package folder such as "seeders.sql", keyed by file name without its ending.

    Raises:
        ModuleNotFoundError: there is no such package.
    """
    parent, _, folder = package.rpartition(".")
    files = (resources.files(parent) / folder).iterdir()
    return {file.name.removesuffix(".sql"): file.read_text() for file in files if file.name.endswith(".sql")}
