"""Comparing the index with PostgreSQL row by row.

What differs because its event is still on its way is no fault: it is counted as pending. So that writers need
not stop, whatever looks wrong is looked at a second time, in an order that tells the two apart.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from django.utils import timezone

from memories.event_types import AGGREGATE, VECTOR_AGGREGATE
from memories.index import generations, orphans
from memories.index.collections import CollectionLost, check_collection, collection_names, with_collection
from memories.index.ids import document_id, memory_id
from memories.index.metadata import metadata_of
from memories.indexing import repair as repairs
from memories.indexing import sync
from memories.models import Generation, MemoryLog, Verification
from memories.tenants import Scope, Tenant
from outbox.models import open_events

if TYPE_CHECKING:
    from chromadb.api.models.Collection import Collection as ChromaCollection

BATCH = 1_000

Metadata = dict[str, Any]


@dataclass
class Report:
    """Counts. memories = indexed + pending + missing + stale, once nobody writes."""

    memories: int = 0
    indexed: int = 0
    # What an event on its way will see to: memories not in the index as they are, documents to be removed.
    pending: int = 0
    missing: int = 0
    # In the index, but not as they are. `wrong_metadata`: the version is right, some of the metadata is not.
    stale: int = 0
    wrong_metadata: int = 0
    # Of the stale: those whose metadata is right and whose vector is not there, or is another.
    wrong_vector: int = 0
    # Documents of no memory of the tenant in whose collection they are (`wrong_tenant`: they name another).
    orphaned: int = 0
    wrong_tenant: int = 0
    # Collections that PostgreSQL knows nothing of.
    unknown_collections: list[str] = field(default_factory=list)
    # Events published to mend what was wrong, and to remove unknown collections.
    repairs: int = 0

    @property
    def faults(self) -> int:
        return self.missing + self.stale + self.orphaned + len(self.unknown_collections)

    @property
    def is_equal(self) -> bool:
        return not self.faults and not self.pending

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class Verifier:
    """Compares what it is told to, and counts in its report; with `repair`, has the cluster mend what is wrong.

    With `vectors` also the vectors, which Chroma keeps apart: slower, for each is read from both. Unknown
    collections may be another installation's: they stay, unless `remove_unknown` says otherwise.
    """

    def __init__(
        self,
        *,
        repair: bool = False,
        vectors: bool = False,
        remove_unknown: bool = False,
        advance: Callable[[int], object] = lambda count: None,
    ) -> None:
        self.report = Report()
        self._repair = repair
        self._vectors = vectors
        self._remove_unknown = remove_unknown
        self._advance = advance

    def everything(self, scope: Scope) -> None:
        """Every memory and every document in the scope. Raises Unavailable."""
        for tenant in scope.tenants():
            self.tenant(tenant)
        if scope.is_everything:
            self.unknown_collections()

    def tenant(self, tenant: Tenant, *, after: int = 0, most: int | None = None) -> int | None:
        """A tenant's memories after that id, and at the end the documents without one.

        Stops after `most` memories and returns the last one's id; None when that was all. Raises Unavailable.
        """
        generation = self._generation(tenant)
        compared = 0
        while rows := self._rows(tenant, after, BATCH if most is None else min(BATCH, most - compared)):
            self._memories(generation, rows)
            after, compared = rows[-1].id, compared + len(rows)
            if compared == most:
                return after
        if generation is not None:
            self._orphans(generation)
        return None

    def _generation(self, tenant: Tenant) -> Generation | None:
        """The one that answers, or is to; None when there is none, or Chroma lost it.

        With `repair`, the one that takes the place of what was lost.
        """
        live = generations.of_tenant(tenant)
        generation = live.active or live.building
        try:
            if generation is not None and generation.chroma_id is not None:
                check_collection(generation)
        except CollectionLost as lost:
            if not self._repair:
                return None
            self.report.repairs += repairs.lost(lost)
            return generations.of_tenant(tenant).building
        return generation

    def _rows(self, tenant: Tenant, after: int, most: int) -> list[MemoryLog]:
        rows = MemoryLog.objects.filter(**tenant._asdict(), id__gt=after)
        return list((rows if self._vectors else rows.defer("embedding")).order_by("id")[:most])

    def _differing(
        self, generation: Generation | None, rows: Sequence[MemoryLog]
    ) -> dict[int, Metadata | None]:
        """The memories that the index does not hold as they are, with what it holds; None: nothing."""
        held = _held(generation, [document_id(row.id, row.tenant) for row in rows])
        found = {row.id: held.get(document_id(row.id, row.tenant)) for row in rows}
        differing = {row.id: found[row.id] for row in rows if found[row.id] != metadata_of(row)}
        if self._vectors and generation is not None:
            same = [row for row in rows if row.id not in differing and sync.is_embedded(row, generation)]
            differing |= {row.id: found[row.id] for row in _with_another_vector(generation, same)}
        return differing

    def _memories(self, generation: Generation | None, rows: Sequence[MemoryLog]) -> None:
        differing = self._differing(generation, rows)
        self.report.memories += len(rows)
        self.report.indexed += len(rows) - len(differing)
        if differing:
            self._judge(generation, [row for row in rows if row.id in differing])
        self._advance(len(rows))

    def _judge(self, generation: Generation | None, rows: Sequence[MemoryLog]) -> None:
        """A fault is what has no event, then still differs, and then still is of the version first seen."""
        on_their_way = _on_their_way(row.id for row in rows)
        differing = self._differing(generation, rows)
        versions = dict(MemoryLog.objects.filter(id__in=[r.id for r in rows]).values_list("id", "version"))
        wrong = []
        for row in rows:
            if row.id not in versions:
                self.report.memories -= 1
            elif row.id not in differing:
                self.report.indexed += 1
            elif row.id in on_their_way or versions[row.id] != row.version or _is_ahead(row, generation):
                self.report.pending += 1
            else:
                self._count(differing[row.id], row)
                wrong.append(row.id)
        if self._repair:
            self.report.repairs += repairs.memories(wrong)

    def _count(self, held: Metadata | None, row: MemoryLog) -> None:
        if held is None:
            self.report.missing += 1
            return
        self.report.stale += 1
        if held == metadata_of(row):
            self.report.wrong_vector += 1
        elif (held.get("version"), held.get("content_hash")) == (row.version, row.content_hash):
            self.report.wrong_metadata += 1

    def _orphans(self, generation: Generation) -> None:
        found = orphans.find(generation)
        on_their_way = _on_their_way(memory_id(document) for document in found)
        still_there = _held(generation, found)
        waiting = {document for document in still_there if memory_id(document) in on_their_way}
        wrong = still_there.keys() - waiting
        self.report.pending += len(waiting)
        self.report.orphaned += len(wrong)
        self.report.wrong_tenant += sum(
            _tenant(still_there[document]) not in (None, generation.tenant) for document in wrong
        )
        if self._repair:
            self.report.repairs += repairs.orphans(generation, sorted(wrong))

    def unknown_collections(self) -> None:
        """Collections that look like ours, and that PostgreSQL has no record of. Raises Unavailable."""
        in_chroma = set(collection_names())
        unknown = in_chroma - set(Generation.objects.values_list("collection", flat=True))
        if unknown:
            # A collection may have been removed from both between the first two reads.
            unknown &= set(collection_names())
        self.report.unknown_collections = sorted(unknown)
        if self._remove_unknown:
            self.report.repairs += repairs.unknown_collections(self.report.unknown_collections)


def verify_next(memories: int = 1_000, *, repair: bool = True) -> dict[str, Any]:
    """Compare the next so many memories, tenant by tenant and round and round; returns the report.

    Run by a schedule. Raises Unavailable.
    """
    verifier = Verifier(repair=repair, vectors=True)
    state, _ = Verification.objects.get_or_create(id=1)
    while verifier.report.memories < memories:
        live = Generation.objects.exclude(state=Generation.State.RETIRED).order_by("id")
        generation = live.filter(id__gte=state.generation_id).first()
        if generation is None:
            state.generation_id = state.memory_id = 0  # the next round
            break
        after = state.memory_id if generation.pk == state.generation_id else 0
        most = memories - verifier.report.memories
        position = verifier.tenant(generation.tenant, after=after, most=most)
        state.generation_id = generation.pk + (position is None)
        state.memory_id = position or 0
    report = verifier.report.as_json()
    state.report, state.checked_at = report, timezone.now()
    state.save()
    return report


def _with_another_vector(generation: Generation, rows: Sequence[MemoryLog]) -> list[MemoryLog]:
    """Those whose vector the index does not have. Where it lacks one, Chroma fails the whole call."""
    from chromadb.errors import InternalError

    if not rows:
        return []
    try:
        held = with_collection(generation, partial(_vectors, ids=[document_id(r.id, r.tenant) for r in rows]))
    except InternalError:
        if len(rows) == 1:
            return list(rows)
        half = len(rows) // 2
        return [
            *_with_another_vector(generation, rows[:half]),
            *_with_another_vector(generation, rows[half:]),
        ]
    return [row for row in rows if not _is_same(held.get(document_id(row.id, row.tenant)), row.embedding)]


def _vectors(collection: "ChromaCollection", ids: list[str]) -> dict[str, Any]:
    found = collection.get(ids=ids, include=["embeddings"])
    return dict(zip(found["ids"], found["embeddings"], strict=True))  # type: ignore[arg-type]  # they were asked for


def _is_same(held: Any, vector: Any) -> bool:
    """Chroma keeps what points the same way: it divides by the length."""
    return held is not None and np.allclose(
        held / np.linalg.norm(held), vector / np.linalg.norm(vector), atol=1e-4
    )


def _held(generation: Generation | None, documents: Sequence[str]) -> dict[str, Metadata]:
    """The metadata of these documents, as far as they are there."""
    if generation is None or generation.chroma_id is None or not documents:
        return {}

    def read(collection: "ChromaCollection") -> dict[str, Metadata]:
        found = collection.get(ids=list(documents), include=["metadatas"])
        return {
            id: dict(metadata or {})
            for id, metadata in zip(found["ids"], found["metadatas"] or (), strict=True)
        }

    return with_collection(generation, read)


def _on_their_way(memory_ids: "Iterator[int | None] | Collection[int]") -> set[int]:
    """Those of the memories that have an event which is not settled."""
    wanted = [str(memory_id) for memory_id in memory_ids if memory_id is not None]
    events = open_events().filter(aggregatetype__in=(AGGREGATE, VECTOR_AGGREGATE), aggregateid__in=wanted)
    return {int(memory_id) for memory_id in events.values_list("aggregateid", flat=True)}


def _is_ahead(row: MemoryLog, generation: Generation | None) -> bool:
    """Whether the collection is still being filled and has not come to this memory."""
    return (
        generation is not None
        and generation.state == Generation.State.BUILDING
        and row.id > (generation.position or 0)
    )


def _tenant(held: Metadata) -> Tenant | None:
    user_id, project_id = held.get("user_id"), held.get("project_id")
    return Tenant(user_id, project_id) if isinstance(user_id, str) and isinstance(project_id, str) else None
