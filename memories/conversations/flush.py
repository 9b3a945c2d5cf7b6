"""Save idle conversations: read the buffers, save in one transaction, and only then remove the turns from Redis.

A crash before the commit saves nothing. After the commit the rows say which turns are saved: the next flush removes
those that are still in Redis, and does not save them again. The locks on the rows keep two flushes apart (each skips
the rows that the other has locked), and stop PostgreSQL from numbering turns while the buffers are read.

A batch that fails is saved again one conversation at a time. Those that fail by themselves are set aside.
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

from memories.conversations import save, set_aside
from memories.conversations.buffers import redis_client
from memories.conversations.buffers.postgres import PostgresBuffer
from memories.conversations.buffers.protocol import Activity, Buffer, Contents
from memories.conversations.buffers.redis import AbandonedRedis, RedisBuffer
from memories.conversations.buffers.redis_client import RedisAway
from memories.conversations.gaps import record_gap
from memories.conversations.turns import SavedKey, Turn
from memories.models.conversation import BufferedTurn, Conversation, TurnKey
from outbox.database.errors import is_away

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
    # Set aside, in this flush or before, because they cannot be saved.
    failed: int = 0


@dataclass
class _Run:
    """One flush: its limits, the buffers that it still asks, and what it did so far."""

    buffers: list[Buffer]
    idle: timedelta
    deadline: float | None
    outcome: Outcome

    @property
    def is_over(self) -> bool:
        return self.deadline is not None and time.monotonic() > self.deadline

    @property
    def has_redis(self) -> bool:
        return any(isinstance(buffer, RedisBuffer) for buffer in self.buffers)

    def leave_redis_out(self, away: RedisAway) -> None:
        """For the rest of the run, so that not every batch waits for the timeout."""
        logger.warning("%s; its turns wait until it is back", away)
        self.buffers = [buffer for buffer in self.buffers if not isinstance(buffer, RedisBuffer)]


def flush(*, idle: timedelta, seconds: float | None = None, without_redis: bool = False) -> Outcome:
    """Save the conversations without a turn for `idle`, and those that Redis would drop before the next two runs.

    Stops after about `seconds`, if given; the next run continues. `without_redis` gives up the turns in Redis: it
    records them as lost and saves the rest.
    """
    deadline = None if seconds is None else time.monotonic() + seconds
    run = _Run(_buffers(without_redis), idle, deadline, Outcome())
    due, later = set_aside.ids_by_turn()
    _keep(later, run)
    for ids in _batches(_unsaved() - later, alone=due):
        if run.is_over:
            break
        _flush(list(Conversation.objects.filter(id__in=ids)), run)
    _delete_old_keys()
    return run.outcome


def _keep(ids: set[int], run: _Run) -> None:
    """Conversations that are set aside do not expire in Redis meanwhile."""
    run.outcome.failed += len(ids)
    rows = list(Conversation.objects.filter(id__in=ids, in_redis=True))
    try:
        for buffer in run.buffers if rows else ():
            buffer.keep(rows)
    except RedisAway as away:
        run.leave_redis_out(away)


def _delete_old_keys() -> None:
    """The keys of turns that were saved more than IDEMPOTENCY_HOURS ago."""
    kept = timedelta(hours=settings.IDEMPOTENCY_HOURS)
    TurnKey.objects.filter(created_at__lt=timezone.now() - kept).delete()


def close(row: Conversation) -> Outcome:
    """Save a conversation now.

    Raises RedisAway if Redis holds turns of it and does not answer. If the save fails for another reason, the
    conversation is set aside and the error is raised.
    """
    run = _Run(_buffers(), timedelta(), None, Outcome())
    if row.in_redis and not redis_client.is_configured():
        raise RedisAway("CONVERSATION_REDIS_URL is not set, and turns of this conversation wait in Redis")
    try:
        _save([row.id], run, closing=True)
    except RedisAway:
        raise
    except Exception as error:
        if not is_away(error):
            set_aside.record(row, error)
        raise
    return run.outcome


def _buffers(without_redis: bool = False) -> list[Buffer]:
    if without_redis:
        return [PostgresBuffer(), AbandonedRedis()]
    return [PostgresBuffer(), RedisBuffer()] if redis_client.is_configured() else [PostgresBuffer()]


def _unsaved() -> set[int]:
    """The ids of the conversations that may have waiting turns."""
    ids = set(Conversation.objects.filter(in_redis=True).order_by().values_list("id", flat=True))
    return ids | set(BufferedTurn.objects.order_by().values_list("conversation_id", flat=True).distinct())


def _batches(ids: set[int], *, alone: set[int]) -> Iterator[list[int]]:
    """The conversations that failed before come last and alone: they do not slow the others down."""
    ordered = sorted(ids - alone)
    for start in range(0, len(ordered), BATCH):
        yield ordered[start : start + BATCH]
    for id in sorted(ids & alone):
        yield [id]


def _flush(rows: list[Conversation], run: _Run) -> None:
    try:
        activity = _activity(rows, run.buffers)
    except RedisAway as away:
        run.leave_redis_out(away)
        activity = _activity(rows, run.buffers)
    rows = _reachable(rows, run)
    before = timezone.now() - run.idle
    due = [
        row for row in rows if _is_due(row, [of[row.id] for of in activity.values() if row.id in of], before)
    ]
    run.outcome.active += len(rows) - len(due)
    for buffer, of in activity.items():
        buffer.note_waiting({row: of[row.id] for row in rows if row.id in of and row not in due})
    if due:
        _save_due(due, run)


def _reachable(rows: list[Conversation], run: _Run) -> list[Conversation]:
    """Without Redis a conversation with turns there is not saved at all: its turns would be saved out of order."""
    if run.has_redis:
        return rows
    run.outcome.unreachable += sum(row.in_redis for row in rows)
    return [row for row in rows if not row.in_redis]


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


def _save_due(due: list[Conversation], run: _Run) -> None:
    due = _reachable(due, run)
    try:
        _save([row.id for row in due], run)
    except RedisAway as away:
        run.leave_redis_out(away)
        run.outcome.unreachable += sum(row.in_redis for row in due)
    except Exception as error:
        if is_away(error):
            raise
        if len(due) > 1:
            _save_one_by_one(due, run)
        elif due:
            set_aside.record(due[0], error)
            run.outcome.failed += 1


def _save_one_by_one(due: list[Conversation], run: _Run) -> None:
    for row in due:
        if run.is_over:
            break
        _save_due([row], run)


def _save(ids: list[int], run: _Run, *, closing: bool = False) -> None:
    with transaction.atomic():
        rows = _locked(ids, wait=closing)
        contents = {buffer: _read(buffer, rows) for buffer in run.buffers}
        saved = _save_contents(rows, contents, closing=closing)
    _add(run.outcome, saved)
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
        row.save_failures, row.save_error, row.save_retry_at = 0, "", None
    Conversation.objects.bulk_update(rows, CHANGED)
    return saved


# The columns that a save changes.
CHANGED = (
    *("saved_turns", "last_turn_at", "closed_at", "in_redis", "seen_in_redis", "redis_saved_through"),
    *("save_failures", "save_error", "save_retry_at"),
)


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
