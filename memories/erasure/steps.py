"""The steps of an erasure in PostgreSQL, Redis and the embedding cache.

Each step works in pages. A page is one transaction that locks the receipt first, so that two processes never run the
same page, and that counts what it removed, so that a crash counts nothing twice. A page that runs again finds nothing.

The order matters. Conversations go first, because saving one makes memories. Versions go after memories, because
deleting a memory makes the triggers write its last version. Events go last: nothing writes a new one by then.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now

from memories.conversations import erase as conversations_of
from memories.dialogue import AGENT
from memories.embeddings import cache
from memories.erasure.scope import owner, within
from memories.event_types import AGGREGATES, INDEX_RECHECK_AGGREGATE, RECHECK_AGGREGATE
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
from memories.text import searchable_text
from outbox.operations import scrub

PAGE = 500
CONVERSATIONS = 20
# Events that a page reads, and those of them that it scrubs: others wait meanwhile for the same rows.
EVENTS, SCRUBBED = 5_000, 1_000

# Of a tenant's collections. The error of such an event may quote any memory of the tenant, its payload none.
INDEX_AGGREGATES = (generations.AGGREGATE, INDEX_RECHECK_AGGREGATE)
# What stays of the payload of an event: ids and numbers.
KEPT = ("memory_log_id", "memory_id", "version", "user_id", "project_id")


def count(erasure: Erasure, store: str, **numbers: int) -> None:
    """Add to the receipt's counts."""
    of_store = erasure.counts.setdefault(store, {})
    for name, number in numbers.items():
        of_store[name] = of_store.get(name, 0) + number


def conversations(erasure: Erasure) -> bool:
    """A page of conversations: buffered turns, rows, parts, gaps and keys. Raises RedisAway."""
    page = list(_conversations(erasure).select_for_update().order_by("id")[:CONVERSATIONS])
    if not page:
        _name_memories(erasure)
        return True
    parts = ConversationChunk.objects.filter(conversation__in=page).values_list("memory_id", flat=True)
    if erasure.is_whole:
        # A save since the request made them of turns from before it. The next step erases the older ones.
        late = list(parts.filter(memory_id__gt=erasure.through_id))
        _remove(erasure, MemoryLog.objects.filter(id__in=late))
    else:
        # They are erased by the next step.
        erasure.memory_log_ids = sorted({*erasure.memory_log_ids, *parts})
    removed = conversations_of.erase(page)
    count(erasure, "postgresql", conversations=len(page), buffered_turns=removed.turns)
    count(erasure, "redis", conversations=removed.in_redis)
    return False


def _conversations(erasure: Erasure) -> "QuerySet[Conversation, Any]":
    """A conversation of the same name that began after the request is another one, and stays."""
    rows = within(erasure, Conversation.objects.filter(created_at__lt=erasure.requested_at))
    return rows if erasure.is_whole else rows.filter(conversation_id__in=erasure.conversation_ids)


def _name_memories(erasure: Erasure) -> None:
    """Add what named conversations have besides their parts: a deleted one has versions only, an import no parts."""
    if erasure.conversation_ids:
        of_them = {"agent": AGENT, "raw_data__conversation_id__in": erasure.conversation_ids}
        rows = MemoryLog.objects.filter(**of_them, id__lte=erasure.through_id)
        states = MemoryVersion.objects.filter(**of_them, pgh_obj_id__lte=erasure.through_id)
        stored = within(erasure, rows).order_by().values_list("id", flat=True)
        versions = within(erasure, states).order_by().values_list("pgh_obj_id", flat=True)
        erasure.memory_log_ids = sorted({*erasure.memory_log_ids, *stored, *versions})


def memories(erasure: Erasure) -> bool:
    """A page of memories, with their lexical terms (triggers remove these) and their vectors in the cache."""
    page = _covered(erasure, MemoryLog.objects.all()).order_by("id")[:PAGE]
    return not _remove(erasure, page)


def _covered(erasure: Erasure, rows: "QuerySet[MemoryLog, Any]") -> "QuerySet[MemoryLog, Any]":
    """Those of the memories that the erasure is about."""
    if erasure.is_whole:
        return within(erasure, rows.filter(id__lte=erasure.through_id))
    return within(erasure, rows.filter(id__in=erasure.memory_log_ids))


def _covered_versions(erasure: Erasure) -> "QuerySet[MemoryVersion, Any]":
    if erasure.is_whole:
        return within(erasure, MemoryVersion.objects.filter(pgh_obj_id__lte=erasure.through_id))
    return within(erasure, MemoryVersion.objects.filter(pgh_obj_id__in=erasure.memory_log_ids))


def _remove(erasure: Erasure, rows: "QuerySet[MemoryLog, Any]") -> int:
    """Remove these memories, and count them; returns how many there were."""
    page = list(rows.select_for_update().defer("embedding"))
    ids = [row.id for row in page]
    if not ids:
        return 0
    count(erasure, "embedding_cache", entries=_forget_vectors(page))
    ConversationChunk.objects.filter(memory_id__in=ids).delete()
    deleted = MemoryLog.objects.filter(id__in=ids)._raw_delete("default")  # noqa: SLF001 - no cascade to look for
    versions = MemoryVersion.objects.filter(pgh_obj_id__in=ids)._raw_delete("default")  # noqa: SLF001
    count(erasure, "postgresql", memories=deleted, versions=versions)
    return len(ids)


def _forget_vectors(rows: Sequence[MemoryLog]) -> int:
    texts = [searchable_text(task=row.task, agent=row.agent, raw_data=row.raw_data) for row in rows]
    live = generations.live(row.tenant for row in rows)
    models = {(g.model, g.dimensions) for found in live.values() for g in found.all}
    return sum(cache.forget(model, dimensions, texts) for model, dimensions in models)


def versions(erasure: Erasure) -> bool:
    """A page of versions of memories that were deleted before."""
    ids = list(_covered_versions(erasure).order_by().values_list("pgh_id", flat=True)[: 4 * PAGE])
    if not ids:
        return True
    deleted = MemoryVersion.objects.filter(pgh_id__in=ids)._raw_delete("default")  # noqa: SLF001
    count(erasure, "postgresql", versions=deleted)
    return False


def answers(erasure: Erasure) -> bool:
    """A page of the answers that are kept for Idempotency-Keys and hold one of the memories."""
    ids = list(_answers(erasure).order_by().values_list("id", flat=True)[:PAGE])
    deleted = IdempotentAnswer.objects.filter(id__in=ids).delete()[0]
    count(erasure, "postgresql", idempotent_answers=deleted)
    return not ids


def _answers(erasure: Erasure) -> "QuerySet[IdempotentAnswer, IdempotentAnswer]":
    if not erasure.is_whole:
        return within(erasure, IdempotentAnswer.objects.filter(memory_id__in=erasure.memory_log_ids))
    # With `if_similar=skip` the answer to a later create may be an earlier memory.
    earlier = Q(created_at__lt=erasure.requested_at) | Q(memory_id__lte=erasure.through_id)
    return within(erasure, IdempotentAnswer.objects.filter(earlier))


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
    if not position:
        emptied = scrub.failures(INDEX_AGGREGATES, owner(erasure), empty=True)
        count(erasure, "outbox", failures=emptied)
    through = position.setdefault("through", scrub.newest_id())
    first = scrub.next_id(position.setdefault("after", 0))
    if first is None or first > through:
        return True
    last = min(first + EVENTS - 1, through)
    ids = wordy_events(erasure, first - 1, last)
    if len(ids) > SCRUBBED:
        ids = ids[:SCRUBBED]
        last = ids[-1]
    scrubbed = scrub.scrub(ids, keep=KEPT, value=erasure.pk)
    count(erasure, "outbox", events=scrubbed.events, failures=scrubbed.failures)
    position["after"] = last
    return bool(last >= through)


def wordy_events(erasure: Erasure, after: int, through: int) -> list[int]:
    """The ids of the events in the range that still hold words of what is erased."""
    found = scrub.find(after, through, (*AGGREGATES, RECHECK_AGGREGATE), owner(erasure))
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
    found = {
        "memories": _covered(erasure, MemoryLog.objects.all()).count(),
        "versions": _covered_versions(erasure).count(),
        "conversations": _conversations(erasure).count(),
        "events": erasure.position.get("wordy", 0),
        "failures": scrub.failures(INDEX_AGGREGATES, owner(erasure)),
        "idempotent_answers": _answers(erasure).count(),
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


def begin(erasure: Erasure) -> None:
    """Note that it runs. What was stored before it was requested is erased."""
    first = next(iter(STEPS))
    Erasure.objects.filter(pk=erasure.pk, began_at=None).update(
        began_at=Now(), status=Erasure.Status.RUNNING, step=first, rounds=F("rounds") + 1
    )
