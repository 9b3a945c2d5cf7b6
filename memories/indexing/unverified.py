"""Verifying what a filling wrote before it ended, and did not look at again.

A process that dies may leave writes with Chroma. Chroma carries them out at some time, over a newer version or after a
deletion. So these memories are compared once more, when none of these writes can be left.
"""

from memories.index import orphans, reading
from memories.index.ids import document_id
from memories.index.metadata import metadata_of
from memories.indexing import sync
from memories.models import Generation, MemoryLog


def verify(generation: Generation, *, after: int, until: int) -> int:
    """Compare the memories with ids after `after` up to `until`, and index those that differ. Returns their number.

    Raises Unavailable, CollectionLost.
    """
    # Chroma is read before PostgreSQL, so that a difference is at most a change that has its own event.
    held = reading.metadata_between(generation, after, until)
    tenant = generation.tenant
    rows = MemoryLog.objects.filter(**tenant._asdict(), id__gt=after, id__lte=until).defer("embedding")
    wanted = {document_id(row.id, tenant): metadata_of(row) for row in rows}
    differing = [id for id in held.keys() | wanted.keys() if held.get(id) != wanted.get(id)]
    sync.index(dict.fromkeys(orphans.memory_ids(differing), tenant))
    return len(differing)
