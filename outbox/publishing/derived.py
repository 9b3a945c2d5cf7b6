"""Writing derived data and publishing what follows from it, in one statement that does not wait for the disk."""

from collections.abc import Iterable, Mapping
from typing import Any

from outbox.database import prepared
from outbox.database.async_commit import ASYNC_COMMIT, own_transaction
from outbox.events import NewEvent
from outbox.publishing import headers as bound_headers
from outbox.publishing.publish import INSERT, as_rows

NOTHING = "SELECT NULL::bigint AS id WHERE false"
STATEMENT = """
WITH made AS ({made}), published AS ({insert})
SELECT * FROM made
"""
OF_ROWS = "AND aggregateid IN (SELECT id::text FROM made)"


def publish_derived(
    write: str | None, parameters: Mapping[str, Any], events: Iterable[NewEvent], *, of_rows: bool = False
) -> list[tuple[Any, ...]]:
    """Write data that can be derived again, and publish events, in one statement. It needs no transaction.

    For handlers: a crash of PostgreSQL can lose the last fraction of a second, latest commits first. The outcome of the
    handler's own event is recorded later, so it is lost too, and the event is delivered again. Inside a transaction of
    the caller, everything is stored with that transaction.

    `write`: an INSERT, UPDATE or DELETE with the named `parameters` that returns the `id`s of its rows as `id`; None
    writes nothing.
    `of_rows`: an event is published only if its aggregateid is the id of a row that `write` returns.

    Returns the rows that `write` returns. Raises UnknownEventType, TypeError and ValueError as `publish` does.
    """
    rows = as_rows(events, bound_headers.current())
    condition = f"WHERE {ASYNC_COMMIT} {OF_ROWS if of_rows else ''}"
    insert = INSERT.format(
        aggregateid="aggregateid", payload="payload", joined=condition, rows="%(published)s"
    )
    given = {**parameters, "published": rows, "own_transaction": own_transaction()}
    return prepared.rows(STATEMENT.format(made=write or NOTHING, insert=insert), given)
