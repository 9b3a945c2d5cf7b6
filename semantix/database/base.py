"""Django's PostgreSQL backend with a cheaper health check for kept connections.

Django sends a query before each request and task and waits for the answer, which takes as long as a statement of the
request itself. This backend looks at the socket instead and sends nothing.
"""

import select

from django.db.backends.postgresql import base
from psycopg.pq import TransactionStatus


class DatabaseWrapper(base.DatabaseWrapper):
    def is_usable(self) -> bool:
        # After an error the state of the socket does not tell enough, so the server is asked.
        return (not self.errors_occurred and self._is_at_rest()) or super().is_usable()

    def _is_at_rest(self) -> bool:
        """Whether no transaction is open and no data waits on the socket.

        A server that ends a connection sends data or its kernel closes the socket; keepalives notice a server that
        vanished.
        """
        connection = self.connection
        if connection is None or connection.closed:
            return False
        if connection.pgconn.transaction_status != TransactionStatus.IDLE:
            return False
        arrivals = select.poll()
        arrivals.register(connection.pgconn.socket, select.POLLIN)
        return not arrivals.poll(0)
