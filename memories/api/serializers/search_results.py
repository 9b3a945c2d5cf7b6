"""The results of a search as the API answers them. SearchResult declares the same shape for the OpenAPI document."""

from collections.abc import Collection, Sequence
from typing import Any

from memories.api.serializers.memory_output import format_time, serialize
from memories.records import queries
from memories.search.results import Explanation, SearchHit


def serialize_hits(hits: Sequence[SearchHit], include: Collection[str] = ()) -> list[dict[str, Any]]:
    """The hits, each with what is included. Memories are read in one query."""
    rows = {}
    if "memory" in include:
        rows = queries.memories().in_bulk([hit.memory_log_id for hit in hits])
    results = []
    for hit in hits:
        result = _result(hit)
        if "memory" in include:
            row = rows.get(hit.memory_log_id)
            result["memory"] = serialize(row) if row else None
        if "raw_data" in include:
            result["raw_data"] = hit.raw_data
        if "created_at" in include:
            result["created_at"] = format_time(hit.created_at)
        if "explain" in include:
            result["explain"] = _explain(hit.explanation, hit.distance)
        results.append(result)
    return results


def _result(hit: SearchHit) -> dict[str, Any]:
    return {
        "id": hit.id,
        "memory_log_id": hit.memory_log_id,
        "document": hit.document,
        "metadata": hit.metadata,
        "distance": hit.distance,
        "similarity": hit.similarity,
        "score": hit.score,
    }


def _explain(why: Explanation, distance: float | None) -> dict[str, Any]:
    words = {"place": why.word_place, "score": why.word_score}
    meaning = {"place": why.meaning_place, "distance": distance}
    return {
        "words": words if why.word_place else None,
        "meaning": meaning if why.meaning_place else None,
        "neighbours": why.neighbours,
    }
