"""Which metadata the former versions of a memory may have left in the index.

An upsert merges metadata: a key that the memory no longer has must be named to be removed. The history knows the keys,
so Chroma need not be asked before each write of a changed memory, which takes it a third as long as the write.
"""

import json
from collections.abc import Sequence
from typing import Any

from memories.index.metadata import keys_of
from memories.models import MemoryLog
from outbox.database import prepared

# For a memory with more or larger versions Chroma is asked: reading them all would take longer.
MOST_VERSIONS, MOST_BYTES = 8, 4096

FORMER = f"""
SELECT v.pgh_obj_id, v.version, v.raw_data::text
FROM unnest(%(ids)s::bigint[], %(versions)s::int[]) AS given (id, version)
JOIN memory_versions v ON v.pgh_obj_id = given.id AND v.version < given.version
WHERE pg_column_size(v.raw_data) <= {MOST_BYTES}
"""


def former_keys(rows: Sequence[MemoryLog]) -> dict[int, set[str]]:
    """Return the keys by memory id, for each changed memory of which the history has all former versions."""
    changed = [row for row in rows if 1 < row.version <= MOST_VERSIONS]
    if not changed:
        return {}
    known: dict[int, dict[int, set[str]]] = {}
    for memory_id, version, raw_data in _former(changed):
        # As Django reads the memory itself: orjson refuses numbers that no float can hold.
        known.setdefault(memory_id, {})[version] = keys_of(json.loads(raw_data))
    return {
        row.id: set().union(*known[row.id].values())
        for row in changed
        if len(known.get(row.id, ())) == row.version - 1
    }


def _former(rows: Sequence[MemoryLog]) -> list[tuple[Any, ...]]:
    versions = {"ids": [row.id for row in rows], "versions": [row.version for row in rows]}
    return prepared.rows(FORMER, versions)
