"""Opening a generation's collection in Chroma, and being sure that it is the one that was filled."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from django.conf import settings

from memories.index import generations
from memories.index.client import DEPENDENCY, get_client, translated_errors
from memories.index.ids import PREFIX
from memories.models import Generation
from outbox import Unavailable

if TYPE_CHECKING:
    from chromadb.api.models.Collection import Collection

Result = TypeVar("Result")

# Chroma's words for a collection whose files are gone: it takes writes, counts, and fails every query. After a
# restart it says nothing and finds nothing.
DAMAGED = ("hnsw segment reader", "hnsw segment writer", "Nothing found on disk")

# Chroma writes a collection's vectors to its folder once so many changed, and reads the folder alone when it opens
# anew what it had closed to keep its memory bounded: with the 1,000 it takes by itself, up to 999 changes are not
# found then, and a small collection fails every query. Only what changed is written: it costs next to nothing.
CHANGES_UNWRITTEN = 1

PAGE = 1_000
# Enough for every tenant a process is likely to serve; each takes some kilobytes.
MOST_HANDLES = 10_000

# By server and generation.
_handles: dict[tuple[str, int], "Collection"] = {}
os.register_at_fork(after_in_child=_handles.clear)


class IndexMismatch(Exception):
    """The collection of that name belongs to another tenant, or holds vectors of another model."""


class CollectionLost(Unavailable):
    """The collection that was filled is not in Chroma any more: deleted, or Chroma stands on another folder."""

    def __init__(self, generation: Generation) -> None:
        self.generation = generation
        super().__init__(DEPENDENCY, f"the collection {generation.collection} is gone; it has to be rebuilt")


class CollectionDamaged(CollectionLost):
    """It is there, but its vectors are not: only a new collection can take its place."""

    def __init__(self, generation: Generation, words: str) -> None:
        self.generation = generation
        Unavailable.__init__(
            self,
            DEPENDENCY,
            f"the collection {generation.collection} is damaged ({words}); it has to be rebuilt",
        )


class NotFilled(Unavailable):
    """The collection does not hold everything yet."""

    def __init__(self, generation: Generation) -> None:
        super().__init__(DEPENDENCY, f"the collection {generation.collection} is still being filled")


def with_collection(
    generation: Generation, use: Callable[["Collection"], Result], *, make: bool = False
) -> Result:
    """What `use` returns of the generation's collection; with `make`, one never made before is made.

    A handle of a collection that was made anew since is replaced. Raises CollectionLost, IndexMismatch, Unavailable.
    """
    from chromadb.errors import NotFoundError

    with translated_errors(), _telling_damage(generation):
        try:
            return use(_open(generation, make=make))
        except NotFoundError:
            _reload(generation)
        try:
            return use(_open(generation, make=make))
        except NotFoundError:
            raise CollectionLost(generation) from None


@contextmanager
def _telling_damage(generation: Generation) -> Iterator[None]:
    from chromadb.errors import InternalError

    try:
        yield
    except InternalError as error:
        if any(words in str(error) for words in DAMAGED):
            raise CollectionDamaged(generation, str(error)) from error
        raise


def look_for(generation: Generation, *, make: bool = False) -> bool:
    """See that the collection is there and answers; with `make`, one never made before is made.

    Returns whether it holds anything. Raises as with_collection.
    """
    anything = np.full((1, generation.dimensions), 1.0, dtype=np.float32)

    def ask(collection: "Collection") -> bool:
        near = collection.query(query_embeddings=anything, n_results=1, include=[])["ids"][0]
        # A damaged one counts its documents all the same.
        if not near and collection.count():
            raise CollectionDamaged(generation, "it has documents and finds none")
        return bool(near)

    return with_collection(generation, ask, make=make)


def names() -> list[str]:
    """Of all collections that look like ours. Raises Unavailable."""
    found: list[str] = []
    with translated_errors():
        while page := get_client().list_collections(limit=PAGE, offset=len(found)):
            found += [collection.name for collection in page]
    return [name for name in found if name.startswith(PREFIX)]


def drop(name: str) -> None:
    """Delete the collection of that name, if there is one. Raises Unavailable."""
    from chromadb.errors import NotFoundError

    with translated_errors():
        try:
            get_client().delete_collection(name)
        except NotFoundError:
            return


def _open(generation: Generation, *, make: bool) -> "Collection":
    key = (settings.CHROMA_URL, generation.pk)
    handle = _handles.get(key)
    if handle is None or handle.id != generation.chroma_id:
        handle = _made(generation) if make and generation.chroma_id is None else _found(generation)
        if len(_handles) >= MOST_HANDLES:
            _handles.clear()
        _handles[key] = handle
    return handle


def _found(generation: Generation) -> "Collection":
    handle = get_client().get_collection(generation.collection, embedding_function=None)
    if handle.id != generation.chroma_id:
        raise CollectionLost(generation)
    return handle


def _made(generation: Generation) -> "Collection":
    handle = get_client().get_or_create_collection(
        generation.collection,
        metadata=identity(generation),
        configuration={"hnsw": {"space": "cosine", "sync_threshold": CHANGES_UNWRITTEN}},
        embedding_function=None,  # the default one downloads a model
    )
    _check(handle, generation)
    if not generations.note_made(generation, handle.id):
        raise CollectionLost(generation)
    return handle


def _reload(generation: Generation) -> None:
    try:
        generation.refresh_from_db()
    except Generation.DoesNotExist:
        raise CollectionLost(generation) from None


def identity(generation: Generation) -> dict[str, Any]:
    """The collection's metadata: whose it is and what its vectors are."""
    return {
        "user_id": generation.user_id,
        "project_id": generation.project_id,
        "embedding_model": generation.model,
        "dimensions": generation.dimensions,
    }


def _check(collection: "Collection", generation: Generation) -> None:
    # get_or_create ignores metadata that differs, silently.
    wanted = identity(generation)
    found = {key: (collection.metadata or {}).get(key) for key in wanted}
    if found != wanted:
        raise IndexMismatch(
            f"Collection {collection.name} was made for {found}, but {wanted} is wanted. Does another database "
            "use this Chroma server? `manage.py rebuild_index --recreate` makes a collection of another name."
        )
