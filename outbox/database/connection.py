"""Parameters of connections outside of Django's pool: for LISTEN, and for reading the stream."""

from typing import Any

from django.db import connection


def own_connection() -> dict[str, Any]:
    """psycopg's parameters for a separate connection: those of Django's connection, with its `assume_role`."""
    parameters: dict[str, Any] = connection.get_connection_params()
    for name in ("cursor_factory", "context"):
        parameters.pop(name, None)
    if role := connection.settings_dict["OPTIONS"].get("assume_role"):
        escaped = role.replace("\\", "\\\\").replace(" ", "\\ ")
        parameters["options"] = f"{parameters.get('options', '')} -c role={escaped}".strip()
    return parameters
