"""Settling: recording how a delivery ended. Every statement names the claim's token, so that a worker whose
lease ran out, and whose event is in other hands by now, changes nothing; nor does saying it twice."""

import os
import socket
import traceback
from collections.abc import Collection
from typing import Any
from uuid import UUID

from django.db import connection

from outbox.conf import conf
from outbox.database import backoff
from outbox.database.async_commit import ASYNC_COMMIT
from outbox.database.channels import wake
from outbox.delivery.db_retry import retry_while_away
from outbox.models import Status
from outbox.queue.ordering import unblock_next

# Only a claimed row has a token. To ask for the status besides would offer the planner the indexes of what is open,
# and it reads all of one rather than look up each id.

# Whether anything waits behind these events is asked along, to spare the second look where nothing does.
DELIVERED = f"""
WITH settled AS (
    UPDATE outbox_event
    SET status = 'delivered', delivered_at = clock_timestamp(), claim_token = NULL, lease_expires_at = NULL
    WHERE id = ANY(%(ids)s) AND claim_token = %(token)s AND {ASYNC_COMMIT}
    RETURNING id, aggregatetype, aggregateid
)
SELECT coalesce(array_agg(settled.id), '{{}}'), coalesce(bool_or(EXISTS (
    SELECT FROM outbox_event e
    WHERE e.aggregatetype = settled.aggregatetype AND e.aggregateid = settled.aggregateid
      AND e.status IN ('pending', 'claimed') AND e.id <> settled.id)), false)
FROM settled
"""

FAILED = f"""
WITH failed AS (
    UPDATE outbox_event
    SET status = CASE WHEN %(final)s OR attempts >= %(max_attempts)s THEN 'dead' ELSE 'pending' END,
        available_at = {backoff.NEXT_ATTEMPT},
        last_error = %(error)s, claim_token = NULL, lease_expires_at = NULL
    WHERE id = ANY(%(ids)s) AND claim_token = %(token)s
    RETURNING id, attempts, status
), recorded AS (
    INSERT INTO outbox_failure (event_id, attempt, error, traceback, worker)
    SELECT id, attempts, %(error)s, %(traceback)s, %(worker)s FROM failed
)
SELECT id, status FROM failed
"""

RETURNED = """
WITH returned AS (
    UPDATE outbox_event
    SET status = 'pending', attempts = attempts - 1, claim_token = NULL, lease_expires_at = NULL
    WHERE id = ANY(%(ids)s) AND claim_token = %(token)s
    RETURNING id
)
SELECT count(*) FROM returned
"""

# What of an error is kept, in characters: of a traceback the end, where the cause stands.
ERROR_LENGTH, TRACEBACK_LENGTH = 2_000, 20_000


def delivered(token: UUID, ids: Collection[int]) -> set[int]:
    """Record success; returns the ids of the events that were still this claim's."""
    [(ours, followed)] = _record(DELIVERED, {"ids": list(ids), "token": token})
    if followed:
        _unblock_next(ids)
    return set(ours)


def failed(
    token: UUID, ids: Collection[int], error: BaseException, *, final: bool = False
) -> dict[int, Status]:
    """Record a failed attempt: back to waiting with backoff, or dead when `final` or out of attempts.

    Returns the status that each event has now, if it was still this claim's.
    """
    told = traceback.TracebackException.from_exception(error)
    parameters = {
        "ids": list(ids),
        "token": token,
        "final": final,
        "max_attempts": conf.MAX_ATTEMPTS,
        "error": _storable(f"{type(error).__name__}: {told}"[:ERROR_LENGTH]),
        "traceback": _storable("".join(told.format())[-TRACEBACK_LENGTH:]),
        "worker": f"{socket.gethostname()}:{os.getpid()}",
        **backoff.parameters(),
    }
    statuses = {id: Status(status) for id, status in _record(FAILED, parameters)}
    _unblock_next([id for id, status in statuses.items() if status == Status.DEAD])
    return statuses


def returned(token: UUID, ids: Collection[int]) -> None:
    """Give events back untried: the attempt is not counted."""
    [(count,)] = _record(RETURNED, {"ids": list(ids), "token": token})
    if count:
        wake()


@retry_while_away
def _record(statement: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())


_unblock_next = retry_while_away(unblock_next)


def _storable(text: str) -> str:
    """Postgres' text holds neither NUL nor lone surrogates; an error message may hold both."""
    return text.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")
