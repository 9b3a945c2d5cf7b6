"""Opening a generation's collection in Chroma, and checking that it is the collection that was filled."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from math import inf
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from memories.index import generations
from memories.index.bounded import BoundedCollection
from memories.index.client import DEPENDENCY, address, get_client, translated_errors
from memories.index.ids import PREFIX
from memories.models import Generation
from outbox import Unavailable
from outbox.exceptions import kind_and_place

if TYPE_CHECKING:
    from chromadb.api.collection_configuration import CreateHNSWConfiguration
    from chromadb.api.models.Collection import Collection

Result = TypeVar("Result")

# Chroma's messages for a collection whose files are gone. Such a collection accepts writes and counts its documents,
# but fails every query. After a restart it fails no query, and finds nothing.
DAMAGE_MESSAGES = ("hnsw segment reader", "hnsw segment writer", "Nothing found on disk")
# The same message comes for a collection that never had a document and that Chroma has closed. Nothing is lost there.
# A first document may arrive at this moment, so the count is taken several times.
EMPTY_MESSAGE = "Nothing found on disk"
EMPTY_CHECKS, EMPTY_PAUSE = 5, 0.05
# Chroma's message for a collection with a write in its log that it can never apply. Every later write fails with it.
BLOCKED_MESSAGE = "Failed to apply logs"

# Chroma writes a collection's vectors to its folder after this many changes. When it reopens a collection that it had
# closed to bound its memory, it reads the folder alone. With Chroma's own default of 1,000, up to 999 changes are then
# not found, and a small collection fails every query. 1 costs almost nothing: Chroma writes only what changed.
SYNC_THRESHOLD = 1

# Links of each vector, and vectors that Chroma compares while it builds and while it searches. Hashed words have no few
# main directions, so the graph needs a wide search: among 5,000 texts of mixed languages and lengths a search of 200
# vectors finds 94 of 100 nearest memories, and one of 1,000 finds 99. Among 20,000 it finds 97 in a graph that was
# built with 128, and 99 in one that was built with 256: such a graph has better links. That costs a large import a
# third of a millisecond a memory, and a search nothing. A search of 2,000 vectors instead would take it 2 ms.
HNSW: "CreateHNSWConfiguration" = {
    "space": "cosine",
    "max_neighbors": 24,
    "ef_construction": 256,
    "ef_search": 1_000,
    "sync_threshold": SYNC_THRESHOLD,
}

PAGE = 1_000
# Documents that one call deletes. Meanwhile queries of other collections wait: 40 ms, with 1,000 documents 120 ms.
DROP_PAGE = 500
# Enough for every tenant that a process is likely to serve. A handle takes a few kilobytes.
MAX_HANDLES = 10_000

# By address and generation.
_handles: dict[tuple[str, str, str, int], "Collection"] = {}
os.register_at_fork(after_in_child=_handles.clear)


class CollectionUnusable(Exception):
    """Work on this tenant's collection cannot go on; on those of other tenants it can."""

    def __init__(self, generation: Generation, reason: str) -> None:
        self.generation = generation
        super().__init__(reason)

    @property
    def loggable(self) -> str:
        """The error for a log, which nothing erases: the message of another error may quote a memory."""
        return kind_and_place(self.__cause__) if self.__cause__ else str(self)


class IndexMismatch(CollectionUnusable):
    """The collection with this name belongs to another tenant, or holds another model's vectors."""


class CollectionLost(Unavailable):
    """Chroma no longer has the collection that was filled: it was deleted, or Chroma uses another folder."""

    def __init__(self, generation: Generation) -> None:
        self.generation = generation
        super().__init__(DEPENDENCY, f"the collection {generation.collection} is gone and has to be rebuilt")


class CollectionDamaged(CollectionLost):
    """The collection exists, but its vectors are lost. Only a new collection can replace it."""

    def __init__(self, generation: Generation, reason: str) -> None:
        self.generation = generation
        Unavailable.__init__(
            self,
            DEPENDENCY,
            f"the collection {generation.collection} is damaged ({reason}) and has to be rebuilt",
        )


class CollectionBlocked(CollectionUnusable):
    """A collection that is being filled holds a write that Chroma cannot apply, so no other write succeeds."""


class CollectionEmpty(Exception):
    """The collection has no documents, and Chroma cannot open it for a query."""


class NotFilled(Unavailable):
    """The collection does not hold all memories of its tenant yet."""

    def __init__(self, generation: Generation) -> None:
        super().__init__(DEPENDENCY, f"the collection {generation.collection} is still being filled")


def with_collection(
    generation: Generation, use: Callable[["Collection"], Result], *, create: bool = False
) -> Result:
    """Call `use` with the generation's collection and return its result.

    With `create`, a collection that never existed is created. A stale handle is replaced: the collection may have been
    created again since. Raises CollectionLost, CollectionEmpty, CollectionBlocked, IndexMismatch,
    Unavailable.
    """
    from chromadb.errors import NotFoundError

    with translated_errors(), _damage_detected(generation):
        try:
            return _use(_bounded(generation, create=create), use)
        except NotFoundError:
            _reload(generation)
        try:
            return _use(_bounded(generation, create=create), use)
        except NotFoundError:
            raise CollectionLost(generation) from None


def _use(collection: "Collection", use: Callable[["Collection"], Result]) -> Result:
    """Raises CollectionEmpty for a query of a collection that never had a document."""
    from chromadb.errors import InternalError

    for _ in range(EMPTY_CHECKS):
        try:
            return use(collection)
        except InternalError as error:
            if EMPTY_MESSAGE not in str(error):
                raise
            if not collection.count():
                raise CollectionEmpty(collection.name) from error
            damage = error
        time.sleep(EMPTY_PAUSE)
    raise damage


@contextmanager
def _damage_detected(generation: Generation) -> Iterator[None]:
    from chromadb.errors import InternalError

    try:
        yield
    except InternalError as error:
        if any(message in str(error) for message in DAMAGE_MESSAGES):
            raise CollectionDamaged(generation, str(error)) from error
        if BLOCKED_MESSAGE not in str(error):
            raise
        if generation.state == Generation.State.BUILDING:
            # Its successor would be filled with the same documents, and be blocked by the same one.
            reason = f"Chroma cannot write to {generation.collection}: {error}"
            raise CollectionBlocked(generation, reason) from error
        raise CollectionDamaged(generation, str(error)) from error


def check_collection(generation: Generation, *, create: bool = False) -> bool:
    """Check that the collection exists and answers a query; with `create`, one that never existed is created.

    Returns whether it holds any document. Raises as with_collection.
    """
    any_vector = np.full((1, generation.dimensions), 1.0, dtype=np.float32)

    def query(collection: "Collection") -> bool:
        for _ in range(EMPTY_CHECKS):
            if collection.query(query_embeddings=any_vector, n_results=1, include=[])["ids"][0]:
                return True
            # A damaged collection still counts its documents.
            if not collection.count():
                return False
            # Its first document may have arrived after the query.
            time.sleep(EMPTY_PAUSE)
        raise CollectionDamaged(generation, "it has documents but finds none")

    try:
        return with_collection(generation, query, create=create)
    except CollectionEmpty:
        return False


def collection_names() -> list[str]:
    """Return the names of all collections in Chroma that have our prefix. Raises Unavailable."""
    found: list[str] = []
    with translated_errors():
        while page := get_client().list_collections(limit=PAGE, offset=len(found)):
            found += [collection.name for collection in page]
    return [name for name in found if name.startswith(PREFIX)]


def drop(name: str, *, seconds: float = inf) -> bool:
    """Delete the collection of that name, if there is one. Raises Unavailable.

    Its documents go first: deleting a collection leaves the lists in their metadata (tags) in Chroma's database.
    Returns False if that was not complete after about `seconds`; another call continues.
    """
    from chromadb.errors import NotFoundError

    deadline = time.monotonic() + seconds
    with translated_errors():
        try:
            collection = get_client().get_collection(name, embedding_function=None)
            if not _empty(BoundedCollection(collection), deadline):
                return False
            get_client().delete_collection(name)
        except NotFoundError:
            pass
    return True


def count(name: str) -> int:
    """Return how many documents the collection of that name has, 0 if there is none. Raises Unavailable."""
    from chromadb.errors import NotFoundError

    with translated_errors():
        try:
            return get_client().get_collection(name, embedding_function=None).count()
        except NotFoundError:
            return 0


def _empty(collection: BoundedCollection, deadline: float) -> bool:
    from chromadb.errors import InternalError

    with suppress(InternalError):  # a damaged collection gives no ids, and goes as it is
        while ids := collection.get(limit=DROP_PAGE, include=[])["ids"]:
            collection.delete(ids=ids)
            if time.monotonic() > deadline:
                return False
    return True


def _bounded(generation: Generation, *, create: bool) -> "Collection":
    return cast("Collection", BoundedCollection(_open(generation, create=create)))


def _open(generation: Generation, *, create: bool) -> "Collection":
    key = (*address(), generation.pk)
    handle = _handles.get(key)
    if handle is None or handle.id != generation.chroma_id:
        handle = _create(generation) if create and generation.chroma_id is None else _get_existing(generation)
        if len(_handles) >= MAX_HANDLES:
            _handles.clear()
        _handles[key] = handle
    return handle


def _get_existing(generation: Generation) -> "Collection":
    handle = get_client().get_collection(generation.collection, embedding_function=None)
    if handle.id != generation.chroma_id:
        raise CollectionLost(generation)
    return handle


def _create(generation: Generation) -> "Collection":
    handle = get_client().get_or_create_collection(
        generation.collection,
        metadata=identity(generation),
        configuration={"hnsw": HNSW},
        embedding_function=None,  # Chroma's default one downloads a model
    )
    _check(handle, generation)
    if not generations.record_created(generation, handle.id):
        raise CollectionLost(generation)
    return handle


def _reload(generation: Generation) -> None:
    try:
        generation.refresh_from_db()
    except Generation.DoesNotExist:
        raise CollectionLost(generation) from None


def identity(generation: Generation) -> dict[str, Any]:
    """Return the collection's metadata: its tenant, and the model and dimensions of its vectors."""
    return {
        "user_id": generation.user_id,
        "project_id": generation.project_id,
        "embedding_model": generation.model,
        "dimensions": generation.dimensions,
    }


def _check(collection: "Collection", generation: Generation) -> None:
    # Chroma's get_or_create silently ignores metadata that differs.
    wanted = identity(generation)
    found = {key: (collection.metadata or {}).get(key) for key in wanted}
    if found != wanted:
        raise IndexMismatch(
            generation,
            f"Collection {collection.name} was created for {found}, but {wanted} was expected. Another database may "
            "use this Chroma server. `manage.py rebuild_index --recreate` creates a collection with another name.",
        )
