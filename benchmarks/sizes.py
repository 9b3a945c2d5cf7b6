"""Bytes of a memory on the disk and in memory: in each table of PostgreSQL, in its log, and in Chroma.

20,000 memories of 20 tenants are stored and indexed as the service does it, and the tables are vacuumed. All figures
are divided by the number of memories. `files_bytes` are Chroma's files, `vectors_bytes` those with vectors and their
links, which an open collection holds in memory as well. `memory_bytes` is by how much Chroma's process has grown.
"""

from argparse import Namespace
from pathlib import Path

import psutil

from benchmarks import costs
from benchmarks.__main__ import Figures
from benchmarks.processor import listening_on
from benchmarks.service import cluster, say, stores, until_settled

MEMORIES, TENANTS, AT_ONCE = 20_000, 20, 500
TABLES = """
SELECT relname, pg_relation_size(t.oid) AS heap, coalesce(pg_total_relation_size(nullif(reltoastrelid, 0)), 0) AS toast,
       pg_indexes_size(t.oid) AS indexes
FROM pg_class t WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname ~ '^(memory|outbox)_'
ORDER BY pg_total_relation_size(t.oid) DESC
"""
WRITTEN = "SELECT (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint"
# A table with less has rows for each tenant or for each process, not for each memory.
LEAST_BYTES = 20


def run(options: Namespace) -> Figures:
    memories = options.memories or (2_000 if options.quick else MEMORIES)
    with stores(OUTBOX_MAX_BACKLOG="0") as folder, cluster():
        from django.conf import settings

        chroma = listening_on(settings.CHROMA_URL)
        before = _other_bytes(folder / "chromadb", chroma)
        say(f"Storing and indexing {memories:,} memories ...")
        _fill(memories)
        figures = {name: sizes for name, *sizes in _rows("VACUUM ANALYZE", TABLES)}
        after = _other_bytes(folder / "chromadb", chroma)
    each = {
        name: dict(
            zip(
                ("heap_bytes", "toast_bytes", "index_bytes"),
                (round(size / memories) for size in sizes),
                strict=True,
            )
        )
        for name, sizes in figures.items()
        if sum(sizes) > LEAST_BYTES * memories
    }
    grown = {name: round((after[name] - before[name]) / memories) for name in after}
    return {**each, "chroma": {name: grown[name] for name in grown if name != "log_bytes"}} | {
        "postgresql, all": {
            "sum_bytes": round(sum(map(sum, figures.values())) / memories),
            "log_bytes": grown["log_bytes"],
        }
    }


def _fill(memories: int) -> None:
    from memories.records.services import NewMemory, create_memories

    for start in range(0, memories, AT_ONCE):
        create_memories(NewMemory(**costs.memory((start + number) % TENANTS)) for number in range(AT_ONCE))
    until_settled()


def _rows(*statements: str) -> list[tuple[str, int, int, int]]:
    """The rows of the last statement."""
    from django.db import connection

    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        return list(cursor.fetchall())


def _other_bytes(folder: Path, chroma: psutil.Process) -> dict[str, int]:
    files = [file for file in folder.rglob("*") if file.is_file()]
    return {
        "files_bytes": sum(file.stat().st_size for file in files),
        "vectors_bytes": sum(file.stat().st_size for file in files if file.suffix == ".bin"),
        "memory_bytes": chroma.memory_info().rss,
        "log_bytes": int(_rows(WRITTEN)[0][0]),
    }
