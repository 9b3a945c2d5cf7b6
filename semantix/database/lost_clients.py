"""PostgreSQL ends the sessions of clients that vanished, so that their locks stop nobody else.

A machine that loses its power or its network says nothing to PostgreSQL. By default its sessions live on for two hours,
with the locks of their open transactions: another cluster would wait for them with the same events in hand.
"""

from typing import Any

from django.db.backends.signals import connection_created

# No transaction of this service does anything slow, so one that does nothing for so long has lost its client.
IDLE_IN_TRANSACTION_SECONDS = 12
# PostgreSQL asks a silent client after the first, then at intervals of the second, as often as the third: 11 s.
KEEPALIVES = {"tcp_keepalives_idle": 5, "tcp_keepalives_interval": 3, "tcp_keepalives_count": 2}
# What PostgreSQL sends must be acknowledged within so many seconds.
ACKNOWLEDGE_SECONDS = 12


def end_lost_clients() -> None:
    """Set these limits on each connection that this process, or one that it forks, opens from now on.

    Not through a transaction-mode pooler, which gives a session to many clients: there the pooler notices.
    """
    connection_created.connect(_limit, weak=False, dispatch_uid="semantix.lost_clients")


def _limit(connection: Any, **_: Any) -> None:
    if connection.settings_dict["DISABLE_SERVER_SIDE_CURSORS"]:
        return
    limits = {
        **KEEPALIVES,
        "tcp_user_timeout": ACKNOWLEDGE_SECONDS * 1000,
        "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION_SECONDS * 1000,
    }
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config(name, value, false) FROM unnest(%s::text[], %s::text[]) AS given (name, value)",
            [list(limits), [str(limit) for limit in limits.values()]],
        )
