"""Seed packs and seeders: what makes a guard true. Is lent a connection, never opens one."""
