"""The steps of an erasure in PostgreSQL, Redis and the embedding cache.

Each step works in pages. A page is one transaction that locks the receipt first, so that two processes never run the
same page, and that counts what it removed, so that a crash counts nothing twice. A page that runs again finds nothing.

The order matters. Conversations go first, because saving one makes memories. Versions go after memories, because
deleting a memory makes the triggers write its last version. Events go last: nothing writes a new one by then.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

from django.db.models import F, QuerySet
from django.db.models.functions import Now

from memories.conversations import erase as conversations_of
from memories.embeddings import cache
from memories.erasure.scope import owner, within
from memories.event_types import AGGREGATES
from memories.index import generations
from memories.models import (
    APIKey,
    BulkDeletion,
    Conversation,
    Erasure,
    IdempotentAnswer,
    MemoryLog,
    MemoryVersion,
)
from memories.models.conversation import ConversationChunk
from memories.records import idempotency
from memories.text import searchable_text
from outbox.operations import scrub

PAGE = 500
CONVERSATIONS = 20
EVENTS = 20_000

# What stays of the payload of an event: ids and numbers.
KEPT = ("memory_log_id", "memory_id", "version", "user_id", "project_id")
MARK = "erased"


def count(erasure: Erasure, store: str, **numbers: int) -> None:
    """Add to the receipt's counts."""
    of_store = erasure.counts.setdefault(store, {})
    for name, number in numbers.items():
        of_store[name] = of_store.get(name, 0) + number


def conversations(erasure: Erasure) -> bool:
    """A page of conversations: buffered turns, rows, parts, gaps and keys. Raises RedisAway."""
    rows = within(erasure, Conversation.objects.all())
    if erasure.is_whole:
        rows = rows.filter(created_at__lt=erasure.requested_at)
    elif erasure.conversation_ids:
        rows = rows.filter(conversation_id__in=erasure.conversation_ids)
    else:
        return True
    page = list(rows.select_for_update().order_by("id")[:CONVERSATIONS])
    if not page:
        return True
    if not erasure.is_whole:
        # Their memories are erased by the next step.
        parts = ConversationChunk.objects.filter(conversation__in=page).values_list("memory_id", flat=True)
        erasure.memory_log_ids = sorted({*erasure.memory_log_ids, *parts})
    removed = conversations_of.erase(page)
    count(erasure, "postgresql", conversations=len(page), buffered_turns=removed.turns)
    count(erasure, "redis", conversations=removed.in_redis)
    return False


def memories(erasure: Erasure) -> bool:
    """A page of memories, with their lexical terms (triggers remove these) and their vectors in the cache."""
    rows = within(erasure, MemoryLog.objects.all())
    if erasure.is_whole:
        rows = rows.filter(created_at__lt=erasure.requested_at)
    else:
        rows = rows.filter(id__in=erasure.memory_log_ids)
    page = list(rows.select_for_update().defer("embedding").order_by("id")[:PAGE])
    if not page:
        return True
    count(erasure, "embedding_cache", entries=_forget_vectors(page))
    ids = [row.id for row in page]
    ConversationChunk.objects.filter(memory_id__in=ids).delete()
    deleted = MemoryLog.objects.filter(id__in=ids)._raw_delete("default")  # noqa: SLF001 - no cascade to look for
    versions = MemoryVersion.objects.filter(pgh_obj_id__in=ids)._raw_delete("default")  # noqa: SLF001
    count(erasure, "postgresql", memories=deleted, versions=versions)
    return False


def _forget_vectors(rows: Sequence[MemoryLog]) -> int:
    texts = [searchable_text(task=row.task, agent=row.agent, raw_data=row.raw_data) for row in rows]
    live = generations.live(row.tenant for row in rows)
    models = {(g.model, g.dimensions) for found in live.values() for g in found.all}
    return sum(cache.forget(model, dimensions, texts) for model, dimensions in models)


def versions(erasure: Erasure) -> bool:
    """A page of versions of memories that were deleted before."""
    rows = within(erasure, MemoryVersion.objects.all())
    if erasure.is_whole:
        rows = rows.filter(created_at__lt=erasure.requested_at)
    else:
        rows = rows.filter(pgh_obj_id__in=erasure.memory_log_ids)
    ids = list(rows.order_by().values_list("pgh_id", flat=True)[: 4 * PAGE])
    MemoryVersion.objects.filter(pgh_id__in=ids)._raw_delete("default")  # noqa: SLF001
    count(erasure, "postgresql", versions=len(ids))
    return not ids


def answers(erasure: Erasure) -> bool:
    """All answers that are kept for Idempotency-Keys and hold one of the memories."""
    if erasure.is_whole:
        rows = within(erasure, IdempotentAnswer.objects.filter(created_at__lt=erasure.requested_at))
        forgotten = rows.delete()[0]
    else:
        forgotten = idempotency.forget_of_memories(owner(erasure), erasure.memory_log_ids)
    count(erasure, "postgresql", idempotent_answers=forgotten)
    return True


def deletions(erasure: Erasure) -> bool:
    """The filters of bulk deletions, which may quote memories. One that still runs has nothing left to delete."""
    ended = _quoting(erasure).update(filters={}, status=BulkDeletion.Status.DONE, finished_at=Now())
    count(erasure, "postgresql", filters_of_deletions=ended)
    return True


def _quoting(erasure: Erasure) -> "QuerySet[BulkDeletion, BulkDeletion]":
    """A deletion that is done has no filters. Named memories leave it alone: it ends by itself."""
    if not erasure.is_whole:
        return BulkDeletion.objects.none()
    deletions = BulkDeletion.objects.filter(requested_at__lt=erasure.requested_at).exclude(filters={})
    return within(erasure, deletions)


def events(erasure: Erasure) -> bool:
    """A range of events: payloads keep ids only, errors and tracebacks go."""
    position = erasure.position
    through = position.setdefault("through", scrub.newest_id())
    first = scrub.next_id(position.setdefault("after", 0))
    if first is None or first > through:
        return True
    last = min(first + EVENTS - 1, through)
    ids = wordy_events(erasure, first - 1, last)
    scrubbed = scrub.scrub(ids, keep=KEPT, mark=MARK, value=erasure.pk)
    count(erasure, "outbox", events=scrubbed.events, failures=scrubbed.failures)
    position["after"] = last
    return bool(last >= through)


def wordy_events(erasure: Erasure, after: int, through: int) -> list[int]:
    """The ids of the events in the range that still hold words of what is erased."""
    found = scrub.find(after, through, AGGREGATES, owner(erasure), mark=MARK)
    numbers = {int(aggregateid) for _, aggregateid in found if aggregateid.isdecimal()}
    if erasure.is_whole:
        # The events of memories that were stored later stay as they are.
        staying = set(MemoryLog.objects.filter(id__in=numbers).values_list("id", flat=True))
        erased = numbers - staying
    else:
        erased = numbers & set(erasure.memory_log_ids)
    return [id for id, aggregateid in found if aggregateid.isdecimal() and int(aggregateid) in erased]


def api_keys(erasure: Erasure) -> bool:
    """The API keys of the user, or of the project, where the request asks for it."""
    if erasure.api_keys:
        keys = within(erasure, APIKey.objects.all())
        count(erasure, "postgresql", api_keys=keys.count())
        for key in keys:  # one by one: each deletion empties the cache of keys
            key.delete()
    return True


# In order. A step returns whether it is complete.
STEPS: dict[str, Callable[[Erasure], bool]] = {
    step.__name__: step for step in (conversations, memories, versions, answers, deletions, events, api_keys)
}


def next_step(name: str) -> str:
    """The step after this one; empty after the last."""
    names = [*STEPS, ""]
    return names[names.index(name) + 1]


def left(erasure: Erasure) -> dict[str, int]:
    """What PostgreSQL still holds of it, by kind; only what is not zero. `ask_events` has counted the events."""
    began = {"created_at__lt": erasure.requested_at}
    named: dict[str, Any] = {"id__in": erasure.memory_log_ids}
    rows = within(erasure, MemoryLog.objects.filter(**(began if erasure.is_whole else named)))
    kept = {"pgh_obj_id__in": erasure.memory_log_ids}
    states = within(erasure, MemoryVersion.objects.filter(**(began if erasure.is_whole else kept)))
    talks = within(erasure, Conversation.objects.all())
    talks = talks.filter(**(began if erasure.is_whole else {"conversation_id__in": erasure.conversation_ids}))
    found = {
        "memories": rows.count(),
        "versions": states.count(),
        "conversations": talks.count(),
        "events": erasure.position.get("wordy", 0),
        "idempotent_answers": _answers_left(erasure),
        "filters_of_deletions": _quoting(erasure).count(),
    }
    return {name: number for name, number in found.items() if number}


def ask_events(erasure: Erasure, deadline: float) -> bool:
    """Count the events that still hold words, up to about this moment (time.monotonic()). Returns whether all are."""
    position = erasure.position
    while (first := scrub.next_id(position.setdefault("asked", 0))) is not None:
        position["asked"] = first + EVENTS - 1
        found = wordy_events(erasure, first - 1, position["asked"])
        position["wordy"] = position.get("wordy", 0) + len(found)
        if time.monotonic() > deadline:
            return False
    return True


def _answers_left(erasure: Erasure) -> int:
    if erasure.is_whole:
        return within(erasure, IdempotentAnswer.objects.filter(created_at__lt=erasure.requested_at)).count()
    return idempotency.count_of_memories(owner(erasure), erasure.memory_log_ids)


def begin(erasure: Erasure) -> None:
    """Note that it runs. What was stored before it was requested is erased."""
    first = next(iter(STEPS))
    Erasure.objects.filter(pk=erasure.pk, began_at=None).update(
        began_at=Now(), status=Erasure.Status.RUNNING, step=first, rounds=F("rounds") + 1
    )
