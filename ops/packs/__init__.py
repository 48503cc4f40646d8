"""Seed packs: what there is, what is in one, and what is wrong with it."""
