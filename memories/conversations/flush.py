"""Saving what has been idle: read from the buffers, saved in one transaction, and only then taken out of Redis.

A crash before the commit saves nothing, and after it the rows know what is saved: turns that are still in Redis are
then trimmed, not saved again. The rows' locks keep two flushes apart (each passes over what the other has), and keep
numbers from being given elsewhere while the turns are read: what comes meanwhile comes after.
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
from memories.conversations.buffers.protocol import Activity, Buffer, Held
from memories.conversations.buffers.redis import AbandonedRedis, RedisBuffer
from memories.conversations.buffers.redis_client import RedisAway
from memories.conversations.gaps import note_loss
from memories.conversations.turns import SavedKey, Turn
from memories.models.conversation import BufferedTurn, Conversation, TurnKey

logger = logging.getLogger(__name__)

# Conversations saved in one transaction.
BATCH = 100

HeldBy = Mapping[Buffer, Mapping[Conversation, Held]]


@dataclass
class Outcome:
    """What a flush did, in numbers."""

    conversations: int = 0
    turns: int = 0
    memories: int = 0
    # Conversations found to have lost turns, since the last look.
    lost: int = 0
    # Left for later: still going on, or with turns in a Redis that does not answer.
    active: int = 0
    unreachable: int = 0


def flush(*, idle: timedelta, seconds: float | None = None, without_redis: bool = False) -> Outcome:
    """Save the conversations without a turn for `idle`, and those that Redis would forget before the next two runs.

    Stops after about `seconds`, when given; the rest is the next run's. `without_redis` gives up what Redis holds:
    it is recorded as lost, and the rest is saved.
    """
    deadline = None if seconds is None else time.monotonic() + seconds
    outcome = Outcome()
    buffers = _buffers(without_redis)
    for rows in _unsaved():
        if deadline is not None and time.monotonic() > deadline:
            break
        _flush(rows, buffers, timezone.now() - idle, outcome)
    _forget_keys()
    return outcome


def _forget_keys() -> None:
    """Of turns that were saved long enough ago."""
    kept = timedelta(hours=settings.IDEMPOTENCY_HOURS)
    TurnKey.objects.filter(created_at__lt=timezone.now() - kept).delete()


def close(row: Conversation) -> Outcome:
    """Save a conversation now. Raises RedisAway where Redis holds turns of it and does not answer."""
    outcome = Outcome()
    buffers = _buffers()
    if row.in_redis and not redis_client.is_configured():
        raise RedisAway("CONVERSATION_REDIS_URL is not set, and turns of this conversation wait there")
    _save([row.id], buffers, outcome, closing=True)
    return outcome


def _buffers(without_redis: bool = False) -> list[Buffer]:
    if without_redis:
        return [PostgresBuffer(), AbandonedRedis()]
    return [PostgresBuffer(), RedisBuffer()] if redis_client.is_configured() else [PostgresBuffer()]


def _unsaved() -> Iterator[list[Conversation]]:
    """What may have turns that wait, a batch at a time."""
    ids = set(Conversation.objects.filter(in_redis=True).order_by().values_list("id", flat=True))
    ids |= set(BufferedTurn.objects.order_by().values_list("conversation_id", flat=True).distinct())
    ordered = sorted(ids)
    for start in range(0, len(ordered), BATCH):
        yield list(Conversation.objects.filter(id__in=ordered[start : start + BATCH]))


def _flush(rows: list[Conversation], buffers: list[Buffer], before: datetime, outcome: Outcome) -> None:
    try:
        known = _known(rows, buffers)
    except RedisAway as away:
        logger.warning("%s; what it holds waits for it", away)
        buffers = [buffer for buffer in buffers if not isinstance(buffer, RedisBuffer)]
        known = _known(rows, buffers)
    if not any(isinstance(buffer, RedisBuffer) for buffer in buffers):
        outcome.unreachable += sum(row.in_redis for row in rows)
        rows = [row for row in rows if not row.in_redis]
    due = [
        row for row in rows if _is_due(row, [its[row.id] for its in known.values() if row.id in its], before)
    ]
    outcome.active += len(rows) - len(due)
    for buffer, its in known.items():
        buffer.left({row: its[row.id] for row in rows if row.id in its and row not in due})
    if due:
        _save_due(due, buffers, outcome)


def _known(rows: list[Conversation], buffers: list[Buffer]) -> dict[Buffer, Mapping[int, Activity]]:
    return {buffer: buffer.activity(rows) for buffer in buffers}


def _is_due(row: Conversation, activity: Sequence[Activity], before: datetime) -> bool:
    """Also where nothing waits, or less than there should: a save finds out what is to be done about it."""
    soon = timezone.now() + 2 * timedelta(minutes=settings.CONVERSATION_FLUSH_MINUTES)
    last = [its.last_turn_at for its in activity if its.turns and its.last_turn_at]
    return (
        not last
        or max(last) <= before
        or any(its.expires_at and its.expires_at <= soon for its in activity)
        or sum(its.turns for its in activity) < row.seen_in_redis
    )


def _save_due(due: list[Conversation], buffers: list[Buffer], outcome: Outcome) -> None:
    try:
        _save([row.id for row in due], buffers, outcome)
    except RedisAway as away:
        logger.warning("%s; what is not saved yet waits for it", away)
        outcome.unreachable += sum(row.in_redis for row in due)


def _save(ids: list[int], buffers: list[Buffer], outcome: Outcome, *, closing: bool = False) -> None:
    with transaction.atomic():
        rows = _locked(ids, wait=closing)
        held = {buffer: _held(buffer, rows) for buffer in buffers}
        counted = _save_held(rows, held, closing=closing)
    _add(outcome, counted)
    for buffer, its in held.items():
        buffer.saved(its)


def _locked(ids: list[int], *, wait: bool) -> list[Conversation]:
    with connection.cursor() as cursor:
        # What is saved is then taken out of Redis: it must be on the disk.
        cursor.execute("SET LOCAL synchronous_commit TO on")
    rows = Conversation.objects.select_for_update(no_key=True, skip_locked=not wait)
    return list(rows.filter(id__in=ids).order_by("id"))


def _held(buffer: Buffer, rows: Iterable[Conversation]) -> dict[Conversation, Held]:
    of = {row.id: row for row in rows}
    return {of[id]: its for id, its in buffer.held(of.values()).items()}


def _save_held(rows: Sequence[Conversation], held: HeldBy, *, closing: bool) -> Outcome:
    turns, keys, lost = _merged(held)
    for row, missing in lost.items():
        note_loss(row, "Redis did not have the turns when they were to be saved", missing)
    counted = Outcome(len(turns), sum(map(len, turns.values())), save.save(turns), len(lost))
    save.save_keys(keys)
    for buffer, its in held.items():
        buffer.saving(its)
    for row in rows:
        row.closed_at = timezone.now() if closing else row.closed_at
    Conversation.objects.bulk_update(rows, CHANGED)
    return counted


# The columns that a save sets.
CHANGED = ("saved_turns", "last_turn_at", "closed_at", "in_redis", "seen_in_redis", "redis_saved_through")


def _merged(
    held: HeldBy,
) -> tuple[dict[Conversation, list[Turn]], dict[Conversation, list[SavedKey]], dict[Conversation, int]]:
    """What all buffers hold of each conversation: the turns in order, the keys, and how many are missing."""
    turns: dict[Conversation, list[Turn]] = defaultdict(list)
    keys: dict[Conversation, list[SavedKey]] = defaultdict(list)
    lost: dict[Conversation, int] = {}
    for of_buffer in held.values():
        for row, its in of_buffer.items():
            keys[row] += its.keys
            if its.turns:
                turns[row] = sorted([*turns[row], *its.turns], key=lambda turn: int(turn["seq"]))
            if its.gone or its.missing:
                lost[row] = its.missing
    return turns, keys, lost


def _add(outcome: Outcome, more: Outcome) -> None:
    for name, value in vars(more).items():
        setattr(outcome, name, getattr(outcome, name) + value)
