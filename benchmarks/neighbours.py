"""How many of the nearest memories the index finds, at 1,000, 5,000 and 20,000 memories of one tenant.

The index is approximate: of the ten memories that exact comparison finds nearest to a text, `nearest_share` is what a
search by vectors finds. `own_share` is the share of memories that are among the ten when their own text is asked for,
where exact comparison has them there. `worst` is the lowest of all sizes. The memories are passages of Python's
standard library, 10 to 2,000 characters long, with each embedder that is installed, or with those that `--embedders`
names.
"""

import sysconfig
from argparse import Namespace
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from benchmarks.__main__ import Figures
from benchmarks.retrieval import backends
from benchmarks.service import say, stores

SHORTEST, LONGEST = 10, 2_000
# Folders that repeat one passage with few changes, and packages that other people installed.
LEFT_OUT = {"encodings", "idlelib", "lib2to3", "pydoc_data", "site-packages", "test", "tests"}
DEPTH = 10


def run(options: Namespace) -> Figures:
    sizes, asked = ((1_000,), 50) if options.quick else ((1_000, 5_000, 20_000), 200)
    passages = _passages(max(sizes) + asked)
    questions, texts = passages[:asked], passages[asked:]
    figures: dict[str, dict[str, float]] = {}
    with stores():
        for embedder, settings in backends(options.embedders or ("static" if options.quick else None)):
            for size in sizes:
                shares = _measured(embedder, settings, texts[:size], questions)
                say(f"  {shares}")
                figures[f"{embedder}, {size:,}"] = shares
            of_sizes = [figures[f"{embedder}, {size:,}"] for size in sizes]
            figures[f"{embedder}, worst"] = {
                name: min(each[name] for each in of_sizes) for name in of_sizes[0]
            }
    return figures


def _passages(count: int) -> list[str]:
    """So many different passages of the library, in an order that is always the same."""
    library = Path(sysconfig.get_paths()["stdlib"])
    files = [
        path
        for path in sorted(library.rglob("*.py"))
        if not LEFT_OUT.intersection(path.relative_to(library).parts)
    ]
    found = {passage for path in files for passage in _split(path.read_text(errors="replace"))}
    passages = sorted(found)
    Random(1).shuffle(passages)
    if len(passages) < count:
        raise SystemExit(
            f"Python's library in {library} has {len(passages)} passages only, and {count} are needed."
        )
    return passages[:count]


def _split(text: str) -> Iterator[str]:
    for paragraph in text.split("\n\n"):
        passage = paragraph.strip().replace("\0", "")
        if SHORTEST <= len(passage) <= LONGEST:
            yield passage


def _measured(
    embedder: str, settings: dict[str, Any], texts: Sequence[str], questions: Sequence[str]
) -> dict[str, float]:
    from django.test import override_settings

    from memories.embeddings import embed_query
    from memories.tenants import Tenant

    tenant = Tenant("neighbours", f"{embedder}-{len(texts)}")
    with override_settings(**settings):
        say(f"{embedder}: {len(texts):,} memories ...")
        _store(tenant, texts)
        ids, vectors = _stored(tenant)
        # In the order of the texts, because the ids are.
        own = [
            (texts[place], ids[place]) for place in range(0, len(texts), max(1, len(texts) // len(questions)))
        ]
        nearest = [_share(tenant, text, ids, vectors @ _unit(embed_query(text))) for text in questions]
        found = [
            id in _found(tenant, text)
            for text, id in own
            if id in _exact(ids, vectors @ _unit(embed_query(text)))
        ]
    return {
        "nearest_share": round(float(np.mean(nearest)), 4),
        "own_share": round(float(np.mean(found)), 4),
    }


def _store(tenant: Any, texts: Sequence[str]) -> None:
    from memories.records.services import NewMemory, create_memories
    from outbox.testing import drain

    for begin in range(0, len(texts), 1_000):
        create_memories(
            NewMemory(
                **tenant._asdict(),
                task="notes",
                agent="coder",
                date=date(2026, 1, 1),
                raw_data={"summary": text},
            )
            for text in texts[begin : begin + 1_000]
        )
    drain(rounds=10_000)


def _stored(tenant: Any) -> tuple[list[int], Any]:
    """The ids of the tenant's memories, and their vectors with length 1."""
    from memories.models import MemoryLog

    rows = MemoryLog.objects.filter(**tenant._asdict()).order_by("id").values_list("id", "embedding")
    ids, vectors = zip(*rows, strict=True)
    return list(ids), np.stack([_unit(vector) for vector in vectors])


def _unit(vector: Any) -> Any:
    values = np.asarray(vector, dtype=np.float32)
    return values / np.linalg.norm(values)


def _share(tenant: Any, text: str, ids: list[int], scores: Any) -> float:
    """The share of the nearest memories that the search finds. Memories that are equally near count alike."""
    enough = np.sort(scores)[-DEPTH] - 1e-5
    near = {id for id, score in zip(ids, scores, strict=True) if score >= enough}
    return len(near.intersection(_found(tenant, text))) / DEPTH


def _exact(ids: list[int], scores: Any) -> set[int]:
    return {ids[place] for place in np.argsort(-scores)[:DEPTH]}


def _found(tenant: Any, text: str) -> list[int]:
    from memories.search.search import Mode, Query, search

    query = Query(text=text, tenant=tenant, limit=DEPTH, mode=Mode.VECTOR)
    return [hit.memory_log_id for hit in search(query)]
