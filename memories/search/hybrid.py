"""Fusing two rankings into one, in one statement: by the memories' margins in both, and by their neighbours' scores.

A margin tells how far a memory is ahead of the others: the part of the best memory's score by words, and the place of
its distance between the nearest and the farthest memory of the ranking by meaning. Ranks alone would count a second
place that is far behind as much as one that is close.

A memory is often one line of something longer: a turn of a conversation, a step of a task. The answer to a question is
then often next to the line that has the question's words. So each memory adds a part of its score to its neighbours:
the memories written just before and after it with the same task and date. A neighbour that neither ranking found gets
nothing. A longer memory adds less: a paragraph has a context of its own, and its neighbours are about other things.
"""

from collections.abc import Sequence
from math import inf
from typing import Any, NamedTuple

from memories.embeddings import known_part
from memories.filters import EVERYTHING, IS_TENANTS, IS_UNEXPIRED, Filters
from memories.index import generations
from memories.index.query import QueryVector
from memories.search.lexical import Ranked
from memories.search.meaning import EMBEDDED, MEANING
from memories.search.results import BY_ID, DISTANCE, ROW, Explanation, SearchHit, hit
from memories.search.statements import array, rows

# The best memory by words gets 1. The nearest by meaning gets the first number if the embedder only compares words, and
# the second if it knows the meaning of the question: see memories.embeddings.known_part.
VECTOR_WEIGHTS = (0.2, 0.4)
# Distances of compared words that differ by less than this are stretched no further: chance makes such differences.
LEAST_RANGE_OF_WORDS = 0.1
# Added to the margins of distances: the only memory gets the full weight, and the farthest one a little.
MARGIN = 0.02
# The part of a memory's score that its next neighbour gets, and the one after that.
NEIGHBOUR_BOOSTS = (0.3, 0.15)
# A memory whose raw_data takes this many bytes gives half of that, and one with three times as many almost nothing.
HALF_BOOST_BYTES = 400
MAX_BOOSTER_BYTES = 3 * HALF_BOOST_BYTES
# Several writers may write at once, so neighbours are searched among this many memories on each side.
NEIGHBOUR_WINDOW = 8
# Only the top memories boost their neighbours. Lower ones change nothing.
MAX_BOOSTERS = 30

FUSED = f"""
SELECT id, sum(score) AS score FROM (
    SELECT id, score / max(score) OVER () AS score
    FROM unnest(%(word_ids)s::bigint[], %(word_scores)s::float[]) AS word (id, score)
    UNION ALL
    SELECT id, %(vector_weight)s::float * (max(distance) OVER () - distance + {MARGIN})
        / (greatest(max(distance) OVER () - min(distance) OVER (), %(least_range)s::float) + {MARGIN})
    FROM meaning
) AS part GROUP BY id
"""
# Only memories with the task and date of another ranked memory can boost one. Most have a task of their own.
# pg_column_size reads no TOAST table.
BOOSTERS = f"""
SELECT * FROM (
    SELECT placed.score, placed.place, m.id, m.user_id, m.project_id, m.task, m.date,
        pg_column_size(m.raw_data) AS bytes,
        count(*) OVER (PARTITION BY m.user_id, m.project_id, m.task, m.date) AS alike
    FROM (SELECT *, row_number() OVER (ORDER BY score DESC, id DESC) AS place FROM fused) AS placed
    {BY_ID.format(id="placed.id")}
) AS ranked WHERE place <= {MAX_BOOSTERS} AND alike > 1 AND bytes < {MAX_BOOSTER_BYTES}
"""
# Only the index of the tenant's ids is read here. This keeps the planner on the tenant's own rows. A search may go
# across the projects of a user, but neighbours are of one project.
AROUND = f"""
    SELECT m.id FROM memory_logs AS m
    WHERE m.user_id = booster.user_id AND m.project_id = booster.project_id AND {IS_UNEXPIRED}
    AND m.id {{side}} booster.id ORDER BY m.id {{order}} LIMIT {NEIGHBOUR_WINDOW}
"""
# The array of the ranked ids is compared last. With a join, the planner could look around once for each ranked memory.
BOOSTED = f"""
SELECT m.id, booster.score * (ARRAY{list(NEIGHBOUR_BOOSTS)}::float[])[m.step]
    / (1 + (booster.bytes / {HALF_BOOST_BYTES}::float) ^ 2) AS score
FROM booster CROSS JOIN LATERAL (
    SELECT one.id, row_number() OVER (PARTITION BY id < booster.id ORDER BY abs(id - booster.id)) AS step
    FROM (
        ({AROUND.format(side="<", order="DESC")}) UNION ALL ({AROUND.format(side=">", order="ASC")})
    ) AS around JOIN memory_logs AS one USING (id)
    WHERE one.task = booster.task AND one.date = booster.date
) AS m
WHERE m.step <= {len(NEIGHBOUR_BOOSTS)} AND m.id = ANY (ARRAY(SELECT id FROM fused))
"""
BEST = f"""
WITH meaning AS MATERIALIZED ({MEANING}), fused AS MATERIALIZED ({FUSED}),
booster AS MATERIALIZED ({BOOSTERS}), boosted AS MATERIALIZED ({BOOSTED}), best AS (
    SELECT id, sum(score) AS score FROM (SELECT * FROM fused UNION ALL SELECT * FROM boosted) AS part
    GROUP BY id ORDER BY score DESC, id DESC LIMIT %(limit)s
)
SELECT {ROW}, coalesce(own.distance, {DISTANCE}), best.score,
    (SELECT count(*) FROM meaning WHERE (distance, -id) <= (own.distance, -own.id)),
    (SELECT sum(boosted.score) FROM boosted WHERE boosted.id = best.id),
    (SELECT count(*) FROM meaning WHERE distance <= %(horizon)s), CASE WHEN %(is_all)s THEN ({EMBEDDED}) END
FROM best {BY_ID.format(id="best.id")} LEFT JOIN meaning AS own ON own.id = best.id
WHERE {IS_TENANTS} ORDER BY score DESC, best.id DESC
"""


class Fused(NamedTuple):
    """The fused ranking, best first."""

    hits: list[SearchHit]
    # How many memories of the ranking by meaning are certain: no store can have a nearer one that is missing.
    certain: int
    # How many memories the ranking by meaning could have, as far as the depth of that ranking; None if unknown.
    embedded: int | None = None


class Trust(NamedTuple):
    """How much the ranking by meaning counts for a question."""

    weight: float
    """The score of the nearest memory, if the memories' distances differ enough."""
    least_range: float
    """How much the nearest and the farthest distance have to differ for that."""


def trust(query_vector: QueryVector | None, text: str) -> Trust:
    """Return how much the distances to the question `text` count with this vector. Raises Unavailable."""
    words_alone, meaning = VECTOR_WEIGHTS
    known = 0.0
    if query_vector is not None:
        known = known_part(text, generations.embedder(query_vector.generation))
    return Trust(words_alone + (meaning - words_alone) * known, LEAST_RANGE_OF_WORDS * (1 - known))


def best(
    words: Sequence[Ranked],
    given: dict[str, Any],
    filters: Filters = EVERYTHING,
    *,
    trust: Trust,
    horizon: float,
    limit: int | None,
) -> Fused:
    """Fuse the ranking by words with the ranking by meaning with these parameters.

    Up to the distance `horizon`, that ranking lacks no memory. Without a limit, all ranked memories are returned.
    """
    found: dict[str, Any] = {
        "word_ids": array(item.memory_id for item in words),
        "word_scores": array(item.score for item in words),
        "vector_weight": trust.weight,
        "least_range": trust.least_range,
    }
    # Only a ranking that has all memories of the index can lack memories without showing it.
    is_all = horizon == inf and not filters
    ranked = rows(BEST, {**given, **found, "horizon": horizon, "is_all": is_all, "limit": limit}, filters)
    places = {item.memory_id: (place, item.score) for place, item in enumerate(words, 1)}

    def explained(*row: Any) -> SearchHit:
        *values, meaning_place, neighbours = row
        found = hit(*values)
        word_place, word_score = places.get(found.memory_log_id, (None, None))
        why = Explanation(word_place, word_score, meaning_place or None, neighbours or 0.0)
        return found._replace(explanation=why)

    certain, embedded = ranked[0][-2:] if ranked else (0, None)
    return Fused([explained(*row) for *row, _, _ in ranked], certain, embedded)
