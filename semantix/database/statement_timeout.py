"""A time limit for the SQL statements of the web server.

When a request gives up its connection, PostgreSQL goes on with its statement. With `statement_timeout` it stops by
itself, and the client gets an answer that says so.
"""

from typing import Any

from django.db.backends.signals import connection_created


def limit_statements(seconds: float) -> None:
    """Set `statement_timeout` on each connection that this process opens from now on. 0 sets none.

    A transaction-mode pooler gives a session to many clients, so the setting would reach the wrong ones: there it
    has to be set for the database role.
    """

    def limit(connection: Any, **_: Any) -> None:
        if not connection.settings_dict["DISABLE_SERVER_SIDE_CURSORS"]:
            with connection.cursor() as cursor:
                cursor.execute("SELECT set_config('statement_timeout', %s, false)", [f"{seconds * 1000:.0f}"])

    if seconds:
        connection_created.connect(limit, weak=False, dispatch_uid="semantix.statement_timeout")
