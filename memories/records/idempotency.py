"""Requests under an Idempotency-Key: the work is done once, and a repeated request gets the first answer.

An advisory lock claims the key for the transaction that does the work, and the same transaction stores the answer.
So a request that dies leaves nothing behind, and a request that arrives meanwhile is refused at once.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import NamedTuple

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models.functions import Now

from memories.models import IdempotentAnswer, MemoryLog
from memories.records.constraints import violates
from memories.tenants import Tenant
from outbox.database import prepared

# How many expired answers one statement deletes.
BATCH = 1000


class IdempotentRequest(NamedTuple):
    """A request and its key. Two requests that ask for the same have the same `fingerprint`."""

    tenant: Tenant
    key: str
    fingerprint: str


class Answer(NamedTuple):
    """The answer to a request: HTTP status, JSON body, headers, and the memory that the body is, if it is one."""

    status: int
    body: str
    headers: Mapping[str, str]
    memory_id: int | None = None


class InFlight(Exception):
    """Another request with this key is in progress."""


class KeyReused(Exception):
    """The key belongs to another, earlier request."""


def run_once(request: IdempotentRequest, write: Callable[[], Answer]) -> tuple[Answer, bool]:
    """Run `write` unless a request with this key succeeded before.

    Returns the answer, and True when it is the stored answer of the earlier request. Raises InFlight, KeyReused,
    and what `write` raises; then the key stays free.
    """
    try:
        with transaction.atomic():
            _claim(request)
            if earlier := _stored_answer(request):
                return earlier, True
            answer = write()
            IdempotentAnswer.objects.create(
                **_lookup(request), fingerprint=request.fingerprint, **answer._asdict()
            )
    except IntegrityError as error:
        if not violates(error, MemoryLog.ONE_A_KEY):
            raise
        raise KeyReused(
            "This Idempotency-Key stored a memory, and its answer has expired since. Use a new key."
        ) from error
    return answer, False


def forget_expired() -> int:
    """Delete the answers older than IDEMPOTENCY_HOURS. Returns how many. A schedule runs this."""
    deleted = 0
    while True:
        expired = IdempotentAnswer.objects.filter(created_at__lt=Now() - _kept_for()).order_by("created_at")
        ids = list(expired.values_list("id", flat=True)[:BATCH])
        deleted += IdempotentAnswer.objects.filter(id__in=ids).delete()[0]
        if len(ids) < BATCH:
            return deleted


# The answer to a create is the memory. The answer to a batch is a list of ids and holds no words.
FORGET = """
DELETE FROM idempotent_answers WHERE memory_id IS NOT NULL AND memory_id = ANY(%(ids)s::bigint[]) RETURNING id
"""


def forget(memory_ids: Sequence[int]) -> int:
    """Delete the answers that hold one of these memories, under whatever key; returns how many there were."""
    return len(prepared.rows(FORGET, {"ids": list(memory_ids)}))


def _claim(request: IdempotentRequest) -> None:
    name = json.dumps([*request.tenant, request.key])
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))", [name])
        if not cursor.fetchone()[0]:
            raise InFlight(
                "Another request with this Idempotency-Key is in progress. Send it again in a moment."
            )


def _stored_answer(request: IdempotentRequest) -> Answer | None:
    # A separate statement: its snapshot is taken after the lock, so it sees what the earlier holder committed.
    rows = IdempotentAnswer.objects.filter(**_lookup(request))
    rows.filter(created_at__lt=Now() - _kept_for()).delete()
    row = rows.first()
    if row is None:
        return None
    if row.fingerprint != request.fingerprint:
        raise KeyReused("This Idempotency-Key belongs to another request. Use a new key for a new request.")
    return Answer(row.status, row.body, row.headers, row.memory_id)


def _lookup(request: IdempotentRequest) -> dict[str, str]:
    return {**request.tenant._asdict(), "key": request.key}


def _kept_for() -> timedelta:
    return timedelta(hours=settings.IDEMPOTENCY_HOURS)
