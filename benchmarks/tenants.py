"""Memory and open files of Chroma with 2,000 tenants, where it keeps 64 of their collections open.

Each tenant has 50 memories of 768 dimensions. Every tenant is searched once, in an order that opens each collection
again, and then one tenant many times. `limit` is the promised bound.
"""

import time
from argparse import Namespace

import numpy as np

from benchmarks.__main__ import Figures
from benchmarks.processor import listening_on
from benchmarks.service import percentiles, say, stores

DIMENSIONS = 768
MEMORIES = 50
LIMIT_MB = 1_000.0


def run(options: Namespace) -> Figures:
    count = 200 if options.quick else 2_000
    with stores(CHROMA_OPEN_COLLECTIONS="64"):
        from django.conf import settings

        from memories.tenants import Tenant

        tenants = [Tenant(f"user-{number}", "benchmark") for number in range(count)]
        say(f"{count} tenants of {MEMORIES} memories ...")
        _fill(tenants)
        say("A search in each ...")
        cold = percentiles([_search(tenant) for tenant in tenants])
        warm = percentiles([_search(tenants[0]) for _ in range(200)])
        server = listening_on(settings.CHROMA_URL)
        return {
            "limit": {"rss_mb": LIMIT_MB},
            "semantix": {
                "tenants": count,
                "rss_mb": round(server.memory_info().rss / 1e6, 1),
                "open_files": server.num_fds(),
                **{f"opening_{name}": value for name, value in cold.items()},
                **{f"open_{name}": value for name, value in warm.items()},
            },
        }


def _fill(tenants: "list[Tenant]") -> None:  # type: ignore[name-defined]  # noqa: F821
    from memories.index import generations, upsert
    from memories.models import MemoryLog

    live = generations.get_or_create(tenants)
    vectors = np.random.default_rng(1).standard_normal((MEMORIES, DIMENSIONS)).astype(np.float32)
    for tenant in tenants:
        rows = [
            MemoryLog(
                **{"id": number, **tenant._asdict()},
                task=f"Fix the timeout of service {number}",
                agent="coder",
                raw_data={"summary": "The pool of connections was too small."},
                content_hash="h",
            )
            for number in range(1, MEMORIES + 1)
        ]
        upsert.upsert(live[tenant].write_target, rows, vectors)


def _search(tenant: "Tenant") -> float:  # type: ignore[name-defined]  # noqa: F821
    """The milliseconds of one search, without the embedding of its query."""
    from memories.index import generations, query

    query_vector = query.make_query_vector(generations.of_tenant(tenant), "timeout of a service")
    assert query_vector is not None
    started = time.perf_counter()
    hits = query.nearest(query_vector, limit=10).distances
    spent = (time.perf_counter() - started) * 1000
    assert len(hits) == 10
    return spent
