"""Requests that are sent again: what the first did is done once, and its answer is given again.

The key is claimed by an advisory lock of the transaction that does the work, and the answer is kept in that same
transaction. So a request that dies leaves nothing behind, and who asks meanwhile is told at once to come back.
"""

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, NamedTuple

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models.functions import Now

from memories.models import IdempotentAnswer, MemoryLog
from memories.tenants import Tenant

# Rows forgotten by one statement.
BATCH = 1000


class IdempotentRequest(NamedTuple):
    """A request under its key. `fingerprint` is equal where the same is asked."""

    tenant: Tenant
    key: str
    fingerprint: str


class Answer(NamedTuple):
    status: int
    body: str
    headers: Mapping[str, str]


class InFlight(Exception):
    """Another request with this key is being worked on."""


class KeyReused(Exception):
    """The key came before, with another request."""


def once(keyed: IdempotentRequest, write: Callable[[], Answer]) -> tuple[Answer, bool]:
    """The answer of `write`, which runs at most once a key, and whether it was given before.

    Raises InFlight, KeyReused.
    """
    try:
        with transaction.atomic():
            _claim(keyed)
            if earlier := _earlier(keyed):
                return earlier, True
            answer = write()
            IdempotentAnswer.objects.create(
                **_place(keyed), fingerprint=keyed.fingerprint, **answer._asdict()
            )
    except IntegrityError as error:
        if _constraint(error) != MemoryLog.ONE_A_KEY:
            raise
        raise KeyReused(
            "This Idempotency-Key stored a memory longer ago than answers are kept. Use a new key."
        ) from error
    return answer, False


def forget_expired() -> int:
    """Delete the answers that are given again no longer; returns how many. Run by a schedule."""
    forgotten = 0
    while True:
        expired = IdempotentAnswer.objects.filter(created_at__lt=Now() - _kept_for()).order_by("created_at")
        ids = list(expired.values_list("id", flat=True)[:BATCH])
        forgotten += IdempotentAnswer.objects.filter(id__in=ids).delete()[0]
        if len(ids) < BATCH:
            return forgotten


def _claim(keyed: IdempotentRequest) -> None:
    name = json.dumps([*keyed.tenant, keyed.key])
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))", [name])
        if not cursor.fetchone()[0]:
            raise InFlight(
                "A request with this Idempotency-Key is being worked on. Send it again in a moment."
            )


def _earlier(keyed: IdempotentRequest) -> Answer | None:
    # A statement of its own: it sees what was committed before the lock was free.
    rows = IdempotentAnswer.objects.filter(**_place(keyed))
    rows.filter(created_at__lt=Now() - _kept_for()).delete()
    row = rows.first()
    if row is None:
        return None
    if row.fingerprint != keyed.fingerprint:
        raise KeyReused("This Idempotency-Key came before with another request. Use a new key for a new one.")
    return Answer(row.status, row.body, row.headers)


def _place(keyed: IdempotentRequest) -> dict[str, str]:
    return {**keyed.tenant._asdict(), "key": keyed.key}


def _kept_for() -> timedelta:
    return timedelta(hours=settings.IDEMPOTENCY_HOURS)


def _constraint(error: IntegrityError) -> Any:
    return getattr(getattr(error.__cause__, "diag", None), "constraint_name", None)
