"""Several searches whose questions are embedded in one call."""

import logging
from collections.abc import Sequence
from dataclasses import replace

from memories.embeddings import EmbeddingError, Vectors, embed_queries
from memories.index import generations
from memories.index.query import QueryVector
from memories.models import Generation
from memories.search.search import Mode, Query
from outbox import Reject, Unavailable

logger = logging.getLogger(__name__)

# The model that embeds a query: backend, model, dimensions.
Model = tuple[str, str, int]


def with_vectors(queries: Sequence[Query]) -> list[Query]:
    """Return the queries with their vectors: one call embeds all questions for a model.

    A query stays as it is where its tenant has no index, and where the call fails for a reason of its own texts: then
    each search embeds its own question.
    """
    lives = generations.live(query.tenant for query in queries if query.mode != Mode.LEXICAL)
    targets: dict[int, Generation] = {}
    groups: dict[Model, list[int]] = {}
    for number, query in enumerate(queries):
        live = lives.get(query.tenant)
        # While a new model's collection is filled, the search itself knows which of two models answers.
        if live and query.mode != Mode.LEXICAL and len(live.all) == 1:
            target = targets[number] = live.all[0]
            groups.setdefault((target.backend, target.model, target.dimensions), []).append(number)
    prepared = list(queries)
    for numbers in groups.values():
        vectors = _embedded(targets[numbers[0]], [queries[number].text for number in numbers])
        for place, number in enumerate(numbers):
            if isinstance(vectors, Unavailable):
                prepared[number] = replace(queries[number], vector=vectors)
            elif vectors is not None:
                prepared[number] = replace(
                    queries[number], vector=QueryVector(targets[number], vectors[place])
                )
    return prepared


def _embedded(target: Generation, texts: Sequence[str]) -> Vectors | Unavailable | None:
    try:
        return embed_queries(texts, generations.embedder(target))
    except Unavailable as error:
        return error
    except (EmbeddingError, Reject) as error:
        logger.warning("The questions of a batch are embedded one by one: %s", error)
        return None
