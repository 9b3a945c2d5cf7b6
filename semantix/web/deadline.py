"""How long a request may wait for PostgreSQL.

A server that is frozen, not gone, takes what is sent and keeps its connections: no timeout of TCP ends the wait for its
answer. So the connection is hung up from outside, and the thread that waits learns that it is lost.
"""

import os
import socket
from contextlib import suppress
from typing import Any

import psycopg
from django.db import DEFAULT_DB_ALIAS, connections


class Deadline:
    """Of one request. It begins and ends on the request's thread; `hang_up` is called from another."""

    def __init__(self) -> None:
        self._database: Any = None

    def __enter__(self) -> None:
        self._database = connections[DEFAULT_DB_ALIAS]

    def __exit__(self, *_: object) -> None:
        self._database = None

    def hang_up(self) -> None:
        """End the wait of a request that has not ended."""
        connection = self._database and self._database.connection
        if connection and not connection.closed:
            with (
                suppress(OSError, psycopg.Error),
                socket.socket(fileno=os.dup(connection.pgconn.socket)) as line,
            ):
                line.shutdown(socket.SHUT_RDWR)
