"""From commit to searchable: one memory at a time on an otherwise idle service.

`semantix` is the whole way (wakeup, claim, embed, store, claim, index); `limit` is the same Chroma upsert alone.
A memory counts as searchable once Chroma itself returns it.
"""

import time
from argparse import Namespace

from benchmarks.__main__ import Figures
from benchmarks.service import cluster, percentiles, say, stores


def run(options: Namespace) -> Figures:
    count = 30 if options.quick else 200
    with stores(), cluster():
        from memories.models import Tenant

        tenant = Tenant("benchmark", "freshness")
        say("Warming up ...")
        _measure(tenant, 10)
        say(f"{count} memories, one at a time ...")
        return {"semantix": percentiles(_measure(tenant, count)), "limit": percentiles(_chroma_alone(count))}


def _measure(tenant: "Tenant", count: int) -> list[float]:  # type: ignore[name-defined]  # noqa: F821
    from memories.index.client import get_client
    from memories.index.names import collection_name, document_id
    from memories.services import NewMemory, create_memory

    spent = []
    collection = None
    for number in range(count):
        row = create_memory(
            NewMemory(
                user_id=tenant.user_id,
                project_id=tenant.project_id,
                task=f"Fix the timeout of service {number}",
                agent="coder",
                raw_data={"solution": f"The pool of {number} connections was too small."},
            )
        )
        committed = time.perf_counter()
        wanted = document_id(row.id, tenant)
        while True:
            if collection is None:
                names = {found.name for found in get_client().list_collections()}
                if collection_name(tenant) in names:
                    collection = get_client().get_collection(collection_name(tenant), embedding_function=None)
            elif collection.get(ids=[wanted], include=[])["ids"]:
                break
            time.sleep(0.0005)  # the cores are the cluster's, too
        spent.append((time.perf_counter() - committed) * 1000)
        time.sleep(0.02)
    return spent


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
