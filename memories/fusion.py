"""Making one ranking of several by the places things have in them (Cormack, Clarke and Büttcher, 2009)."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

# The first place counts (K + 10) / (K + 1) times as much as the tenth. The usual 60 makes them nearly equal, which
# is for many rankings of about the same worth; of two, it lets the middle of the one outvote the top of the other.
K = 3


class Ranking(NamedTuple):
    ids: Sequence[int]
    """Best first."""
    weight: float = 1.0


def fuse(rankings: Iterable[Ranking]) -> dict[int, float]:
    """The sum over the rankings of weight / (K + place), places counted from 1."""
    scores: dict[int, float] = defaultdict(float)
    for ids, weight in rankings:
        for place, id in enumerate(ids, start=1):
            scores[id] += weight / (K + place)
    return dict(scores)


def best_first(scores: dict[int, float]) -> list[int]:
    """The ids by falling score; of equals, the newer (greater) first."""
    return sorted(scores, key=lambda id: (-scores[id], -id))
