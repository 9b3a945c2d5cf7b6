"""Django's backend for PostgreSQL, which looks whether a kept connection was ended instead of asking the server.

Django asks before each request and task, and waits for the answer: as long as for one of their own statements.
"""

import select

from django.db.backends.postgresql import base
from psycopg.pq import TransactionStatus


class DatabaseWrapper(base.DatabaseWrapper):
    def is_usable(self) -> bool:
        # Of one that failed a look does not tell enough.
        return (not self.errors_occurred and self._is_at_rest()) or super().is_usable()

    def _is_at_rest(self) -> bool:
        """Nothing was begun, and nothing has arrived: a server that ends a connection says so, or its kernel does,
        and one that is gone without a word is noticed by keepalives."""
        connection = self.connection
        if connection is None or connection.closed:
            return False
        if connection.pgconn.transaction_status != TransactionStatus.IDLE:
            return False
        arrivals = select.poll()
        arrivals.register(connection.pgconn.socket, select.POLLIN)
        return not arrivals.poll(0)
