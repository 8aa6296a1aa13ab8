"""The schema's history: small, reversible steps, and the runner that applies them.

Knows PostgreSQL and Alembic; imports nothing of `vault_service`, save that `env` compares the
declared tables with the database. Steps are frozen once released: they spell their tables out.
"""
