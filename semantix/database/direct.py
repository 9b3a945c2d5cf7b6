"""The connection past a transaction-mode pooler, for commands that need a session or a long transaction."""

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connection


def connect_directly() -> None:
    """Have Django's connection of this process go to DATABASE_DIRECT_URL from now on, where that is set.

    Migrations lock tables for long, and `restore` counts the sessions of others: a pooler would stand between.
    """
    if settings.OUTBOX_DIRECT_DATABASE != DEFAULT_DB_ALIAS:
        connection.close()
        connection.settings_dict.update(settings.DATABASES[settings.OUTBOX_DIRECT_DATABASE])
