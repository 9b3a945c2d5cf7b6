"""Processor time of one create, change, deletion, read and search, by web server, PostgreSQL, cluster and Chroma.

The requests go over one kept connection, one at a time, over 40 tenants with 25 memories each; `--tenants N`
measures another number of tenants. A figure has everything that follows from the requests: it is read when no event is
left. The time that each part takes while nothing happens is subtracted. `limit` has the goals for two cores.

With `--memories N` the same comes again, `beside` so many memories of other tenants. PostgreSQL has them with their
words and vectors, Chroma has not: it keeps each tenant apart.
"""

import json
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Any

from benchmarks.__main__ import Figures
from benchmarks.api import Connection, Request
from benchmarks.processor import Processor
from benchmarks.service import cluster, percentiles, say, stores, until_settled, web_server

TENANTS, A_TENANT = 40, 25
# Each thread of the web server has a connection, and PostgreSQL plans a statement anew the first five times on each.
WARM_UP = 100
PARTS = ("web", "postgres", "cluster", "chroma")
GOALS = {"create": 10.0, "change": 15.0, "delete": 9.0, "search": 9.0}
NUMBERS = count()

# Each tenant of the others has 250 memories. The triggers write the terms of the words, as always.
STORE_OTHERS = """
INSERT INTO memory_logs (user_id, project_id, task, agent, date, raw_data, version, content_hash, embedded_hash,
                         embedding_model, embedding, indexed_version)
SELECT 'other-' || n / 250, 'benchmark', 'Fix the timeout of service ' || n, 'coder', '2026-01-01', jsonb_build_object(
           'summary', 'Requests to service ' || n %% 997 || ' were cut off under load',
           'solution', 'The pool of ' || n || ' connections was too small: twice as many, and a timeout.',
           'tags', jsonb_build_array('pool', 'timeout')),
       1, md5(n::text), md5(n::text), %(model)s,
       ARRAY(SELECT random() - 0.5 + n * 0 FROM generate_series(1, %(dimensions)s))::real[]::vector, 1
FROM generate_series(%(first)s, %(last)s) AS n
"""
AT_ONCE = 10_000

Requests = Callable[[], Request]


def run(options: Namespace) -> Figures:
    requests = 100 if options.quick else 400
    with stores(OUTBOX_MAX_BACKLOG="0"), cluster() as workers, web_server() as (url, web):
        from django.conf import settings

        tenants = options.tenants or TENANTS
        say(f"{tenants} tenants of {A_TENANT} memories ...")
        own = max(A_TENANT, 2 * (requests + WARM_UP) // tenants)
        ids = fill(tenants, own * 2 if options.memories else own)
        processor = Processor.of_service(web=web.pid, cluster=workers.pid, chroma_url=settings.CHROMA_URL)
        idle_seconds = 3 if options.quick else 15

        def measured(ids: list[int]) -> dict[str, dict[str, float]]:
            return costs(url, processor, ids, requests, idle_seconds=idle_seconds, tenants=tenants)

        figures = measured(ids[: own * tenants])
        if options.memories:
            store_others(options.memories)
            for kind, beside in measured(ids[own * tenants :]).items():
                figures[f"{kind}, beside {options.memories:,}"] = beside
    goals = {kind: {"sum_cpu_ms": goal} for kind, goal in GOALS.items()}
    return figures | {f"limit, {kind}": goal for kind, goal in goals.items()}


def costs(
    url: str,
    processor: Processor,
    ids: list[int],
    requests: int,
    *,
    idle_seconds: float,
    tenants: int = TENANTS,
) -> dict[str, dict[str, float]]:
    """The costs of each kind of request, in milliseconds. `ids` are memories that may be changed and deleted."""
    figures = {}
    idle = processor.idle(idle_seconds)
    with Connection(url) as connection:
        for kind, next_request in kinds(ids, tenants).items():
            say(f"{requests} times {kind} ...")
            for _ in range(WARM_UP):
                connection.timed(next_request())
            figures[kind] = _measure(connection, processor, idle, next_request, requests)
    return figures


def _measure(
    connection: Connection,
    processor: Processor,
    idle: Mapping[str, float],
    next_request: Requests,
    requests: int,
) -> dict[str, float]:
    until_settled()
    before, started = processor.read(), time.perf_counter()
    spent = [connection.timed(next_request()) for _ in range(requests)]
    until_settled()
    after, seconds = processor.read(), time.perf_counter() - started
    cpu = {
        part: max(0.0, 1000 * (after[part] - before[part] - seconds * idle[part]) / requests)
        for part in PARTS
    }
    named = {f"{part}_cpu_ms": round(milliseconds, 2) for part, milliseconds in cpu.items()}
    return named | {"sum_cpu_ms": round(sum(cpu.values()), 2)} | percentiles(spent)


def fill(tenants: int, a_tenant: int, *, first: int = 0) -> list[int]:
    """Store and index memories of many tenants, from the `first` on; returns their ids, the tenants alternating."""
    from memories.records.services import NewMemory, create_memories

    rows = create_memories(
        NewMemory(**memory(first + number % tenants)) for number in range(tenants * a_tenant)
    )
    until_settled()
    return [row.id for row in rows]


def store_others(memories: int) -> None:
    """Store so many memories of other tenants, whose index is complete as far as PostgreSQL knows."""
    from django.db import connection

    from memories.embeddings import get_backend

    given: dict[str, str | int] = {"model": get_backend().model, "dimensions": get_backend().dimensions}
    with connection.cursor() as cursor:
        for first in range(1, memories + 1, AT_ONCE):
            last = min(first + AT_ONCE - 1, memories)
            cursor.execute(STORE_OTHERS, {**given, "first": first, "last": last})
            say(f"{last:,} memories of other tenants ...")
        for table in ("memory_logs", "memory_terms", "memory_terms_sample"):
            cursor.execute(f"VACUUM ANALYZE {table}")


def kinds(ids: list[int], tenants: int) -> dict[str, Requests]:
    """For each kind of request a function that makes the next one, for so many tenants in turns.

    Changes and deletions take ids from the list.
    """
    changing, deleting = iter(ids[::2]), iter(ids[1::2])
    return {
        "create": lambda: create(next(NUMBERS) % tenants),
        "get": lambda: ("GET", f"/memory-logs/{ids[next(NUMBERS) % 2]}", b""),
        "search": lambda: search(next(NUMBERS) % tenants),
        "change": lambda: change(_next(changing)),
        "delete": lambda: delete(_next(deleting)),
    }


def memory(tenant: int) -> dict[str, Any]:
    number = next(NUMBERS)
    return {
        "user_id": f"user-{tenant}",
        "project_id": "benchmark",
        "task": f"Fix the timeout of service {number}",
        "agent": "coder",
        "raw_data": {
            "summary": f"Requests to service {number % 997} were cut off under load",
            "solution": f"The pool of {number} connections was too small: twice as many, and a timeout.",
            "tags": ["pool", "timeout"],
        },
    }


def create(tenant: int) -> Request:
    return "POST", "/memory-logs", json.dumps(memory(tenant)).encode()


def search(tenant: int) -> Request:
    query = f"requests cut off, service {next(NUMBERS) % 997}"
    body = {"user_id": f"user-{tenant}", "project_id": "benchmark", "query": query}
    return "POST", "/memory-logs/search", json.dumps(body).encode()


def change(memory_id: int) -> Request:
    body = {"task": f"Fix the timeout of service {next(NUMBERS)} for good"}
    return "PATCH", f"/memory-logs/{memory_id}", json.dumps(body).encode()


def delete(memory_id: int) -> Request:
    return "DELETE", f"/memory-logs/{memory_id}", b""


def _next(ids: Iterator[int]) -> int:
    found = next(ids, None)
    assert found is not None, "fill() stored too few memories to change and delete"
    return found
