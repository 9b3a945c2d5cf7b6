"""A limit on the time that a request waits for PostgreSQL.

A frozen server still acknowledges TCP packets and keeps its connections, so no TCP timeout ends the wait for its
answer. Therefore another thread shuts the socket down, and the waiting thread gets a connection error.
"""

import os
import socket
from contextlib import suppress
from typing import Any

import psycopg
from django.db import DEFAULT_DB_ALIAS, connections


class Deadline:
    """The deadline of one request. The request's thread enters and leaves it; another thread calls `hang_up`."""

    def __init__(self) -> None:
        self._database: Any = None

    def __enter__(self) -> None:
        self._database = connections[DEFAULT_DB_ALIAS]

    def __exit__(self, *_: object) -> None:
        self._database = None

    def hang_up(self) -> None:
        """Shut down the database socket of the request, unless the request has ended."""
        connection = self._database and self._database.connection
        if connection and not connection.closed:
            with (
                suppress(OSError, psycopg.Error),
                socket.socket(fileno=os.dup(connection.pgconn.socket)) as line,
            ):
                line.shutdown(socket.SHUT_RDWR)
