"""`rebuild_index` of 100,000 memories of 100 tenants from stored embeddings, compared with Chroma alone.

`limit` is raw `collection.upsert` of as many rows of the same shape by one client, one collection for each tenant with
the settings of the index, 1,000 rows a call, on a server of its own. `semantix` is `manage.py rebuild_index` after
Chroma lost everything, as a person runs it: the start of the process, reading PostgreSQL and reading again what was
written are included. With `--quick` 20,000 memories of 20 tenants: of fewer, it would measure the start of Python.
"""

import json
import os
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.__main__ import Figures
from benchmarks.service import ROOT, say, stores
from semantix.allinone import chroma

DIMENSIONS = 768
TASK = "Fix the timeout of service"
SUMMARY = "The pool of connections was too small: under load each request waited for the one before, until"

# By SQL and without triggers: only the rebuild is measured.
FILL = """
INSERT INTO memory_logs (user_id, project_id, task, agent, date, raw_data, version, content_hash, embedded_hash,
                         embedding_model, embedding)
SELECT 'user-' || n %% %(tenants)s, 'benchmark', %(task)s || ' ' || n, 'coder', '2026-01-01',
       jsonb_build_object('summary', %(summary)s || ' ' || n, 'tags', jsonb_build_array('pool', 'latency')),
       1, md5(n::text), md5(n::text), %(model)s,
       ARRAY(SELECT random() - 0.5 + n * 0 FROM generate_series(1, %(dimensions)s))::real[]::vector
FROM generate_series(1, %(memories)s) AS n
"""


def run(options: Namespace) -> Figures:
    memories, tenants = (20_000, 20) if options.quick else (100_000, 100)
    with stores() as folder:
        _fill(memories, tenants)
        say("Raw upserts ...")
        limit = _raw(folder, memories, tenants)
        say("rebuild_index ...")
        figures = {"limit": {"memories_per_s": limit}, "semantix": _rebuild()}
    figures["semantix"]["share_of_limit"] = round(figures["semantix"]["memories_per_s"] / limit, 3)
    return figures


def _fill(memories: int, tenants: int) -> None:
    from django.db import connection

    from memories.embeddings import get_backend

    say(f"Storing {memories} memories of {tenants} tenants ...")
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE memory_logs DISABLE TRIGGER USER")
        cursor.execute(
            FILL,
            {
                "memories": memories,
                "tenants": tenants,
                "task": TASK,
                "summary": SUMMARY,
                "model": get_backend().model,
                "dimensions": DIMENSIONS,
            },
        )
        cursor.execute("ALTER TABLE memory_logs ENABLE TRIGGER USER")
        cursor.execute("VACUUM ANALYZE memory_logs")


def _raw(folder: Path, memories: int, tenants: int) -> float:
    """Rows a second of one client that has all data in memory."""
    from memories.index.client import connect
    from memories.index.collections import HNSW
    from memories.index.metadata import metadata_of
    from memories.indexing.derived import text_of
    from memories.models import MemoryLog

    rows = list(MemoryLog.objects.filter(user_id="user-0").defer("embedding"))
    documents: list[str] = [text_of(row) for row in rows]
    metadatas: Any = [metadata_of(row) for row in rows]
    each = memories // tenants
    vectors = np.random.default_rng(1).standard_normal((each, DIMENSIONS)).astype(np.float32)
    server = chroma.start(folder / "raw", log=folder / "raw.log")
    try:
        client = connect(server.url, timeout=60)
        started = time.perf_counter()
        for tenant in range(tenants):
            collection = client.create_collection(
                f"raw-{tenant}", configuration={"hnsw": HNSW}, embedding_function=None
            )
            for start in range(0, each, 1_000):
                part = slice(start, min(start + 1_000, each))
                collection.upsert(
                    ids=[
                        f"memory_{number}_user-{tenant}_benchmark" for number in range(part.start, part.stop)
                    ],
                    embeddings=vectors[part],
                    documents=documents[part],
                    metadatas=metadatas[part],
                )
        return round(memories / (time.perf_counter() - started), 1)
    finally:
        server.stop()


def _rebuild() -> dict[str, float]:
    command = [sys.executable, "manage.py", "rebuild_index", "--json"]
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, env=dict(os.environ), stdout=subprocess.PIPE)
    assert process.stdout is not None
    answer: dict[str, Any] = json.loads(process.stdout.read())
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    say("verify_index ...")
    verified = subprocess.run(
        [sys.executable, "manage.py", "verify_index", "--json"],
        cwd=ROOT,
        env=dict(os.environ),
        capture_output=True,
        check=True,
    )
    assert json.loads(verified.stdout)["indexed"] == answer["memories"]
    return {
        "memories_per_s": round(answer["memories"] / seconds, 1),
        "seconds": round(seconds, 1),
        "peak_rss_mb": round(used.ru_maxrss / 1024, 1),
    }
