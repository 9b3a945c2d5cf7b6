"""Connections that are opened outside of Django: for LISTEN, and for reading the stream."""

from typing import Any

from django.db import connection


def own_connection() -> dict[str, Any]:
    """The parameters of a connection of one's own to the database: Django's, and the role that it takes on."""
    given: dict[str, Any] = connection.get_connection_params()
    for name in ("cursor_factory", "context"):
        given.pop(name, None)
    if role := connection.settings_dict["OPTIONS"].get("assume_role"):
        escaped = role.replace("\\", "\\\\").replace(" ", "\\ ")
        given["options"] = f"{given.get('options', '')} -c role={escaped}".strip()
    return given
