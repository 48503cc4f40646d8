"""Seed packs and seeders: what makes a guard true. Is lent a connection, never opens one."""

from seeders.loading.pack_library import PackLibrary
from seeders.pack import Pack
from seeders.pack_problems import PackError, PackProblem
from seeders.seeded_website import NamedOwner, Tenant
from seeders.seeding import Fallback, Seeders
from seeders.step_bindings import BINDINGS, seeds

__all__ = [
    "BINDINGS",
    "Fallback",
    "NamedOwner",
    "Pack",
    "PackError",
    "PackLibrary",
    "PackProblem",
    "Seeders",
    "Tenant",
    "seeds",
]
