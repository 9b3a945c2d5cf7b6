"""API keys: who holds one, checked cheaply.

The library keeps the SHA-512 of a key of 190 random bits, found by its prefix: a check is one indexed read and a
few microseconds. What was found is remembered by each process for API_KEY_CACHE_SECONDS, so that a busy client
costs a read every few seconds; a key revoked in another process is refused that much later, at the latest.
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
# How exact `last_used_at` is.
USE_NOTED_EVERY = timedelta(minutes=1)
# Beyond so many keys in use at once, the memory is emptied and begins anew.
MOST_REMEMBERED = 10_000

# SKIP LOCKED: a request never waits for whoever holds the row.
NOTE_USE = """
UPDATE api_keys SET last_used_at = now()
WHERE id = (SELECT id FROM api_keys WHERE id = %s FOR NO KEY UPDATE SKIP LOCKED)
"""

_remembered: dict[str, tuple[float, APIKey]] = {}


def is_well_formed(key: str) -> bool:
    """Whether the text has the form of a key. Reads no database."""
    return _FORM.fullmatch(key) is not None


def holder(key: str) -> APIKey | None:
    """The key's row while it may be used; None for what is unknown, revoked or expired."""
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
    """What is changed in this process counts in it at once."""
    _remembered.clear()
