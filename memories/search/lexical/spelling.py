"""Words that a tenant may have meant by a word that none of its memories has.

PostgreSQL has a tenant's words as hashes only, so they are read from the newest memories and kept for a minute. Only a
question with an unknown word needs them. Within the minute only memories that are newer are read.
"""

import re
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from threading import Lock
from typing import NamedTuple

from django.db import connection
from rapidfuzz import process
from rapidfuzz.distance import OSA

from memories.embeddings.stop_words import LANGUAGES, folded
from memories.filters import IS_TENANTS
from memories.tenants import Tenant

# Of the newest memories, this many are read, and of each the beginning.
MEMORIES, CHARACTERS = 1_000, 4_000
# Bounds of what a process keeps: about 30 MB at most.
MAX_WORDS, MAX_TENANTS, MAX_SECONDS = 20_000, 16, 60.0
# The first unknown words of a question are replaced. A long text has unknown words of other things.
MAX_LOOKED_UP, MAX_UNKNOWN = 32, 4
# A shorter word has too many neighbours. In a word of this many letters, two letters may be wrong.
MIN_LETTERS, LONG_WORD = 4, 7
# How many words a wrong one may mean.
MAX_MEANT = 3

NEWER = f"""
SELECT m.id, left(concat_ws(' ', m.task, m.agent, m.raw_data::text), %(characters)s) FROM memory_logs AS m
WHERE {IS_TENANTS} AND m.id > %(after)s ORDER BY m.id DESC LIMIT %(memories)s
"""
_WORD = re.compile(rf"[^\W\d_]{{{MIN_LETTERS},40}}")


class Meant(NamedTuple):
    word: str
    weight: float
    """How much it counts: less than the word itself."""


@dataclass
class _Vocabulary:
    read_at: float
    newest: int = 0
    words: dict[str, None] = field(default_factory=dict)


_vocabularies: OrderedDict[Tenant, _Vocabulary] = OrderedDict()
_lock = Lock()


def meant(tenant: Tenant, unknown: Iterable[str]) -> list[Meant]:
    """Return the tenant's words that are spelled nearly as these words, nearest first."""
    wanted = list(unknown)[:MAX_UNKNOWN]
    if not wanted:
        return []
    known = list(_words_of(tenant))
    return [found for word in wanted for found in _nearest(word, known)]


def replaceable(text: str) -> list[str]:
    """Return the different words of the text that may be misspelled, folded: no stop words."""
    words = list(dict.fromkeys(_WORD.findall(folded(text))))[:MAX_LOOKED_UP]
    return [word for word in words if word not in LANGUAGES]


def _nearest(word: str, known: list[str]) -> Iterator[Meant]:
    # OSA counts two letters that change places as one.
    wrong = 2 if len(word) >= LONG_WORD else 1
    near = process.extract(word, known, scorer=OSA.distance, score_cutoff=wrong, limit=MAX_MEANT)
    best = min((distance for _, distance, _ in near), default=0)
    yield from (Meant(found, 1 / (1 + distance)) for found, distance, _ in near if distance == best)


def _words_of(tenant: Tenant) -> dict[str, None]:
    now = time.monotonic()
    with _lock:
        # Also those of other tenants: no words of erased memories stay for long.
        for old in [each for each, kept in _vocabularies.items() if now - kept.read_at > MAX_SECONDS]:
            del _vocabularies[old]
        vocabulary = _vocabularies.get(tenant, _Vocabulary(read_at=now))
    newer = _read(tenant, vocabulary.newest)
    words = dict(vocabulary.words)
    for _, text in newer:
        words |= dict.fromkeys(_WORD.findall(folded(text)))
    newest = max([vocabulary.newest, *(id for id, _ in newer)])
    kept = _Vocabulary(vocabulary.read_at, newest, dict.fromkeys(list(words)[-MAX_WORDS:]))
    with _lock:
        _vocabularies[tenant] = kept
        _vocabularies.move_to_end(tenant)
        while len(_vocabularies) > MAX_TENANTS:
            _vocabularies.popitem(last=False)
    return kept.words


def _read(tenant: Tenant, after: int) -> list[tuple[int, str]]:
    parameters = {**tenant._asdict(), "after": after, "characters": CHARACTERS, "memories": MEMORIES}
    with connection.cursor() as cursor:
        cursor.execute(NEWER, parameters)
        return list(cursor.fetchall())
