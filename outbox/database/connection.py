"""Parameters of connections outside of Django's: for LISTEN, heartbeats, and reading the stream."""

from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections

from outbox.conf import conf


def own_connection(alias: str = DEFAULT_DB_ALIAS) -> dict[str, Any]:
    """psycopg's parameters for a separate connection: those of Django's connection, with its `assume_role`.

    It may go through a transaction-mode pooler, so nothing of a session may be expected to last.
    """
    connection = connections[alias]
    parameters: dict[str, Any] = connection.get_connection_params()
    for name in ("cursor_factory", "context"):
        parameters.pop(name, None)
    if role := connection.settings_dict["OPTIONS"].get("assume_role"):
        escaped = role.replace("\\", "\\\\").replace(" ", "\\ ")
        parameters["options"] = f"{parameters.get('options', '')} -c role={escaped}".strip()
    return parameters


def direct_connection() -> dict[str, Any]:
    """psycopg's parameters for a connection that holds a session, in the database that OUTBOX_DIRECT_DATABASE names."""
    return own_connection(conf.DIRECT_DATABASE)
