"""What the holder of a key may store and have waiting: QUOTA_MEMORIES, QUOTA_BYTES, QUOTA_WAITING_EVENTS.

Off by default. A quota counts what the key opens: all projects of its user, or its one project. Counting exactly at
each request would cost more than the write, so a process counts now and then and adds what it lets pass in between.
With several processes a key may pass its quota by what the others stored since the last count.
"""

import time
from dataclasses import dataclass
from threading import Lock
from typing import Any

from django.conf import settings
from django.db import connection

from memories.auth.access import Access
from outbox.models import open_events

# A count is used for so long ...
SECONDS = 2.0
# ... and longer where it took long: counting takes at most this part of the time.
COST = 0.02
# A key at its quota is counted again after so long: it may have deleted something.
SECONDS_AT_THE_LIMIT = 0.5
# Keys that a process remembers.
MOST_REMEMBERED = 10_000

# The index memory_logs_tenant serves the count alone. Bytes are those of raw_data as PostgreSQL stores it, compressed;
# its length is read without the value itself.
COUNT = "SELECT count(*), 0 FROM (SELECT FROM memory_logs WHERE {whose} LIMIT %(limit)s) AS counted"
SIZE = "SELECT count(*), coalesce(sum(pg_column_size(raw_data)), 0)::bigint FROM memory_logs WHERE {whose}"


class QuotaExceeded(Exception):
    """The key's holder has stored as much as a quota allows."""

    def __init__(self, setting: str, quota: int, unit: str) -> None:
        super().__init__(
            f"This API key may store {quota:,} {unit} ({setting}), and has stored so much. "
            "Delete memories, or ask the operator for a larger quota."
        )


class TooManyWaiting(Exception):
    """As many events of the key's holder wait as QUOTA_WAITING_EVENTS allows."""

    def __init__(self) -> None:
        super().__init__(
            f"{settings.QUOTA_WAITING_EVENTS:,} events of yours wait to be delivered (QUOTA_WAITING_EVENTS). "
            "Send the request again when they are delivered."
        )


@dataclass
class Usage:
    """What was counted, and what was let pass since. `until`: how long it is used (time.monotonic())."""

    memories: int
    bytes: int
    waiting: int
    at: float
    until: float


_usages: dict[Access, Usage] = {}
_lock = Lock()


def require_room(access: Access, *, memories: int, size: int, events: int = 1) -> None:
    """Let a write pass that stores so many memories and bytes, and publishes so many events.

    Raises QuotaExceeded or TooManyWaiting, and then counts nothing.
    """
    if not (settings.QUOTA_MEMORIES or settings.QUOTA_BYTES or settings.QUOTA_WAITING_EVENTS):
        return
    now = time.monotonic()
    usage = _usages.get(access)
    if (
        usage is None
        or usage.until < now
        or (_refusal(usage, memories, size, events) and _is_old(usage, now))
    ):
        usage = _remember(access, _measure(access))
    with _lock:
        if refusal := _refusal(usage, memories, size, events):
            raise refusal
        usage.memories += memories
        usage.bytes += size
        usage.waiting += events


def forget() -> None:
    """Count again at the next request."""
    _usages.clear()


def _is_old(usage: Usage, now: float) -> bool:
    return now - usage.at > SECONDS_AT_THE_LIMIT


def _refusal(usage: Usage, memories: int, size: int, events: int) -> Exception | None:
    if 0 < settings.QUOTA_MEMORIES < usage.memories + memories:
        return QuotaExceeded("QUOTA_MEMORIES", settings.QUOTA_MEMORIES, "memories")
    if 0 < settings.QUOTA_BYTES < usage.bytes + size:
        return QuotaExceeded("QUOTA_BYTES", settings.QUOTA_BYTES, "bytes")
    if 0 < settings.QUOTA_WAITING_EVENTS < usage.waiting + events:
        return TooManyWaiting()
    return None


def _remember(access: Access, usage: Usage) -> Usage:
    if len(_usages) >= MOST_REMEMBERED:
        _usages.clear()
    _usages[access] = usage
    return usage


def _measure(access: Access) -> Usage:
    at = time.monotonic()
    memories, size = _stored(access)
    waiting = 0
    if limit := settings.QUOTA_WAITING_EVENTS:
        waiting = open_events().filter(payload__contains=access.named).order_by()[: limit + 1].count()
    end = time.monotonic()
    return Usage(memories, size, waiting, end, end + max(SECONDS, (end - at) / COST))


def _stored(access: Access) -> tuple[int, int]:
    if not (settings.QUOTA_MEMORIES or settings.QUOTA_BYTES):
        return 0, 0
    whose = " AND ".join(f"{name} = %({name})s" for name in access.named) or "true"
    parameters: dict[str, Any] = {**access.named, "limit": settings.QUOTA_MEMORIES + 1}
    with connection.cursor() as cursor:
        cursor.execute((SIZE if settings.QUOTA_BYTES else COUNT).format(whose=whose), parameters)
        memories, size = cursor.fetchone()
    return int(memories), int(size)
