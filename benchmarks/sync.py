"""Memories a second from stored to indexed, by a running cluster, compared with Chroma alone.

`semantix` stores memories of ten tenants in batches of 500, each of one tenant as a client sends them, and counts until
the last one is marked as indexed: one cluster of two workers claims, extracts, embeds, stores, indexes and settles. In
`semantix_mixed` each batch has memories of all tenants: Chroma then gets a tenth as many rows a call. `limit` is raw
`collection.upsert` of the same documents and vectors by one client, 100 rows a call, on a server of its own.
"""

import time
from argparse import Namespace
from pathlib import Path
from typing import Any

from benchmarks.__main__ import Figures
from benchmarks.service import cluster, say, stores
from semantix.allinone import chroma

TENANTS = 10
A_TRANSACTION = 500
RAW_BATCH = 100


def run(options: Namespace) -> Figures:
    count = 2_000 if options.quick else 20_000
    with stores() as folder:
        with cluster():
            say("Warming up ...")
            _through(_new(200, "warm"))
            say(f"{count} memories through the cluster ...")
            rate = _through(sorted(_new(count, "user"), key=lambda new: new.user_id))
            say(f"{count} memories, all tenants at once ...")
            mixed = _through(_new(count, "mixed"))
        say("Raw upserts ...")
        limit = _raw(folder)
    return {
        "limit": {"memories_per_s": limit},
        "semantix": {"memories_per_s": rate, "share_of_limit": round(rate / limit, 3)},
        "semantix_mixed": {"memories_per_s": mixed, "share_of_limit": round(mixed / limit, 3)},
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


def _raw(folder: Path) -> float:
    """Rows a second of one client that has all data in memory."""
    from memories.index.client import connect
    from memories.index.metadata import metadata_of
    from memories.indexing.derived import text_of
    from memories.models import MemoryLog

    server = chroma.start(folder / "raw", log=folder / "raw.log")
    try:
        client = connect(server.url, timeout=60)
        spent, count = 0.0, 0
        for tenant in range(TENANTS):
            rows = list(MemoryLog.objects.filter(user_id=f"user-{tenant}").order_by("id"))
            documents: list[str] = [text_of(row) for row in rows]
            metadatas: Any = [metadata_of(row) for row in rows]
            started = time.perf_counter()
            collection = client.create_collection(
                f"raw-{tenant}", configuration={"hnsw": {"space": "cosine"}}, embedding_function=None
            )
            for start in range(0, len(rows), RAW_BATCH):
                part = slice(start, start + RAW_BATCH)
                collection.upsert(
                    ids=[str(row.id) for row in rows[part]],
                    embeddings=[row.embedding for row in rows[part]],
                    documents=documents[part],
                    metadatas=metadatas[part],
                )
            spent += time.perf_counter() - started
            count += len(rows)
        return round(count / spent, 1)
    finally:
        server.stop()
