"""PostgreSQL as the service sees it: the pool, the statements and the schema."""
