import pytest

from memories.fusion import K, Ranking, best_first, fuse


def test_what_both_rankings_have_comes_before_what_only_one_has() -> None:
    scores = fuse([Ranking([1, 2, 3]), Ranking([4, 2, 5])])

    assert best_first(scores)[0] == 2


def test_a_place_counts_its_reciprocal() -> None:
    assert fuse([Ranking([7, 8]), Ranking([8], weight=0.5)]) == {
        7: pytest.approx(1 / (K + 1)),
        8: pytest.approx(1 / (K + 2) + 0.5 / (K + 1)),
    }


def test_one_ranking_alone_keeps_its_order() -> None:
    assert best_first(fuse([Ranking([3, 1, 2]), Ranking([])])) == [3, 1, 2]


def test_of_equals_the_newer_comes_first() -> None:
    assert best_first({1: 0.5, 2: 0.5}) == [2, 1]


def test_nothing_fuses_to_nothing() -> None:
    assert fuse([]) == {}
