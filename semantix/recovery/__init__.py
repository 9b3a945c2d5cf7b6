"""Backup and restore of the database, and what has to be done after a restore."""
