"""Settling: record the outcome of a delivery.

Every statement names the claim's token. A worker whose lease expired, and whose event another worker may have
claimed, therefore changes nothing. Recording an outcome twice changes nothing either.
"""

import os
import socket
import traceback
from collections.abc import Collection
from typing import Any
from uuid import UUID

from outbox.conf import conf
from outbox.database import backoff, prepared
from outbox.database.async_commit import ASYNC_COMMIT, own_transaction
from outbox.database.channels import wake
from outbox.delivery.db_retry import retry_while_unavailable
from outbox.models import Status
from outbox.operations import scrub
from outbox.queue.ordering import unblock_next

# Only a claimed row has a token, so the statements have no condition on the status. With one, the planner may read a
# whole index of open events instead of looking up each id.

UNCLAIMED = "claim_token = NULL, relay = NULL, lease_expires_at = NULL, begun = NULL"

# DELIVERED also returns whether anything waits behind these events. If nothing does, no second statement is needed.
DELIVERED = f"""
WITH settled AS (
    UPDATE outbox_event
    SET status = 'delivered', delivered_at = clock_timestamp(), {UNCLAIMED}
    WHERE id = ANY(%(ids)s) AND claim_token = %(token)s AND {ASYNC_COMMIT}
    RETURNING id, aggregatetype, aggregateid
)
SELECT coalesce(array_agg(settled.id), '{{}}'), coalesce(bool_or(EXISTS (
    SELECT FROM outbox_event e
    WHERE e.aggregatetype = settled.aggregatetype AND e.aggregateid = settled.aggregateid
      AND e.status IN ('pending', 'claimed') AND e.id <> settled.id)), false)
FROM settled
"""

# The handler of an event that was scrubbed meanwhile may have begun before, and its error may quote what is gone.
FAILED = f"""
WITH failed AS (
    UPDATE outbox_event
    SET status = CASE WHEN %(final)s OR attempts >= %(max_attempts)s THEN 'dead' ELSE 'pending' END,
        available_at = {backoff.NEXT_ATTEMPT},
        last_error = CASE WHEN payload ? '{scrub.MARK}' THEN '' ELSE %(error)s END,
        batch_limit = CASE WHEN %(dangerous)s THEN 1 ELSE batch_limit END, {UNCLAIMED}
    WHERE id = ANY(%(ids)s) AND claim_token = %(token)s
    RETURNING id, attempts, status, payload ? '{scrub.MARK}' AS scrubbed
), recorded AS (
    INSERT INTO outbox_failure (event_id, attempt, error, traceback, worker)
    SELECT id, attempts, CASE WHEN scrubbed THEN '{scrub.MARK}' ELSE %(error)s END,
           CASE WHEN scrubbed THEN '' ELSE %(traceback)s END, %(worker)s
    FROM failed
)
SELECT id, status FROM failed
"""

# `limit`: how many of them are handled together next time; null leaves that as it was.
RETURNED = f"""
WITH returned AS (
    UPDATE outbox_event
    SET status = 'pending', attempts = attempts - 1, batch_limit = coalesce(%(limit)s, batch_limit),
        last_error = coalesce(%(error)s, last_error), {UNCLAIMED}
    WHERE id = ANY(%(ids)s) AND claim_token = %(token)s
    RETURNING id
)
SELECT count(*) FROM returned
"""

BEGUN = f"""
WITH begun AS (
    UPDATE outbox_event SET begun = %(size)s
    WHERE id = ANY(%(ids)s) AND claim_token = %(token)s AND {ASYNC_COMMIT}
    RETURNING id
)
SELECT count(*) FROM begun
"""

# The most characters of an error and of a traceback that are kept. Of a traceback the end is kept: it names the cause.
ERROR_LENGTH, TRACEBACK_LENGTH = 2_000, 20_000


def delivered(token: UUID, ids: Collection[int]) -> set[int]:
    """Record success. Returns the ids of the events that this claim still owned."""
    parameters = {"ids": list(ids), "token": token, "own_transaction": own_transaction()}
    [(settled, has_followers)] = _record(DELIVERED, parameters)
    if has_followers:
        _unblock_next(ids)
    return set(settled)


def failed(
    token: UUID,
    ids: Collection[int],
    error: BaseException,
    *,
    final: bool = False,
    dangerous: bool = False,
) -> dict[int, Status]:
    """Record a failed attempt. The event waits for its backoff; it is dead if `final` or if no attempt is left.

    `dangerous`: the event kept its worker busy until the timeout. It is a suspect from now on.
    Returns the new status of each event that this claim still owned, by id.
    """
    described = traceback.TracebackException.from_exception(error)
    parameters = {
        "ids": list(ids),
        "token": token,
        "final": final,
        "dangerous": dangerous,
        "max_attempts": conf.MAX_ATTEMPTS,
        "error": _storable(_described(error)[:ERROR_LENGTH]),
        "traceback": _storable("".join(described.format())[-TRACEBACK_LENGTH:]),
        "worker": f"{socket.gethostname()}:{os.getpid()}",
        **backoff.parameters(),
    }
    statuses = {id: Status(status) for id, status in _record(FAILED, parameters)}
    _unblock_next([id for id, status in statuses.items() if status == Status.DEAD])
    return statuses


def returned(token: UUID, ids: Collection[int]) -> None:
    """Return events to waiting without a try: the attempt does not count."""
    _return(token, ids)


def halved(token: UUID, ids: Collection[int], error: BaseException) -> None:
    """Return the events of an interrupted batch. No attempt counts, and half as many are handled together next time."""
    text = f"A batch of {len(ids)} events was interrupted: {_described(error)}"
    _return(token, ids, limit=(len(ids) + 1) // 2, error=_storable(text[:ERROR_LENGTH]))


def _return(token: UUID, ids: Collection[int], *, limit: int | None = None, error: str | None = None) -> None:
    [(count,)] = _record(RETURNED, {"ids": list(ids), "token": token, "limit": limit, "error": error})
    if count:
        wake()


def begun(token: UUID, ids: Collection[int]) -> bool:
    """Record that a worker begins these suspects now, together. Returns False if the claim does not own all of them."""
    parameters = {"ids": list(ids), "token": token, "size": len(ids), "own_transaction": own_transaction()}
    [(count,)] = _record(BEGUN, parameters)
    return bool(count == len(ids))


@retry_while_unavailable
def _record(statement: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    return prepared.rows(statement, parameters)


_unblock_next = retry_while_unavailable(unblock_next)


def _described(error: BaseException) -> str:
    return f"{type(error).__name__}: {traceback.TracebackException.from_exception(error)}"


def _storable(text: str) -> str:
    """PostgreSQL's text type allows neither NUL nor lone surrogates, which an error message may contain."""
    return text.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")
