"""Connections to PostgreSQL as they are made and used, with a pooler between or without."""
