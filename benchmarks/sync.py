"""Memories a second from stored to indexed, by a running cluster, compared with Chroma alone.

`semantix` stores memories of ten tenants in batches of 500, each of one tenant as a client sends them, and counts until
the last one is marked as indexed: one cluster of two workers claims, extracts, embeds, stores, indexes and settles. In
`semantix_mixed` each batch has memories of all tenants: Chroma then gets fewer rows a call. `limit` is raw
`collection.upsert` of the same documents and vectors by one client, 100 rows a call, into collections with the settings
of the index, on a server of its own. `limit_mixed` is the same with the calls of `semantix_mixed`: 46 rows for each
tenant in turns, 33 with `--quick`.
"""

import time
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.__main__ import Figures
from benchmarks.service import cluster, say, stores
from semantix.allinone import chroma

TENANTS = 10
A_TRANSACTION = 500
RAW_BATCH = 100
# What a call of the workers brings on the average where all tenants write at once, of 6,000 and of 20,000 memories.
QUICK_BATCH_MIXED, RAW_BATCH_MIXED = 33, 46


def run(options: Namespace) -> Figures:
    count = 6_000 if options.quick else 20_000
    with stores() as folder:
        with cluster():
            say("Warming up ...")
            _through(_new(200, "warm"))
            say(f"{count} memories through the cluster ...")
            rate = _through(sorted(_new(count, "user"), key=lambda new: new.user_id))
            say(f"{count} memories, all tenants at once ...")
            mixed = _through(_new(count, "mixed"))
        say("Raw upserts ...")
        limit = _raw(folder / "raw", RAW_BATCH, in_turns=False)
        rows = QUICK_BATCH_MIXED if options.quick else RAW_BATCH_MIXED
        limit_mixed = _raw(folder / "raw-mixed", rows, in_turns=True)
    return {
        "limit": {"memories_per_s": limit},
        "limit_mixed": {"memories_per_s": limit_mixed},
        "semantix": {"memories_per_s": rate, "share_of_limit": round(rate / limit, 3)},
        "semantix_mixed": {"memories_per_s": mixed, "share_of_limit": round(mixed / limit_mixed, 3)},
    }


def _new(count: int, user: str) -> "list[NewMemory]":  # type: ignore[name-defined]  # noqa: F821
    from memories.records.services import NewMemory

    return [
        NewMemory(
            user_id=f"{user}-{number % TENANTS}",
            project_id="benchmark",
            task=f"Fix the timeout of service {number}",
            agent="coder",
            raw_data={
                "summary": f"The pool of {number} connections was too small: under load requests waited",
                "solution": f"Raised the pool to {number + 1} and let a request wait no longer than {number} ms",
                "tags": ["pool", f"service-{number % 97}"],
            },
        )
        for number in range(count)
    ]


def _through(new: "list[NewMemory]") -> float:  # type: ignore[name-defined]  # noqa: F821
    """Memories a second, from storing the first one until all are indexed."""
    from memories.models import MemoryLog
    from memories.records.services import create_memories

    started = time.perf_counter()
    rows = [
        row
        for start in range(0, len(new), A_TRANSACTION)
        for row in create_memories(new[start : start + A_TRANSACTION])
    ]
    ours = MemoryLog.objects.filter(id__gte=rows[0].id, id__lte=rows[-1].id)
    while ours.filter(indexed_version__isnull=True).exists():
        time.sleep(0.05)
    return round(len(new) / (time.perf_counter() - started), 1)


def _raw(folder: Path, batch: int, *, in_turns: bool) -> float:
    """Rows a second of one client that has all data in memory, and writes the tenants one by one or in turns."""
    from memories.index.client import connect
    from memories.index.collections import HNSW

    server = chroma.start(folder, log=folder.with_suffix(".log"))
    try:
        client = connect(server.url, timeout=60)
        calls: list[tuple[int, int, dict[str, Any]]] = [
            (start, tenant, call) for tenant in range(TENANTS) for start, call in _calls(tenant, batch)
        ]
        if in_turns:
            calls.sort(key=lambda call: call[:2])
        count = sum(len(call["ids"]) for *_, call in calls)
        started = time.perf_counter()
        collections = [
            client.create_collection(f"raw-{tenant}", configuration={"hnsw": HNSW}, embedding_function=None)
            for tenant in range(TENANTS)
        ]
        for _, tenant, call in calls:
            collections[tenant].upsert(**call)
        return round(count / (time.perf_counter() - started), 1)
    finally:
        server.stop()


def _calls(tenant: int, batch: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """The columns of each call, with the place of its first row."""
    from memories.index.metadata import metadata_of
    from memories.indexing.derived import text_of
    from memories.models import MemoryLog

    rows = list(MemoryLog.objects.filter(user_id=f"user-{tenant}").order_by("id"))
    for start in range(0, len(rows), batch):
        part = rows[start : start + batch]
        yield (
            start,
            {
                "ids": [str(row.id) for row in part],
                "embeddings": [row.embedding for row in part],
                "documents": [text_of(row) for row in part],
                "metadatas": [metadata_of(row) for row in part],
            },
        )
