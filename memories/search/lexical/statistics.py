"""How common the terms of a query are among a tenant's memories."""

import re
from collections.abc import Iterable
from math import log
from typing import NamedTuple

from memories.search.lexical import spelling
from memories.search.lexical.days import days
from memories.tenants import Tenant
from outbox.database import prepared

# A question has few words. Of a pasted page the rarest ones are enough.
MAX_WORDS = 64

# The place of the empty term, which is in every memory.
EVERY_MEMORY = -1

# Whether a memory of the tenant has any of these terms. The sample answers for common ones: of those the index would
# collect all memories.
ANY_HAS = """(EXISTS (
        SELECT FROM memory_terms_sample
        WHERE key = ANY (ARRAY({keys})) AND (user_id, project_id) = (%(user_id)s, %(project_id)s)
    ) OR EXISTS (
        SELECT FROM memory_terms
        WHERE keys && ARRAY({keys}) AND (user_id, project_id) = (%(user_id)s, %(project_id)s)
    ))"""

# Of each term, in how many memories it stands: counted where it is rare, and else estimated from the sample of
# one memory in 32 (from 32 hits there on, so no more than about 1,000 rows are counted, and an estimate is off
# by 18 % at most times: 0.2 in a weight of about 5). The last row is the empty term's, the whole tenant. All weights
# depend on it, so it is counted up to about 2,000 memories.
# Each look into the index also reads the entries that it has not sorted in yet. So one look tells whether any memory is
# in another language than English, and one whether any has a term without a place: most are identifiers that adjacent
# words could form, ten for a question of four words, and few tenants have one of them.
STATISTICS = f"""
WITH tenant AS MATERIALIZED (
    SELECT memory_term_seed((SELECT secret FROM memory_terms_secret), %(user_id)s, %(project_id)s) AS seed
), marker AS MATERIALIZED (
    SELECT language, memory_term_key(seed, 'ǀ=' || language) AS key FROM tenant, unnest(memory_languages()) AS language
), language AS MATERIALIZED (
    SELECT coalesce(array_agg(language), '{{}}') AS languages FROM marker
    WHERE {ANY_HAS.format(keys="SELECT memory_term_key(seed, 'ǀ≠english') FROM tenant")}
    AND {ANY_HAS.format(keys="SELECT marker.key")}
), question (key, place, lexeme) AS MATERIALIZED (
    SELECT memory_term_key(seed, lexeme), min(place), min(lexeme)
    FROM tenant, language, LATERAL (
        SELECT * FROM memory_question(%(text)s, languages)
        UNION ALL SELECT 'ǀ' || day, NULL FROM unnest(%(days)s::text[]) AS day
    ) AS question GROUP BY 1
), term (key, place, lexeme, enough) AS MATERIALIZED (
    SELECT *, 32 FROM question
    WHERE place IS NOT NULL OR {ANY_HAS.format(keys="SELECT key FROM question WHERE place IS NULL")}
    UNION ALL
    SELECT memory_term_key(seed, ''), -1, '', 64 FROM tenant
)
SELECT term.key, term.place, term.lexeme,
    coalesce(counted.memories, sample.memories * 32), coalesce(counted.length, sample.length)
FROM term
CROSS JOIN LATERAL (
    SELECT count(*) AS memories, avg(length)::float AS length FROM memory_terms_sample
    WHERE key = term.key AND (user_id, project_id) = (%(user_id)s, %(project_id)s)
) AS sample
LEFT JOIN LATERAL (
    SELECT count(*) AS memories, avg(length)::float AS length FROM memory_terms
    WHERE keys @> ARRAY[term.key] AND (user_id, project_id) = (%(user_id)s, %(project_id)s) AND sample.memories < enough
) AS counted ON sample.memories < enough
"""


DIGIT = re.compile(r"\d")
# Which of these words become one of these terms.
UNKNOWN = """
SELECT word FROM unnest(%(words)s::text[]) WITH ORDINALITY AS w (word, number)
WHERE EXISTS (SELECT FROM memory_question(word, '{}') WHERE place IS NOT NULL AND lexeme = ANY (%(lexemes)s))
ORDER BY number
"""


class Term(NamedTuple):
    key: int
    memories: int
    """The number of the tenant's memories that have it, at least 1."""
    forms: int
    """The number of memories that have any form of its word: the stems of a word in several languages count as one."""
    weight: float = 1.0
    """Below 1 where the question has another word, which is spelled nearly so."""


class Statistics(NamedTuple):
    terms: list[Term]
    """The terms of the query that the tenant's memories have, rarest first."""
    memories: int
    average_length: float
    """The average number of terms of the tenant's memories."""

    def rarity(self, term: Term) -> float:
        """Return BM25's inverse document frequency, in the form that is never negative, times the term's weight."""
        return term.weight * log(1 + (self.memories - term.forms + 0.5) / (term.forms + 0.5))


class _Words(NamedTuple):
    """A text's words: of each, how many memories have each of its forms, by key."""

    known: list[dict[int, int]]
    unknown: list[str]
    memories: int
    average_length: float | None


def statistics(tenant: Tenant, text: str) -> Statistics:
    """Return the statistics that weigh the terms of the query `text`; no terms when it has no words.

    A word that no memory has is replaced by those words of the tenant that are spelled nearly so.
    """
    words = _words(tenant, text)
    terms = [term for forms in _rarest(words.known) for term in _terms(forms, 1.0)]
    if words.memories and words.unknown:
        terms += _misspelled(tenant, text, words.unknown)
    # Estimates may contradict each other: a term cannot be in more memories than there are.
    most = max([words.memories, *(term.forms for term in terms)])
    return Statistics(sorted(terms, key=lambda term: term.memories), most, words.average_length or 1.0)


def _words(tenant: Tenant, text: str) -> _Words:
    found = prepared.rows(STATISTICS, {**tenant._asdict(), "text": text, "days": days(text)})
    ((memories, average_length),) = [row[3:] for row in found if row[1] == EVERY_MEMORY]
    counts: dict[int, dict[int, int]] = {}
    lexemes: dict[int, list[str]] = {}
    for key, place, lexeme, count, _ in found:
        if place == EVERY_MEMORY:
            continue
        forms = counts.setdefault(key if place is None else place, {})
        if count:
            forms[key] = count
        elif place is not None:
            lexemes.setdefault(place, []).append(lexeme)
    known = [forms for forms in counts.values() if forms]
    unknown = [lexeme for place, those in lexemes.items() if not counts[place] for lexeme in those]
    return _Words(known, unknown, memories, average_length)


def _terms(forms: dict[int, int], weight: float) -> list[Term]:
    return [Term(key, count, sum(forms.values()), weight) for key, count in forms.items()]


def _misspelled(tenant: Tenant, text: str, lexemes: list[str]) -> list[Term]:
    """Return the terms of the words that are spelled nearly as those that become these unknown lexemes."""
    words = spelling.replaceable(text)
    # A lexeme with a digit is of a word with a digit, and such words are not replaced.
    lexemes = [lexeme for lexeme in lexemes if not DIGIT.search(lexeme)]
    if not words or not lexemes:
        return []
    unknown = [word for (word,) in prepared.rows(UNKNOWN, {"words": words, "lexemes": lexemes})]
    return [
        term
        for word, weight in spelling.meant(tenant, unknown)
        for forms in _words(tenant, word).known
        for term in _terms(forms, weight)
    ]


def _rarest(words: Iterable[dict[int, int]]) -> list[dict[int, int]]:
    return sorted(words, key=lambda forms: sum(forms.values()))[:MAX_WORDS]
