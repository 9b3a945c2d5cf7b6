"""Conversations that cannot be saved. Each is set aside alone and tried again later, so that the others are saved."""

import logging
from datetime import timedelta

from django.db import connection
from django.db.models.functions import Now

from memories.models.conversation import Conversation
from outbox.exceptions import kind_and_place

logger = logging.getLogger(__name__)

FIRST_RETRY = timedelta(minutes=1)
LONGEST_RETRY = timedelta(hours=1)
# An error message may hold a whole statement with its parameters. So the row keeps it, and the log does not.
ERROR_LENGTH = 1_000

RECORD = """
UPDATE conversations
SET save_failures = save_failures + 1, save_error = %(error)s,
    save_retry_at = statement_timestamp()
                    + least(%(first)s * 2 ^ least(save_failures, 20), %(longest)s) * interval '1 second'
WHERE id = %(id)s
RETURNING save_failures, save_retry_at
"""


def ids_by_turn() -> tuple[set[int], set[int]]:
    """The conversations that are set aside: those whose next try is due, and those that still wait for it."""
    rows = Conversation.objects.filter(save_retry_at__isnull=False).order_by()
    due = set(rows.filter(save_retry_at__lte=Now()).values_list("id", flat=True))
    return due, set(rows.values_list("id", flat=True)) - due


def record(row: Conversation, error: Exception) -> None:
    """Set the conversation aside: after n failures for 2^(n-1) minutes, an hour at most."""
    parameters: dict[str, str | int | float] = {
        "id": row.id,
        "error": f"{type(error).__name__}: {error}".replace("\0", "")[:ERROR_LENGTH],
        "first": FIRST_RETRY.total_seconds(),
        "longest": LONGEST_RETRY.total_seconds(),
    }
    with connection.cursor() as cursor:
        cursor.execute(RECORD, parameters)
        failures, retry_at = cursor.fetchone() or (0, None)
    logger.error(
        "Conversation %r of %s could not be saved (failure %s, next try at %s): %s",
        row.conversation_id,
        "/".join(row.tenant),
        failures,
        retry_at,
        kind_and_place(error),
    )
