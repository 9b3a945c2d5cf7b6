"""A collection whose calls keep to the quotas of the server: large ones are sent in parts, concurrent ones wait."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Any

from django.conf import settings

from memories.index import quotas

if TYPE_CHECKING:
    from chromadb.api.models.Collection import Collection

# Collections of which the places are remembered. A process rarely calls more of them at the same moment.
MAX_COLLECTIONS = 10_000


class BoundedCollection:
    """Has the methods of a collection that this project calls. Other attributes are the collection's own.

    The processes of this machine share the calls that may run at the same time. Other machines are not known here: the
    client tries a call again that the server refuses as one too many.
    """

    def __init__(self, collection: "Collection") -> None:
        self._collection = collection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._collection, name)

    def query(self, **options: Any) -> Any:
        with self._place("read"):
            return self._collection.query(**options)

    def count(self) -> int:
        with self._place("read"):
            return self._collection.count()

    def get(self, ids: list[str] | None = None, limit: int | None = None, **options: Any) -> Any:
        """Return the documents with these ids, or a page of at most `limit`. A page may be shorter than that."""
        size = quotas.current().results
        if ids is None:
            return self._get(limit=min(limit or size, size), **options)
        parts = [self._get(ids=ids[start : start + size], **options) for start in range(0, len(ids), size)]
        return parts[0] if len(parts) == 1 else _joined(parts)

    def upsert(self, **columns: Any) -> None:
        """Write documents, given as columns of the same length."""
        self._write(self._collection.upsert, columns)

    def update(self, **columns: Any) -> None:
        """Change documents that are there, given as columns of the same length."""
        self._write(self._collection.update, columns)

    def delete(self, **columns: Any) -> None:
        """Delete documents, given by their `ids`."""
        self._write(self._collection.delete, columns)

    def _write(self, write: Callable[..., object], columns: dict[str, Any]) -> None:
        size = quotas.current().records
        for start in range(0, len(columns["ids"]), size):
            with self._place("write"):
                write(**{name: its[start : start + size] for name, its in columns.items()})

    def _get(self, **options: Any) -> Any:
        with self._place("read"):
            return self._collection.get(**options)

    @contextmanager
    def _place(self, kind: str) -> Iterator[None]:
        web_and_workers = 1 + settings.Q_CLUSTER["workers"]
        share = max(1, quotas.current().concurrent // web_and_workers)
        with _places(str(self._collection.id), kind, share):
            yield


@lru_cache(maxsize=MAX_COLLECTIONS)
def _places(collection: str, kind: str, most: int) -> BoundedSemaphore:
    return BoundedSemaphore(most)


def _joined(parts: list[Any]) -> dict[str, Any]:
    """One answer of several. What was not asked for is None in each."""
    return {
        name: None
        if any(part[name] is None for part in parts)
        else [one for part in parts for one in part[name]]
        for name in ("ids", "embeddings", "documents", "metadatas")
    }
