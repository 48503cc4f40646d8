"""Reads seed packs from disk into rows that can be inserted."""
