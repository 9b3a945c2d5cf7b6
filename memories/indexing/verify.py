"""Comparing the index with PostgreSQL row by row.

A difference whose event is still open is not a fault: it counts as pending. Writers need not stop: every difference
is read a second time, in an order that distinguishes a fault from a write in progress.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from django.utils import timezone

from memories.event_types import AGGREGATE, VECTOR_AGGREGATE
from memories.index import generations, orphans, reading
from memories.index.collections import CollectionLost, check_collection, collection_names, with_collection
from memories.index.ids import document_id, memory_id
from memories.index.metadata import metadata_of
from memories.index.reading import Metadata
from memories.indexing import derived, isolation, reachable
from memories.indexing import repair as repairs
from memories.models import Generation, MemoryLog, Verification
from memories.tenants import Scope, Tenant
from outbox.exceptions import kind_and_place
from outbox.models import open_events

if TYPE_CHECKING:
    from chromadb.api.models.Collection import Collection as ChromaCollection

logger = logging.getLogger(__name__)

BATCH = 1_000


class Place(NamedTuple):
    """Where the comparison of a tenant continues: after this memory, and from this document of the index on."""

    memory_id: int = 0
    documents: int = 0


@dataclass
class Report:
    """The counts. memories = indexed + pending + missing + stale, when nobody writes."""

    memories: int = 0
    indexed: int = 0
    # An open event will correct these: memories that differ in the index, and documents to be deleted.
    pending: int = 0
    missing: int = 0
    # In the index with other content. `wrong_metadata`: the version is right, but some other metadata differs.
    stale: int = 0
    wrong_metadata: int = 0
    # Of the stale: the metadata is right, but the vector is missing or differs.
    wrong_vector: int = 0
    # With vectors: equal memories that were asked for by their own vector, and those that the index did not find so.
    # The index is approximate, so this is no difference between the stores. A repair indexes them again.
    asked: int = 0
    not_found: int = 0
    # Documents without a memory of the collection's tenant (`wrong_tenant`: they name another tenant).
    orphaned: int = 0
    wrong_tenant: int = 0
    # Collections that PostgreSQL has no record of.
    unknown_collections: list[str] = field(default_factory=list)
    # Collections that could not be compared: Chroma refuses to answer for them, and answers for the others.
    failed: list[str] = field(default_factory=list)
    # Events published to repair faults and to remove unknown collections.
    repairs: int = 0

    @property
    def faults(self) -> int:
        return self.missing + self.stale + self.orphaned + len(self.unknown_collections) + len(self.failed)

    @property
    def is_equal(self) -> bool:
        return not self.faults and not self.pending

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class Verifier:
    """Compares memories with the index and counts in `report`; with `repair`, publishes events that repair faults.

    With `vectors`, it also compares the vectors, which Chroma stores separately: slower, because each is read from
    both stores. Unknown collections may belong to another installation: only `remove_unknown` removes them.
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
        """Compare every memory and every document in the scope. Raises Unavailable."""
        for tenant in scope.tenants():
            self.tenant(tenant)
        if scope.is_everything:
            self.unknown_collections()

    def tenant(
        self,
        tenant: Tenant,
        *,
        start: Place = Place(),  # noqa: B008 - immutable
        limit: int | None = None,
        deadline: float = float("inf"),
    ) -> Place | None:
        """Compare a tenant's memories from `start` on, and at the end look for orphaned documents.

        Stops after `limit` memories, and among the documents at the deadline (time.monotonic()). Returns where to
        continue; None at the end. A collection that cannot be compared is reported as failed, so that it does not stop
        the comparison of the others. Raises Unavailable.
        """
        try:
            return self._tenant(tenant, start, limit, deadline)
        except Exception as error:
            if isolation.is_outage(error):
                raise
            live = generations.of_tenant(tenant)
            name = str(getattr(live.active or live.building, "collection", tenant))
            logger.error(
                "The collection %s cannot be compared with PostgreSQL: %s", name, kind_and_place(error)
            )
            self.report.failed.append(name)
            return None

    def _tenant(self, tenant: Tenant, start: Place, limit: int | None, deadline: float) -> Place | None:
        generation = self._generation(tenant)
        after, compared = start.memory_id, 0
        while rows := self._rows(tenant, after, BATCH if limit is None else min(BATCH, limit - compared)):
            self._memories(generation, rows)
            after, compared = rows[-1].id, compared + len(rows)
            if compared == limit:
                return Place(after, start.documents)
        documents = self._orphans(generation, start.documents, deadline) if generation is not None else None
        return None if documents is None else Place(after, documents)

    def _generation(self, tenant: Tenant) -> Generation | None:
        """Return the active generation, or the one being built; None when there is none, or Chroma lost it.

        With `repair`, a lost generation's replacement.
        """
        live = generations.of_tenant(tenant)
        generation = live.active or live.building
        try:
            if generation is not None and generation.chroma_id is not None:
                check_collection(generation)
        except CollectionLost as lost:
            if not self._repair:
                return None
            self.report.repairs += repairs.refill_lost(lost)
            return generations.of_tenant(tenant).building
        return generation

    def _rows(self, tenant: Tenant, after: int, limit: int) -> list[MemoryLog]:
        rows = MemoryLog.objects.filter(**tenant._asdict(), id__gt=after)
        return list((rows if self._vectors else rows.defer("embedding")).order_by("id")[:limit])

    def _differing(
        self, generation: Generation | None, rows: Sequence[MemoryLog]
    ) -> dict[int, Metadata | None]:
        """Return the memories that differ in the index, with the metadata that it holds (None: nothing)."""
        held = _held(generation, [document_id(row.id, row.tenant) for row in rows])
        found = {row.id: held.get(document_id(row.id, row.tenant)) for row in rows}
        differing = {row.id: found[row.id] for row in rows if found[row.id] != metadata_of(row)}
        if self._vectors and generation is not None:
            same = [row for row in rows if row.id not in differing and derived.is_embedded(row, generation)]
            differing |= {row.id: found[row.id] for row in _with_other_vector(generation, same)}
        return differing

    def _memories(self, generation: Generation | None, rows: Sequence[MemoryLog]) -> None:
        differing = self._differing(generation, rows)
        self.report.memories += len(rows)
        self.report.indexed += len(rows) - len(differing)
        if differing:
            self._classify(generation, [row for row in rows if row.id in differing])
        if self._vectors and generation is not None and generation.chroma_id is not None:
            self._ask_for(generation, [row for row in rows if row.id not in differing])
        self._advance(len(rows))

    def _ask_for(self, generation: Generation, rows: Sequence[MemoryLog]) -> None:
        """Ask the index for some of these memories by their own vectors."""
        asked = reachable.sample([row for row in rows if derived.is_embedded(row, generation)])
        lost = reachable.not_found(generation, asked)
        self.report.asked += len(asked)
        self.report.not_found += len(lost)
        if self._repair:
            self.report.repairs += repairs.repair_memories([row.id for row in lost])

    def _classify(self, generation: Generation | None, rows: Sequence[MemoryLog]) -> None:
        """Count each as pending or as a fault.

        A fault has no open event, then still differs, and then still has the version that was read first.
        """
        with_event = _with_open_event(row.id for row in rows)
        differing = self._differing(generation, rows)
        versions = dict(MemoryLog.objects.filter(id__in=[r.id for r in rows]).values_list("id", "version"))
        wrong = []
        for row in rows:
            if row.id not in versions:
                self.report.memories -= 1
            elif row.id not in differing:
                self.report.indexed += 1
            elif row.id in with_event or versions[row.id] != row.version or _is_not_reached(row, generation):
                self.report.pending += 1
            else:
                self._count(differing[row.id], row)
                wrong.append(row.id)
        if self._repair:
            self.report.repairs += repairs.repair_memories(wrong)

    def _count(self, held: Metadata | None, row: MemoryLog) -> None:
        if held is None:
            self.report.missing += 1
            return
        self.report.stale += 1
        if held == metadata_of(row):
            self.report.wrong_vector += 1
        elif (held.get("version"), held.get("content_hash")) == (row.version, row.content_hash):
            self.report.wrong_metadata += 1

    def _orphans(self, generation: Generation, start: int, deadline: float) -> int | None:
        """Count the orphans from the `start`-th document on. Returns where to continue; None at the end."""
        if generation.chroma_id is None:
            return None
        found: list[str] = []
        for following, part in orphans.find_from(generation, start):
            found += part
            if following is None or time.monotonic() >= deadline:
                break
        wrong = self._count_orphans(generation, found)
        # The documents that are removed move the following ones forward.
        return following - (wrong if self._repair else 0) if following else None

    def _count_orphans(self, generation: Generation, found: list[str]) -> int:
        with_event = _with_open_event(memory_id(document) for document in found)
        still_there = _held(generation, found)
        waiting = {document for document in still_there if memory_id(document) in with_event}
        wrong = still_there.keys() - waiting
        self.report.pending += len(waiting)
        self.report.orphaned += len(wrong)
        self.report.wrong_tenant += sum(
            _tenant(still_there[document]) not in (None, generation.tenant) for document in wrong
        )
        if self._repair:
            self.report.repairs += repairs.remove_orphans(generation, sorted(wrong))
        return len(wrong)

    def unknown_collections(self) -> None:
        """Look for collections with our prefix that PostgreSQL has no record of. Raises Unavailable."""
        in_chroma = set(collection_names())
        unknown = in_chroma - set(Generation.objects.values_list("collection", flat=True))
        if unknown:
            # A collection may have been removed from both between the first two reads.
            unknown &= set(collection_names())
        self.report.unknown_collections = sorted(unknown)
        if self._remove_unknown:
            self.report.repairs += repairs.remove_collections(self.report.unknown_collections)


def verify_next(
    memories: int = 1_000, *, repair: bool = True, seconds: float = float("inf")
) -> dict[str, Any]:
    """Compare the next `memories`, tenant by tenant in an endless round; returns the report.

    Stops after about `seconds`, and continues there next time. A schedule runs this. Raises Unavailable.
    """
    deadline = time.monotonic() + seconds
    verifier = Verifier(repair=repair, vectors=True)
    state, _ = Verification.objects.get_or_create(id=1)
    while verifier.report.memories < memories:
        live = Generation.objects.exclude(state=Generation.State.RETIRED).order_by("id")
        generation = live.filter(id__gte=state.generation_id).first()
        if generation is None:
            state.generation_id, (state.memory_id, state.documents) = 0, Place()  # the next round
            break
        begun = generation.pk == state.generation_id
        start = Place(state.memory_id, state.documents) if begun else Place()
        limit = memories - verifier.report.memories
        place = verifier.tenant(generation.tenant, start=start, limit=limit, deadline=deadline)
        state.generation_id = generation.pk + (place is None)
        state.memory_id, state.documents = place or Place()
        # An outage, or the time limit of the task, must not begin the round again.
        state.save()
        if time.monotonic() >= deadline:
            break
    report = verifier.report.as_json()
    state.report, state.checked_at = report, timezone.now()
    state.save()
    return report


def _with_other_vector(generation: Generation, rows: Sequence[MemoryLog]) -> list[MemoryLog]:
    """Return the rows whose vector in the index is missing or differs. One missing vector fails Chroma's whole call."""
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
            *_with_other_vector(generation, rows[:half]),
            *_with_other_vector(generation, rows[half:]),
        ]
    return [row for row in rows if not _is_same(held.get(document_id(row.id, row.tenant)), row.embedding)]


def _vectors(collection: "ChromaCollection", ids: list[str]) -> dict[str, Any]:
    found = collection.get(ids=ids, include=["embeddings"])
    return dict(zip(found["ids"], found["embeddings"], strict=True))  # type: ignore[arg-type]  # the call includes them


def _is_same(held: Any, vector: Any) -> bool:
    """Compare directions: Chroma divides a vector by its length."""
    return held is not None and np.allclose(
        held / np.linalg.norm(held), vector / np.linalg.norm(vector), atol=1e-4
    )


def _held(generation: Generation | None, documents: Sequence[str]) -> dict[str, Metadata]:
    return reading.metadata(generation, documents) if generation is not None else {}


def _with_open_event(memory_ids: "Iterator[int | None] | Collection[int]") -> set[int]:
    """Return the ids of the memories with an event that is not settled."""
    wanted = [str(memory_id) for memory_id in memory_ids if memory_id is not None]
    events = open_events().filter(aggregatetype__in=(AGGREGATE, VECTOR_AGGREGATE), aggregateid__in=wanted)
    return {int(memory_id) for memory_id in events.values_list("aggregateid", flat=True)}


def _is_not_reached(row: MemoryLog, generation: Generation | None) -> bool:
    """Tell whether the collection is still being filled and has not reached this memory."""
    return (
        generation is not None
        and generation.state == Generation.State.BUILDING
        and row.id > (generation.position or 0)
    )


def _tenant(held: Metadata) -> Tenant | None:
    user_id, project_id = held.get("user_id"), held.get("project_id")
    return Tenant(user_id, project_id) if isinstance(user_id, str) and isinstance(project_id, str) else None
