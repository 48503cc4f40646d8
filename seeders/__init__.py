"""Seed packs and seeders: what makes a guard true. Is lent a connection, never opens one."""

from seeders.loading.pack_library import PackLibrary
from seeders.pack import Pack
from seeders.pack_problems import PackError, PackProblem
from seeders.seeding import Fallback, Seeders
from seeders.step_bindings import BINDINGS, seeds
from seeders.website_to_seed import NamedOwner, Tenant

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
