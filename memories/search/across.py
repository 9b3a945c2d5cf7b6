"""Search across all projects of a user.

Each project has an index and word statistics of its own. Their hits are put into one ranking by words and one by
meaning, and these are fused as those of one project are. The scores by words are compared although the projects count
words apart, as search engines do that keep their documents in several parts.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from math import inf

from memories.index.query import Neighbours, QueryVector
from memories.records.totals import tenants_of_user
from memories.search import meaning
from memories.search.batch import with_vectors
from memories.search.hybrid import best, trust
from memories.search.lexical import Ranked, lexical_search
from memories.search.search import (
    CHROMA,
    DEPTH,
    PGVECTOR,
    Answer,
    Mode,
    Query,
    number,
    read_ranked,
    record,
    search_vectors,
    similar_enough,
)
from outbox import Unavailable

logger = logging.getLogger(__name__)

# A search asks each project. More of them would take seconds.
MAX_PROJECTS = 50


class TooManyProjects(Exception):
    """The user has more projects than one search covers."""

    def __init__(self) -> None:
        super().__init__(
            f"A search covers at most {MAX_PROJECTS} projects, and this user has more. Name a project_id."
        )


def answer(query: Query) -> Answer:
    """Do what `memories.search.search.answer` does, in all projects of the user of `query.tenant`.

    Raises TooManyProjects, and Unavailable when the embedder is needed and unavailable.
    """
    tenants = tenants_of_user(query.tenant.user_id, limit=MAX_PROJECTS + 1)
    if len(tenants) > MAX_PROJECTS:
        raise TooManyProjects
    parts = with_vectors([replace(query, tenant=tenant) for tenant in tenants])
    match query.mode:
        case Mode.VECTOR:
            answered = _by_meaning(parts, query.limit)
            answered = replace(answered, found=number(similar_enough(answered.found, query)))
        case Mode.LEXICAL:
            answered = Answer(read_ranked(query, _by_words(parts, query.limit)), backend="")
        case _:
            answered = _by_both(query, parts)
    record(query, answered)
    return answered


def _by_meaning(parts: Sequence[Query], limit: int) -> Answer:
    answers = [search_vectors(replace(part, limit=limit, min_similarity=0.0)) for part in parts]
    hits = [hit for answered in answers for hit in answered.found]
    hits.sort(key=lambda hit: (hit.distance, -hit.memory_log_id))
    backend = PGVECTOR if any(answered.backend == PGVECTOR for answered in answers) else CHROMA
    return Answer(hits[:limit], backend)


def _by_words(parts: Sequence[Query], limit: int) -> list[Ranked]:
    ranked = [item for part in parts for item in lexical_search(part.tenant, part.text, limit, part.filters)]
    return sorted(ranked, key=lambda item: (-item.score, -item.memory_id))[:limit]


def _by_both(query: Query, parts: Sequence[Query]) -> Answer:
    depth = max(DEPTH, query.limit)
    words = _by_words(parts, depth)
    try:
        near = _by_meaning(parts, depth)
    except Unavailable as error:
        if query.min_similarity:
            raise
        logger.warning("Searching by words alone: %s", error)
        near = Answer([], backend="")
    neighbours = Neighbours({hit.memory_log_id: hit.distance or 0.0 for hit in near.found})
    vector = next((part.vector for part in parts if isinstance(part.vector, QueryVector)), None)
    given = meaning.parameters(neighbours, query.tenant, query.filters, vector, from_index=False, depth=depth)
    limit = None if query.min_similarity else query.limit
    trusted = trust(vector, query.text)
    fused = best(words, given, query.filters, trust=trusted, horizon=inf, limit=limit)
    return Answer(similar_enough(fused.hits, query)[: query.limit], near.backend)
