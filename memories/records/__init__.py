"""Memories in PostgreSQL: writes, reads, sync status, idempotent requests."""
