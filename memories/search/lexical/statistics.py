"""How common the terms of a query are among a tenant's memories."""

from math import log
from typing import NamedTuple

from django.db import connection

from memories.tenants import Tenant

# A question has few terms. A pasted page has many, and the first ones are enough.
MAX_TERMS = 64

# Of each term, in how many memories it stands: counted where it is rare, and else estimated from the sample of
# one memory in 32 (from 32 hits there on, so no more than about 1,000 rows are counted, and an estimate is off
# by 18 % at most times: 0.2 in a weight of about 5). The last row is the empty term's, the whole tenant.
STATISTICS = """
WITH tenant AS MATERIALIZED (
    SELECT memory_term_seed((SELECT secret FROM memory_terms_secret), %(user_id)s, %(project_id)s) AS seed
), term (key, position) AS (
    (SELECT memory_term_key(seed, lexeme), min(positions[1])
     FROM tenant, unnest(memory_lexemes(%(text)s)) GROUP BY 1 ORDER BY 2, 1 LIMIT %(max_terms)s)
    UNION ALL
    SELECT memory_term_key(seed, ''), NULL FROM tenant
)
SELECT term.key, coalesce(counted.memories, sample.memories * 32), coalesce(counted.length, sample.length)
FROM term
CROSS JOIN LATERAL (
    SELECT count(*) AS memories, avg(length)::float AS length FROM memory_terms_sample
    WHERE key = term.key AND (user_id, project_id) = (%(user_id)s, %(project_id)s)
) AS sample
LEFT JOIN LATERAL (
    SELECT count(*) AS memories, avg(length)::float AS length FROM memory_terms
    WHERE keys @> ARRAY[term.key] AND (user_id, project_id) = (%(user_id)s, %(project_id)s) AND sample.memories < 32
) AS counted ON sample.memories < 32
ORDER BY term.position NULLS LAST
"""


class Term(NamedTuple):
    key: int
    memories: int
    """The number of the tenant's memories that have it, at least 1."""


class Statistics(NamedTuple):
    terms: list[Term]
    """The terms of the query that the tenant's memories have, rarest first."""
    memories: int
    average_length: float
    """The average number of terms of the tenant's memories."""

    def rarity(self, term: Term) -> float:
        """Return BM25's inverse document frequency, in the form that is never negative."""
        return log(1 + (self.memories - term.memories + 0.5) / (term.memories + 0.5))


def statistics(tenant: Tenant, text: str) -> Statistics:
    """Return the statistics that weigh the terms of the query `text`; no terms when it has no words."""
    parameters = {**tenant._asdict(), "text": text, "max_terms": MAX_TERMS}
    with connection.cursor() as cursor:
        cursor.execute(STATISTICS, parameters)
        *terms, (_, memories, average_length) = cursor.fetchall()
    found = sorted((Term(key, count) for key, count, _ in terms if count), key=lambda term: term.memories)
    # Estimates may contradict each other: a term cannot be in more memories than there are.
    return Statistics(found, max([memories, *(term.memories for term in found)]), average_length or 1.0)
