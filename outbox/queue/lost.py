"""Events whose worker or relay died: they wait again, and an event that kills its worker is found among the others.

What is known of a lost event decides:

- It was not begun. Its attempt is returned, and it is claimed again as if nothing had happened.
- It was handled together with others. Any of them may be at fault, so no attempt counts. They become suspects: next
  time at most half as many are handled together. So one deadly event in a batch of 500 is found in nine tries, and the
  others are delivered on the way.
- It was handled alone. The attempt counts, and the event is dead after OUTBOX_MAX_ATTEMPTS.
- It is not known whether it was begun, because all processes of its cluster died. No attempt counts. It becomes a
  suspect: its next worker records in the database that it begins the task, so that the next loss is a known one.
"""

from collections.abc import Collection
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection

from outbox.conf import conf
from outbox.database import backoff
from outbox.models import Relay, Status
from outbox.queue.ordering import unblock_next

# `size`: how many events the worker had begun together; null if it is not known whether it had begun them.
FREE = f"""
WITH lost AS (
    SELECT id, {{size}} AS size FROM outbox_event WHERE status = 'claimed' AND {{which}}
    ORDER BY lease_expires_at, id LIMIT 1000 FOR UPDATE SKIP LOCKED
), freed AS (
    UPDATE outbox_event e SET
        status = CASE WHEN lost.size = 1 AND attempts >= %(max_attempts)s THEN 'dead' ELSE 'pending' END,
        attempts = CASE WHEN lost.size = 1 THEN attempts ELSE attempts - 1 END,
        available_at = CASE WHEN lost.size = 1 THEN {backoff.NEXT_ATTEMPT} ELSE available_at END,
        batch_limit = coalesce((lost.size + 1) / 2, batch_limit, %(batch_size)s),
        last_error = CASE
            WHEN lost.size = 1 THEN %(reason)s
            WHEN lost.size > 1 THEN format(%(group_reason)s, lost.size) ELSE last_error END,
        begun = NULL, claim_token = NULL, relay = NULL, lease_expires_at = NULL
    FROM lost WHERE e.id = lost.id
    RETURNING e.id, e.attempts, e.status, lost.size
), recorded AS (
    INSERT INTO outbox_failure (event_id, attempt, error, traceback, worker)
    SELECT id, attempts, %(reason)s, '', %(worker)s FROM freed WHERE size = 1
)
SELECT id, status FROM freed
"""
# Whether the worker lives is not known, so each event goes alone and its attempt counts.
FREE_EXPIRED = FREE.format(size="1", which="lease_expires_at < statement_timestamp()")
FREE_OF_WORKER = FREE.format(size="%(size)s::integer", which="id = ANY(%(ids)s) AND claim_token = %(token)s")
FREE_OF_RELAYS = FREE.format(size="begun", which="relay = ANY(%(relays)s)")
FREE_ALL = FREE.format(size="begun", which="true")

# Events of a living relay that no task carries: the process that claimed them died before it handed them out.
RETURN_UNASSIGNED = """
WITH unassigned AS (
    SELECT id FROM outbox_event e WHERE status = 'claimed' AND relay = %(relay)s AND NOT EXISTS (
        SELECT FROM unnest(%(tokens)s::uuid[], %(ids)s::bigint[]) AS assigned (token, id)
        WHERE assigned.token = e.claim_token AND assigned.id = e.id)
    ORDER BY lease_expires_at, id FOR UPDATE OF e SKIP LOCKED
)
UPDATE outbox_event e SET status = 'pending', attempts = attempts - 1,
    begun = NULL, claim_token = NULL, relay = NULL, lease_expires_at = NULL
FROM unassigned WHERE e.id = unassigned.id
"""

LEASE_EXPIRED = "The lease expired: the worker hung, or lost its machine, before it could record an outcome."
WHILE_HANDLING = "while it handled this event, before it could record an outcome."
TOGETHER = "while it handled %s events together. They are tried again in halves."


class Loss(NamedTuple):
    """Who was lost, and how, as the beginning of a sentence: "Worker web-1:123 was killed (signal 9)"."""

    what: str
    # What is kept as the worker of the failure: host:pid.
    worker: str = "lost"
    # A sentence that follows: what to look for.
    advice: str = ""

    @property
    def alone(self) -> str:
        return f"{self.what} {WHILE_HANDLING}{self.advice and ' '}{self.advice}"

    @property
    def together(self) -> str:
        """The text for a group, with a place for its size as SQL's format() takes it."""
        return f"{self.what.replace('%', '%%')} {TOGETHER}"


UNKNOWN_WORKER = Loss("The worker ended")
UNKNOWN_CLUSTER = Loss("The cluster ended")


def reclaim_expired() -> int:
    """Free the events whose lease expired. Returns how many there were, at most 1,000."""
    return len(_free(FREE_EXPIRED, reason=LEASE_EXPIRED))


def reclaim_from_worker(token: UUID, ids: Collection[int], loss: Loss = UNKNOWN_WORKER) -> int:
    """Free events of a claim that their worker handled together when it died. Returns how many there were."""
    return len(_free(FREE_OF_WORKER, loss, token=token, ids=list(ids), size=len(ids)))


def reclaim_from_relays(relays: Collection[UUID]) -> int:
    """Free all events that these dead relays had claimed. Returns how many there were."""
    names = {relay.id: str(relay) for relay in Relay.objects.filter(id__in=relays)}
    count = 0
    for relay in relays:
        name = names.get(relay)
        loss = Loss(f"Cluster {name} was killed, or lost its machine,", name) if name else UNKNOWN_CLUSTER
        while freed := _free(FREE_OF_RELAYS, loss, relays=[relay]):
            count += len(freed)
    return count


def return_unassigned(relay: UUID, assigned: Collection[tuple[UUID, int]]) -> int:
    """Return the events that this relay claimed and that no task carries. Returns how many there were.

    `assigned`: the events that tasks carry, each by the token of its claim and its id.
    """
    parameters: dict[str, Any] = {
        "relay": relay,
        "tokens": [token for token, _ in assigned],
        "ids": [id for _, id in assigned],
    }
    with connection.cursor() as cursor:
        cursor.execute(RETURN_UNASSIGNED, parameters)
        return int(cursor.rowcount)


def reclaim_all() -> int:
    """Free all claimed events. Only for a caller that knows that no worker lives, as before the only cluster starts.

    Returns how many there were.
    """
    count = 0
    while freed := _free(FREE_ALL, UNKNOWN_CLUSTER):
        count += len(freed)
    return count


def _free(statement: str, loss: Loss = UNKNOWN_WORKER, *, reason: str = "", **which: Any) -> list[int]:
    parameters: dict[str, Any] = {
        "max_attempts": conf.MAX_ATTEMPTS,
        "batch_size": conf.BATCH_SIZE,
        "reason": reason or loss.alone,
        "group_reason": loss.together,
        "worker": loss.worker,
        **backoff.parameters(),
        **which,
    }
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        rows = cursor.fetchall()
    unblock_next([id for id, status in rows if status == Status.DEAD])
    return [id for id, _ in rows]
