"""BM25 without anything that this service adds to it: what a search by words has to beat.

Words are what stands between signs and spaces, in small letters. There are no stems, no stop words, no parts and no
neighbours. k1 and b are those of the service.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from math import log

from memories.search.lexical.ranking import K1, B

_WORD = re.compile(r"\w+")


class PlainBM25:
    """An index of texts."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._lengths = []
        self._holders: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for number, text in enumerate(texts):
            words = Counter(_WORD.findall(text.lower()))
            self._lengths.append(words.total())
            for word, count in words.items():
                self._holders[word].append((number, count))
        self._average = sum(self._lengths) / max(1, len(texts))

    def search(self, query: str, limit: int) -> list[int]:
        """Return the numbers of the texts that have words of the query, best first."""
        scores: dict[int, float] = defaultdict(float)
        for word in set(_WORD.findall(query.lower())):
            holders = self._holders.get(word, [])
            rarity = log(1 + (len(self._lengths) - len(holders) + 0.5) / (len(holders) + 0.5))
            for number, count in holders:
                base = K1 * (1 - B + B * self._lengths[number] / self._average)
                scores[number] += rarity * count / (count + base)
        return sorted(scores, key=lambda number: (-scores[number], -number))[:limit]
