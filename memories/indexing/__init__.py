"""Bringing the index to what PostgreSQL holds: sync, fill, rebuild, migrate, verify, repair."""
