"""Asynchronous commit, for the outbox's writes that need not wait for the disk.

Claims and successes use it. A crash of PostgreSQL can lose only the last fraction of a second, in the order in which
it was written: if a success is kept, then everything that its handler wrote before is kept too. A lost success or a
lost claim means that the event is delivered once more, which every handler must tolerate. The old token then settles
nothing. A failed attempt is history, so its statement waits for the disk.

The setting holds until the end of a transaction, so it is only for a transaction of the outbox's own: inside somebody
else's transaction, their commit would not wait for the disk either.
"""

from django.db import connection

# A condition that is always true. If the parameter `own_transaction` is true, the transaction commits without waiting
# for the disk.
ASYNC_COMMIT = """(
        SELECT CASE WHEN %(own_transaction)s THEN set_config('synchronous_commit', 'off', true) ELSE '' END
    ) IS NOT NULL"""


def own_transaction() -> bool:
    """Whether the next statement is a transaction of its own on Django's connection."""
    return not connection.in_atomic_block and connection.get_autocommit()
