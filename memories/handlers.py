"""The handlers of memory events: embed, index, confirm. The outbox delivers them, and each may run twice."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from time import monotonic, perf_counter
from typing import Any

from django.db import transaction
from django.utils import timezone

import outbox
from memories.embeddings.backend import DEPENDENCY as EMBEDDER
from memories.erasure import request as erasures
from memories.erasure import run
from memories.erasure.index import will_remove
from memories.event_types import RECHECK_AGGREGATE, VECTOR_AGGREGATE
from memories.index import collections, fillings, generations, orphans
from memories.index.client import DEPENDENCY as CHROMA
from memories.index.collections import CollectionLost
from memories.indexing import derived, migrate, rebuild, repair, sync, unverified
from memories.indexing.fill import SHARE_SECONDS, continue_fill, refill
from memories.models import Generation, MemoryLog
from memories.records import bulk_deletion, expiry
from memories.tenants import Tenant
from outbox import ClaimedEvent, NewEvent

# Google accepts this many texts in a call.
EMBED_BATCH = 100

outbox.declare("vector.stored", "vector.deleted", "vector.searched", expiry.EXPIRED)
outbox.progress("index")(migrate.progress)


@contextmanager
def refill_if_lost() -> Iterator[None]:
    """Have a collection that Chroma lost filled again. The event itself waits, as in any outage of Chroma."""
    try:
        yield
    except CollectionLost as lost:
        refill(lost)
        raise


def index_even_if_lost(tenants: Mapping[int, Tenant], *, once: Collection[int] = ()) -> list[MemoryLog]:
    """Do what sync.index does. The memories of a lost collection go to the collection that replaces it.

    So the loss of one tenant's collection opens no circuit, which would stop the events of all tenants.
    """
    lost_before: set[int] = set()
    while True:
        try:
            return sync.index(tenants, once=once)
        except CollectionLost as lost:
            refill(lost)
            if lost.generation.pk in lost_before:
                raise
            lost_before.add(lost.generation.pk)


@outbox.handler("memory_log.stored", "memory_log.updated", "embedding.missing", needs=[EMBEDDER], batch=True)
def embed(events: Sequence[ClaimedEvent]) -> None:
    """Embed the memories whose text has no embedding yet, and publish the events that index them all."""
    rows = derived.rows_by_id(int(event.aggregateid) for event in events)
    targets = _targets({row.tenant for row in rows.values()})
    started = perf_counter()
    stale = [row for row in rows.values() if not derived.is_embedded(row, targets[row.tenant])]
    truncated: set[int] = set()
    pieces = _pieces(stale, targets)
    for number, (target, part) in enumerate(pieces, 1):
        embedded = derived.embed(part, target)
        truncated |= embedded.truncated
        # Each piece is stored at once, so that another attempt does not repeat it.
        if number < len(pieces):
            derived.store(embedded)
    duration = perf_counter() - started
    generated = [
        _generated(event, row, targets[row.tenant], duration / max(1, len(stale)), row.id in truncated)
        for event in events
        if (row := rows.get(int(event.aggregateid)))  # else the memory was deleted meanwhile
    ]
    if pieces:
        derived.store(embedded, generated)
    else:
        outbox.publish_derived(None, {}, generated)


def _targets(tenants: Collection[Tenant]) -> dict[Tenant, Generation]:
    """Return the generation that each tenant's memories are embedded for.

    A tenant whose former embedder the settings refuse begins its migration here. Otherwise its memories would open the
    circuit of the embedder, and those of all tenants would wait. Raises MisconfiguredError.
    """
    targets = {tenant: live.write_target for tenant, live in generations.get_or_create(tenants).items()}
    refused = {tenant: target for tenant, target in targets.items() if not generations.is_usable(target)}
    for tenant, target in refused.items():
        migrate.leave_refused(tenant, target)
    return targets | {tenant: live.write_target for tenant, live in generations.live(refused).items()}


def _pieces(
    rows: Sequence[MemoryLog], targets: dict[Tenant, Generation]
) -> list[tuple[Generation, list[MemoryLog]]]:
    """Return the rows of each call to a provider, with the generation that they are embedded for."""
    return [
        (target, part[start : start + EMBED_BATCH])
        for target, part in _by_model(rows, targets)
        for start in range(0, len(part), EMBED_BATCH)
    ]


@outbox.handler("embedding.generated", "vector.outdated", needs=[CHROMA], batch=True)
def index(events: Sequence[ClaimedEvent]) -> None:
    """Make the index equal to what PostgreSQL holds of these memories."""
    # A recheck of a memory may come together with an event of its own, which then counts.
    of = {int(event.aggregateid): event for event in sorted(events, key=_is_own)}
    # Of an attempt that Chroma did not finish in time, what was written stays. A repair writes in any case.
    once = {
        memory_id
        for memory_id, event in of.items()
        if event.type == "embedding.generated" or not _is_own(event)
    }
    indexed = index_even_if_lost({memory_id: _tenant(event) for memory_id, event in of.items()}, once=once)
    _recheck_repeated(events)
    # A recheck brings no news: it only takes back what a late write may have changed.
    stored = [row for row in indexed if _is_own(of[row.id])]
    derived.mark_indexed(stored, [_vector_event("vector.stored", of[row.id], row.tenant) for row in stored])


def _is_own(event: ClaimedEvent) -> bool:
    """Tell whether the event is of the memory's own, not a recheck of it."""
    return event.aggregatetype != RECHECK_AGGREGATE


def _recheck_repeated(events: Sequence[ClaimedEvent]) -> None:
    """Have memories indexed again later whose former worker died: Chroma may carry out its last write from now on."""
    sync.publish_rechecks({int(event.aggregateid): _tenant(event) for event in events if event.is_repeated})


@outbox.handler("memory_log.deleted", needs=[CHROMA], batch=True)
def unindex(events: Sequence[ClaimedEvent]) -> None:
    """Delete deleted memories from the index. A memory that was restored since stays."""
    tenants = {int(event.aggregateid): _tenant(event) for event in events}
    restored = {row.id for row in index_even_if_lost(tenants)}
    _recheck_repeated(events)
    deleted = [event for event in events if int(event.aggregateid) not in restored]
    outbox.publish_derived(
        None, {}, [_vector_event("vector.deleted", event, _tenant(event)) for event in deleted]
    )


@outbox.handler("index.fill", needs=[EMBEDDER, CHROMA])
def fill(event: ClaimedEvent) -> None:
    """Fill a collection from PostgreSQL for some seconds. The next event does the rest.

    What a running `rebuild_index` fills is left to it: the two would take the collection from each other again and
    again.
    """
    generation = Generation.objects.filter(pk=event.payload["generation_id"]).first()
    if generation is not None and not (generation.rebuild and rebuild.is_running()):
        with refill_if_lost():
            continue_fill(generation)


@outbox.handler("index.unverified", needs=[CHROMA])
def verify_late_writes(event: ClaimedEvent) -> None:
    """Compare the memories that a filling wrote before it ended, and did not verify.

    A worker that died at it may have left a write, too: they are compared once more.
    """
    after, until = event.payload["after"], event.payload["until"]
    generation = Generation.objects.filter(pk=event.payload["generation_id"]).first()
    if generation is not None and generation.state != Generation.State.RETIRED:
        with refill_if_lost():
            unverified.verify(generation, after=after, until=until)
        if event.is_repeated:
            with transaction.atomic():
                fillings.publish_unverified(generation, after=after, until=until)


@outbox.handler("vector.orphaned", needs=[CHROMA])
def remove_orphans(event: ClaimedEvent) -> None:
    """Delete documents that still have no memory."""
    generation = Generation.objects.filter(pk=event.payload["generation_id"]).first()
    if generation is not None:
        with refill_if_lost():
            sync.remove_orphans(generation, orphans.unknown(generation, event.payload["document_ids"]))


@outbox.handler("index.doubted", needs=[CHROMA])
def check_all(event: ClaimedEvent) -> None:
    """Have every tenant's collection filled again that Chroma no longer has; another event continues after a while."""
    checked = repair.refill_all_lost(after=event.payload.get("after", 0), seconds=SHARE_SECONDS)
    if checked.position is not None:
        repair.request_check(checked.position)


@outbox.handler("index.retired", needs=[CHROMA])
def remove(event: ClaimedEvent) -> None:
    """Delete a collection that was replaced, or that PostgreSQL has no record of."""
    named = Generation.objects.filter(collection=event.payload["collection"])
    retired = named.first()
    if retired and (retired.state != Generation.State.RETIRED or will_remove(retired.tenant)):
        return
    started = monotonic()
    if collections.drop(event.payload["collection"], seconds=run.SHARE_SECONDS):
        named.delete()
    else:
        _continue(event, pause=monotonic() - started)


def _continue(event: ClaimedEvent, *, pause: float) -> None:
    """Publish the same event again, for the rest of the work. `pause`: in seconds."""
    with transaction.atomic():
        outbox.publish(
            event.type,
            aggregate=(event.aggregatetype, event.aggregateid),
            payload=event.payload,
            priority=outbox.BULK,
            available_at=timezone.now() + timedelta(seconds=pause),
        )


def _by_model(
    rows: Sequence[MemoryLog], targets: dict[Tenant, Generation]
) -> list[tuple[Generation, list[MemoryLog]]]:
    """Group the rows by their tenants' embedding model."""
    groups: dict[tuple[Any, ...], tuple[Generation, list[MemoryLog]]] = {}
    for row in rows:
        target = targets[row.tenant]
        key = (target.backend, target.model, target.dimensions)
        groups.setdefault(key, (target, []))[1].append(row)
    return list(groups.values())


def _tenant(event: ClaimedEvent) -> Tenant:
    return Tenant(event.payload["user_id"], event.payload["project_id"])


def _generated(
    event: ClaimedEvent, row: MemoryLog, target: Generation, duration: float, is_truncated: bool
) -> NewEvent:
    return NewEvent(
        type="embedding.generated",
        aggregatetype=VECTOR_AGGREGATE,
        aggregateid=row.id,
        payload={
            "memory_id": row.id,
            "user_id": row.user_id,
            "project_id": row.project_id,
            "text_hash": row.content_hash,
            "dimensions": target.dimensions,
            "duration_seconds": round(duration, 6),
            "truncated": is_truncated,
        },
        headers=event.headers,
        priority=event.priority,
    )


def _vector_event(type: str, event: ClaimedEvent, tenant: Tenant) -> NewEvent:
    return NewEvent(
        type=type,
        aggregatetype=VECTOR_AGGREGATE,
        aggregateid=event.aggregateid,
        payload={
            "memory_id": int(event.aggregateid),
            "user_id": tenant.user_id,
            "project_id": tenant.project_id,
        },
        headers=event.headers,
    )


@outbox.handler(erasures.REQUESTED)
def erase(event: ClaimedEvent) -> None:
    """Erase from PostgreSQL, Redis and the cache, some seconds' worth; another event does the rest."""
    run.in_postgres(event.payload["erasure_id"])


@outbox.handler(erasures.INDEX, needs=[CHROMA])
def erase_from_index(event: ClaimedEvent) -> None:
    """Erase from Chroma, and verify that no store holds it any more."""
    with refill_if_lost():
        run.in_index(event.payload["erasure_id"])


@outbox.handler(bulk_deletion.REQUESTED)
def delete_matching(event: ClaimedEvent) -> None:
    """Delete the next page of the memories that a bulk deletion matches."""
    bulk_deletion.delete_page(event.payload["bulk_deletion_id"])
