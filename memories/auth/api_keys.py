"""API keys: find the row of a key at little cost.

The library stores the SHA-512 of a key of 190 random bits and finds it by its prefix. A check is one indexed read and
a few microseconds. Each process remembers what it found for API_KEY_CACHE_SECONDS, so a busy client costs one read in
some seconds. A key that another process revokes is refused after that time at the latest.
"""

import re
from datetime import timedelta
from time import monotonic
from typing import Any, cast

from django.conf import settings
from django.db import connection
from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver
from django.utils import timezone

from memories.models import APIKey

_FORM = re.compile(r"[A-Za-z0-9]{8}\.[A-Za-z0-9]{32}")
# The precision of `last_used_at`.
USE_NOTED_EVERY = timedelta(minutes=1)
# The process forgets all keys when it remembers so many: their number must not grow without a limit.
MOST_REMEMBERED = 10_000

# SKIP LOCKED: a request never waits for the lock of another transaction.
NOTE_USE = """
UPDATE api_keys SET last_used_at = now()
WHERE id = (SELECT id FROM api_keys WHERE id = %s FOR NO KEY UPDATE SKIP LOCKED)
"""

_remembered: dict[str, tuple[float, APIKey]] = {}


def is_well_formed(key: str) -> bool:
    """Whether the text has the form of a key. Reads no database."""
    return _FORM.fullmatch(key) is not None


def holder(key: str) -> APIKey | None:
    """The row of a key, or None if the key is unknown, revoked or expired."""
    until, row = _remembered.get(key, (0.0, None))
    if row is None or until < monotonic():
        row = _look_up(key)
    return None if row is None or row.has_expired else row


def _look_up(key: str) -> APIKey | None:
    _remembered.pop(key, None)
    try:
        row = cast(APIKey, APIKey.objects.get_from_key(key if is_well_formed(key) else ""))
    except APIKey.DoesNotExist:
        return None
    if len(_remembered) >= MOST_REMEMBERED:
        _remembered.clear()
    _remembered[key] = monotonic() + settings.API_KEY_CACHE_SECONDS, row
    _note_use(row)
    return row


def _note_use(row: APIKey) -> None:
    now = timezone.now()
    if row.has_expired or (row.last_used_at and row.last_used_at > now - USE_NOTED_EVERY):
        return
    with connection.cursor() as cursor:
        cursor.execute(NOTE_USE, [row.pk])


@receiver([post_save, post_delete], sender=APIKey)
def forget(**_: Any) -> None:
    """Forget what was found. A change in this process has its effect in it at once."""
    _remembered.clear()
