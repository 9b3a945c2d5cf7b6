"""How common the terms of a query are among a tenant's memories."""

from collections.abc import Iterable
from math import log
from typing import NamedTuple

from django.db import connection

from memories.search.lexical.days import days
from memories.tenants import Tenant

# A question has few words. Of a pasted page the rarest ones are enough.
MAX_WORDS = 64

# The place of the empty term, which is in every memory.
EVERY_MEMORY = -1

# Of each term, in how many memories it stands: counted where it is rare, and else estimated from the sample of
# one memory in 32 (from 32 hits there on, so no more than about 1,000 rows are counted, and an estimate is off
# by 18 % at most times: 0.2 in a weight of about 5). The last row is the empty term's, the whole tenant.
STATISTICS = """
WITH tenant AS MATERIALIZED (
    SELECT memory_term_seed((SELECT secret FROM memory_terms_secret), %(user_id)s, %(project_id)s) AS seed
), marker AS MATERIALIZED (
    SELECT language, memory_term_key(seed, 'ǀ=' || language) AS key FROM tenant, unnest(memory_languages()) AS language
), language AS MATERIALIZED (
    SELECT coalesce(array_agg(DISTINCT language), '{}') AS languages FROM marker
    WHERE EXISTS (
        SELECT FROM memory_terms_sample AS s
        WHERE s.key = marker.key AND (user_id, project_id) = (%(user_id)s, %(project_id)s)
    ) OR EXISTS (
        SELECT FROM memory_terms
        WHERE keys @> ARRAY[marker.key] AND (user_id, project_id) = (%(user_id)s, %(project_id)s)
    )
), term (key, place) AS MATERIALIZED (
    SELECT memory_term_key(seed, lexeme), min(place)
    FROM tenant, language, LATERAL (
        SELECT * FROM memory_question(%(text)s, languages)
        UNION ALL SELECT 'ǀ' || day, NULL FROM unnest(%(days)s::text[]) AS day
    ) AS question GROUP BY 1
    UNION ALL
    SELECT memory_term_key(seed, ''), -1 FROM tenant
)
SELECT term.key, term.place, coalesce(counted.memories, sample.memories * 32), coalesce(counted.length, sample.length)
FROM term
CROSS JOIN LATERAL (
    SELECT count(*) AS memories, avg(length)::float AS length FROM memory_terms_sample
    WHERE key = term.key AND (user_id, project_id) = (%(user_id)s, %(project_id)s)
) AS sample
LEFT JOIN LATERAL (
    SELECT count(*) AS memories, avg(length)::float AS length FROM memory_terms
    WHERE keys @> ARRAY[term.key] AND (user_id, project_id) = (%(user_id)s, %(project_id)s) AND sample.memories < 32
) AS counted ON sample.memories < 32
"""


class Term(NamedTuple):
    key: int
    memories: int
    """The number of the tenant's memories that have it, at least 1."""
    forms: int
    """The number of memories that have any form of its word: the stems of a word in several languages count as one."""


class Statistics(NamedTuple):
    terms: list[Term]
    """The terms of the query that the tenant's memories have, rarest first."""
    memories: int
    average_length: float
    """The average number of terms of the tenant's memories."""

    def rarity(self, term: Term) -> float:
        """Return BM25's inverse document frequency, in the form that is never negative."""
        return log(1 + (self.memories - term.forms + 0.5) / (term.forms + 0.5))


def statistics(tenant: Tenant, text: str) -> Statistics:
    """Return the statistics that weigh the terms of the query `text`; no terms when it has no words."""
    parameters = {**tenant._asdict(), "text": text, "days": days(text)}
    with connection.cursor() as cursor:
        cursor.execute(STATISTICS, parameters)
        rows = cursor.fetchall()
    ((memories, average_length),) = [row[2:] for row in rows if row[1] == EVERY_MEMORY]
    words: dict[int, dict[int, int]] = {}
    for key, place, count, _ in rows:
        if count and place != EVERY_MEMORY:
            words.setdefault(key if place is None else place, {})[key] = count
    terms = [
        Term(key, count, sum(forms.values()))
        for forms in _rarest(words.values())
        for key, count in forms.items()
    ]
    # Estimates may contradict each other: a term cannot be in more memories than there are.
    most = max([memories, *(term.forms for term in terms)])
    return Statistics(sorted(terms, key=lambda term: term.memories), most, average_length or 1.0)


def _rarest(words: Iterable[dict[int, int]]) -> list[dict[int, int]]:
    return sorted(words, key=lambda forms: sum(forms.values()))[:MAX_WORDS]
