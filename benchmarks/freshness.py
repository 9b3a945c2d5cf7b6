"""Time from the commit of one memory until Chroma finds it, on a service that has nothing else to do.

`semantix` is the whole way: wakeup, claim, embed, store, claim, index. `limit` is the same Chroma upsert alone. A
memory counts as searchable when PostgreSQL says that Chroma has it, and Chroma then returns it. Chroma itself is not
polled: it does one thing at a time, and polling would slow it down.
"""

import os
import time
from argparse import Namespace

import psycopg

from benchmarks.__main__ import Figures
from benchmarks.service import cluster, percentiles, say, stores


def run(options: Namespace) -> Figures:
    count = 30 if options.quick else 200
    with stores(), cluster():
        from memories.tenants import Tenant

        tenant = Tenant("benchmark", "freshness")
        say("Warming up ...")
        _measure(tenant, 10)
        say(f"{count} memories, one at a time ...")
        return {"semantix": percentiles(_measure(tenant, count)), "limit": percentiles(_chroma_alone(count))}


def _measure(tenant: "Tenant", count: int) -> list[float]:  # type: ignore[name-defined]  # noqa: F821
    from memories.records.services import create_memory
    from outbox.database.channels import RECORDED

    spent = []
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as listening:
        listening.execute(f"LISTEN {RECORDED}")
        for number in range(count):
            row = create_memory(_new(tenant, number))
            committed = time.perf_counter()
            for _ in listening.notifies(timeout=60):
                row.refresh_from_db(fields=["indexed_version"])
                if row.indexed_version == row.version:
                    break
            spent.append((time.perf_counter() - committed) * 1000)
            _check_in_chroma(row)
            time.sleep(0.02)
    return spent


def _new(tenant: "Tenant", number: int) -> "NewMemory":  # type: ignore[name-defined]  # noqa: F821
    from memories.records.services import NewMemory

    return NewMemory(
        user_id=tenant.user_id,
        project_id=tenant.project_id,
        task=f"Fix the timeout of service {number}",
        agent="coder",
        raw_data={"solution": f"The pool of {number} connections was too small."},
    )


def _check_in_chroma(row: "MemoryLog") -> None:  # type: ignore[name-defined]  # noqa: F821
    from memories.index.client import get_client
    from memories.index.ids import collection_name, document_id

    collection = get_client().get_collection(collection_name(row.tenant), embedding_function=None)
    if not collection.get(ids=[document_id(row.id, row.tenant)], include=[])["ids"]:
        raise SystemExit(f"Memory {row.id} is marked as indexed, but Chroma does not have it.")


def _chroma_alone(count: int) -> list[float]:
    from memories.embeddings import embed_documents
    from memories.index.client import get_client

    collection = get_client().create_collection(
        "limit", embedding_function=None, configuration={"hnsw": {"space": "cosine"}}
    )
    spent = []
    for number in range(count):
        text = f"Fix the timeout of service {number}"
        started = time.perf_counter()
        collection.upsert(
            ids=[str(number)],
            embeddings=embed_documents([text]),
            documents=[text],
            metadatas=[{"number": number}],
        )
        spent.append((time.perf_counter() - started) * 1000)
        time.sleep(0.02)
    return spent
