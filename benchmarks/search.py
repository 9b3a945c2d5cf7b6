"""Time of a search at 1,000, 10,000 and 100,000 memories of one tenant, in each mode.

`limit` is the query of the mode `vector` sent to Chroma itself, with its vector at hand. `semantix` is the search
function, `degraded` the same while Chroma is away, `http` the request to the web server with its answer. Words and
questions follow Zipf's law, as those of a language do; the vectors are random.
"""

import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import httpx
import numpy as np

from benchmarks.__main__ import Figures
from benchmarks.service import percentiles, say, stores, web

USER = "benchmark"
VOCABULARY = 20_000
WORDS = 40
ASKED_WORDS = 8

Ask = Callable[[str], Any]

# The triggers write the terms of the words, as always.
FILL = """
INSERT INTO memory_logs (user_id, project_id, task, agent, date, raw_data, version, content_hash, embedded_hash,
                         embedding_model, embedding)
SELECT %(user_id)s, %(project_id)s, 'task ' || n / 20, 'agent' || n %% 5, '2026-01-01', jsonb_build_object('summary', (
           SELECT string_agg('word' || exp(random() * ln(%(vocabulary)s))::int, ' ')
           FROM generate_series(1, %(words)s) WHERE n > 0)),
       1, md5(n::text), md5(n::text), %(model)s,
       ARRAY(SELECT random() - 0.5 + n * 0 FROM generate_series(1, %(dimensions)s))::real[]::vector
FROM generate_series(1, %(memories)s) AS n
"""


def run(options: Namespace) -> Figures:
    sizes, questions = ((1_000,), 50) if options.quick else ((1_000, 10_000, 100_000), 300)
    figures: dict[str, dict[str, float]] = {}
    with stores(), web() as url:
        for size in sizes:
            _fill(size)
            subjects = {**_raw(size), **_semantix(size), **_http(size, url)}
            for subject, ask in subjects.items():
                say(f"{questions} questions: {subject}, {size:,} memories ...")
                with _away() if subject.startswith("degraded") else nullcontext():
                    measured = figures[f"{subject}, {size:,}"] = _measure(ask, questions)
                say(f"  {measured}")
    return figures


def _fill(size: int) -> None:
    from django.core.management import call_command
    from django.db import connection

    from memories.embeddings import get_backend

    say(f"Storing {size:,} memories ...")
    parameters: dict[str, str | int] = {
        "user_id": USER,
        "project_id": str(size),
        "memories": size,
        "vocabulary": VOCABULARY,
        "words": WORDS,
        "model": get_backend().model,
        "dimensions": get_backend().dimensions,
    }
    with connection.cursor() as cursor:
        cursor.execute(FILL, parameters)
        for table in ("memory_logs", "memory_terms", "memory_terms_sample"):
            cursor.execute(f"VACUUM ANALYZE {table}")
    say("Indexing them ...")
    call_command("rebuild_index", "--user-id", USER, "--project-id", str(size), verbosity=0)


def _raw(size: int) -> dict[str, Ask]:
    from memories.embeddings import embed_query
    from memories.index.client import get_client
    from memories.index.ids import collection_name
    from memories.tenants import Tenant

    name = collection_name(Tenant(USER, str(size)))
    collection = get_client().get_collection(name, embedding_function=None)
    vector = embed_query("any")[np.newaxis]

    def limit(text: str) -> Any:
        return collection.query(
            query_embeddings=vector, n_results=10, include=["documents", "metadatas", "distances"]
        )

    return {"limit": limit}


def _semantix(size: int) -> dict[str, Ask]:
    from memories.search.search import Mode, Query, search
    from memories.tenants import Tenant

    def ask(mode: Mode) -> Ask:
        return lambda text: search(Query(text=text, tenant=Tenant(USER, str(size)), mode=mode))

    there = {f"semantix, {mode}": ask(mode) for mode in Mode}
    return there | {f"degraded, {mode}": ask(mode) for mode in (Mode.VECTOR, Mode.HYBRID)}


def _http(size: int, url: str) -> dict[str, Ask]:
    client = httpx.Client(base_url=url, timeout=60)
    tenant = {"user_id": USER, "project_id": str(size)}

    def ask(mode: str) -> Ask:
        def post(text: str) -> None:
            client.post("/memory-logs/search", json=tenant | {"query": text, "mode": mode}).raise_for_status()

        return post

    return {f"http, {mode}": ask(mode) for mode in ("vector", "hybrid")}


@contextmanager
def _away() -> Iterator[None]:
    """The state after the clusters found that Chroma does not answer."""
    from memories.index import availability
    from memories.index.client import DEPENDENCY
    from outbox import Unavailable
    from outbox.queue import circuits

    circuits.open_circuit(Unavailable(DEPENDENCY, "measured without it"))
    availability.reset()
    yield
    circuits.close_circuit(DEPENDENCY)
    availability.reset()


def _measure(ask: Callable[[str], Any], questions: int) -> dict[str, float]:
    random = np.random.default_rng(1)
    spent = []
    for _ in range(questions + 10):
        ranks = np.exp(random.random(ASKED_WORDS) * np.log(VOCABULARY)).astype(int)
        text = " ".join(f"word{rank}" for rank in ranks)
        started = time.perf_counter()
        ask(text)
        spent.append((time.perf_counter() - started) * 1000)
    return percentiles(spent[10:])  # after the first ones, which warm up
