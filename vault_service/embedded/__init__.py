"""Starts a private PostgreSQL and a private OpenBao for a first run and for tests."""
