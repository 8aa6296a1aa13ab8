"""SQLAlchemy Core tables and repositories of single-query primitives. The only home of SQL."""
