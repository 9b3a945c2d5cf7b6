"""Save idle conversations: read the buffers, save in one transaction, and only then remove the turns from Redis.

A crash before the commit saves nothing. After the commit the rows say which turns are saved: the next flush removes
those that are still in Redis, and does not save them again. The locks on the rows keep two flushes apart (each skips
the rows that the other has locked), and stop PostgreSQL from numbering turns while the buffers are read.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from memories.conversations import save
from memories.conversations.buffers import redis_client
from memories.conversations.buffers.postgres import PostgresBuffer
from memories.conversations.buffers.protocol import Activity, Buffer, Contents
from memories.conversations.buffers.redis import AbandonedRedis, RedisBuffer
from memories.conversations.buffers.redis_client import RedisAway
from memories.conversations.gaps import record_gap
from memories.conversations.turns import SavedKey, Turn
from memories.models.conversation import BufferedTurn, Conversation, TurnKey

logger = logging.getLogger(__name__)

# Conversations saved in one transaction.
BATCH = 100

BufferContents = Mapping[Buffer, Mapping[Conversation, Contents]]


@dataclass
class Outcome:
    """What a flush did, in numbers."""

    conversations: int = 0
    turns: int = 0
    memories: int = 0
    # Conversations that lost turns since the last flush.
    lost: int = 0
    # Left for a later flush: still active, or with turns in a Redis that does not answer.
    active: int = 0
    unreachable: int = 0


def flush(*, idle: timedelta, seconds: float | None = None, without_redis: bool = False) -> Outcome:
    """Save the conversations without a turn for `idle`, and those that Redis would drop before the next two runs.

    Stops after about `seconds`, if given; the next run continues. `without_redis` gives up the turns in Redis: it
    records them as lost and saves the rest.
    """
    deadline = None if seconds is None else time.monotonic() + seconds
    outcome = Outcome()
    buffers = _buffers(without_redis)
    for rows in _unsaved():
        if deadline is not None and time.monotonic() > deadline:
            break
        _flush(rows, buffers, timezone.now() - idle, outcome)
    _delete_old_keys()
    return outcome


def _delete_old_keys() -> None:
    """The keys of turns that were saved more than IDEMPOTENCY_HOURS ago."""
    kept = timedelta(hours=settings.IDEMPOTENCY_HOURS)
    TurnKey.objects.filter(created_at__lt=timezone.now() - kept).delete()


def close(row: Conversation) -> Outcome:
    """Save a conversation now. Raises RedisAway if Redis holds turns of it and does not answer."""
    outcome = Outcome()
    buffers = _buffers()
    if row.in_redis and not redis_client.is_configured():
        raise RedisAway("CONVERSATION_REDIS_URL is not set, and turns of this conversation wait in Redis")
    _save([row.id], buffers, outcome, closing=True)
    return outcome


def _buffers(without_redis: bool = False) -> list[Buffer]:
    if without_redis:
        return [PostgresBuffer(), AbandonedRedis()]
    return [PostgresBuffer(), RedisBuffer()] if redis_client.is_configured() else [PostgresBuffer()]


def _unsaved() -> Iterator[list[Conversation]]:
    """The conversations that may have waiting turns, a batch at a time."""
    ids = set(Conversation.objects.filter(in_redis=True).order_by().values_list("id", flat=True))
    ids |= set(BufferedTurn.objects.order_by().values_list("conversation_id", flat=True).distinct())
    ordered = sorted(ids)
    for start in range(0, len(ordered), BATCH):
        yield list(Conversation.objects.filter(id__in=ordered[start : start + BATCH]))


def _flush(rows: list[Conversation], buffers: list[Buffer], before: datetime, outcome: Outcome) -> None:
    try:
        activity = _activity(rows, buffers)
    except RedisAway as away:
        logger.warning("%s; its turns wait until it is back", away)
        buffers = [buffer for buffer in buffers if not isinstance(buffer, RedisBuffer)]
        activity = _activity(rows, buffers)
    if not any(isinstance(buffer, RedisBuffer) for buffer in buffers):
        outcome.unreachable += sum(row.in_redis for row in rows)
        rows = [row for row in rows if not row.in_redis]
    due = [
        row for row in rows if _is_due(row, [of[row.id] for of in activity.values() if row.id in of], before)
    ]
    outcome.active += len(rows) - len(due)
    for buffer, of in activity.items():
        buffer.note_waiting({row: of[row.id] for row in rows if row.id in of and row not in due})
    if due:
        _save_due(due, buffers, outcome)


def _activity(rows: list[Conversation], buffers: list[Buffer]) -> dict[Buffer, Mapping[int, Activity]]:
    return {buffer: buffer.activity(rows) for buffer in buffers}


def _is_due(row: Conversation, activity: Sequence[Activity], before: datetime) -> bool:
    """Also true if no turn waits, or fewer than an earlier flush saw: the save then finds out why."""
    soon = timezone.now() + 2 * timedelta(minutes=settings.CONVERSATION_FLUSH_MINUTES)
    last = [waiting.last_turn_at for waiting in activity if waiting.turns and waiting.last_turn_at]
    return (
        not last
        or max(last) <= before
        or any(waiting.expires_at and waiting.expires_at <= soon for waiting in activity)
        or sum(waiting.turns for waiting in activity) < row.seen_in_redis
    )


def _save_due(due: list[Conversation], buffers: list[Buffer], outcome: Outcome) -> None:
    try:
        _save([row.id for row in due], buffers, outcome)
    except RedisAway as away:
        logger.warning("%s; the turns that are not saved wait until it is back", away)
        outcome.unreachable += sum(row.in_redis for row in due)


def _save(ids: list[int], buffers: list[Buffer], outcome: Outcome, *, closing: bool = False) -> None:
    with transaction.atomic():
        rows = _locked(ids, wait=closing)
        contents = {buffer: _read(buffer, rows) for buffer in buffers}
        saved = _save_contents(rows, contents, closing=closing)
    _add(outcome, saved)
    for buffer, of in contents.items():
        buffer.remove_saved(of)


def _locked(ids: list[int], *, wait: bool) -> list[Conversation]:
    with connection.cursor() as cursor:
        # The turns are removed from Redis after the commit: the commit must be on disk.
        cursor.execute("SET LOCAL synchronous_commit TO on")
    rows = Conversation.objects.select_for_update(no_key=True, skip_locked=not wait)
    return list(rows.filter(id__in=ids).order_by("id"))


def _read(buffer: Buffer, rows: Iterable[Conversation]) -> dict[Conversation, Contents]:
    by_id = {row.id: row for row in rows}
    return {by_id[id]: contents for id, contents in buffer.read(by_id.values()).items()}


def _save_contents(rows: Sequence[Conversation], contents: BufferContents, *, closing: bool) -> Outcome:
    turns, keys, lost = _merged(contents)
    for row, missing in lost.items():
        record_gap(row, "Redis did not have the turns when they were to be saved", missing)
    saved = Outcome(len(turns), sum(map(len, turns.values())), save.save(turns), len(lost))
    save.save_keys(keys)
    for buffer, of in contents.items():
        buffer.mark_saved(of)
    for row in rows:
        row.closed_at = timezone.now() if closing else row.closed_at
    Conversation.objects.bulk_update(rows, CHANGED)
    return saved


# The columns that a save changes.
CHANGED = ("saved_turns", "last_turn_at", "closed_at", "in_redis", "seen_in_redis", "redis_saved_through")


def _merged(
    contents: BufferContents,
) -> tuple[dict[Conversation, list[Turn]], dict[Conversation, list[SavedKey]], dict[Conversation, int]]:
    """For each conversation, from all buffers: the turns in order, the keys, and the number of missing turns."""
    turns: dict[Conversation, list[Turn]] = defaultdict(list)
    keys: dict[Conversation, list[SavedKey]] = defaultdict(list)
    lost: dict[Conversation, int] = {}
    for of_buffer in contents.values():
        for row, waiting in of_buffer.items():
            keys[row] += waiting.keys
            if waiting.turns:
                turns[row] = sorted([*turns[row], *waiting.turns], key=lambda turn: int(turn["seq"]))
            if waiting.forgotten or waiting.missing:
                lost[row] = waiting.missing
    return turns, keys, lost


def _add(outcome: Outcome, more: Outcome) -> None:
    for name, value in vars(more).items():
        setattr(outcome, name, getattr(outcome, name) + value)
