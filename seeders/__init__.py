"""Seed packs and seeders: what makes a guard true. Is handed a connection, never opens one."""

from seeders.inserts import Tenant
from seeders.library import PackLibrary
from seeders.pack import Pack, PackError
from seeders.seeding import Fallback, Seeders

__all__ = ["Fallback", "Pack", "PackError", "PackLibrary", "Seeders", "Tenant"]
