"""One ranking of two, by the margins that memories have in both, and by their neighbours."""

from collections.abc import Mapping
from math import inf

import pytest

from memories.filters import EVERYTHING
from memories.index.query import Neighbours
from memories.models import MemoryLog
from memories.records.services import NewMemory, create_memories
from memories.search import meaning
from memories.search.hybrid import MARGIN, MAX_BOOSTER_BYTES, NEIGHBOUR_BOOSTS, Trust, best, trust
from memories.search.lexical import Ranked
from memories.tenants import Tenant
from tests.support.tenants import new_tenant

VECTOR_WEIGHT = 0.3

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def tenant() -> Tenant:
    return new_tenant()


def remember(tenant: Tenant, *tasks: str) -> list[int]:
    rows = create_memories(
        NewMemory(**tenant._asdict(), task=task, agent="ann", raw_data={}) for task in tasks
    )
    return [row.id for row in rows]


def fused(
    tenant: Tenant,
    words: Mapping[int, float] | None = None,
    distances: Mapping[int, float] | None = None,
    *,
    from_index: bool = False,
    limit: int | None = None,
    least_range: float = 0.0,
) -> dict[int, float]:
    """Ids and scores, in the order of the answer."""
    ranked = [Ranked(id, score) for id, score in (words or {}).items()]
    neighbours = Neighbours(dict(distances or {}))
    given = meaning.parameters(neighbours, tenant, EVERYTHING, None, from_index=from_index, depth=50)
    hits = best(ranked, given, trust=Trust(VECTOR_WEIGHT, least_range), horizon=inf, limit=limit).hits
    return {hit.memory_log_id: hit.score for hit in hits}


def test_what_both_rankings_have_comes_before_what_only_one_has(tenant: Tenant) -> None:
    one, two, three, four, five = remember(tenant, *"abcde")

    found = fused(tenant, {one: 5.0, two: 4.5, three: 4.0}, {four: 0.4, two: 0.45, five: 0.9})

    assert next(iter(found)) == two


def test_a_memory_counts_by_its_margin_in_each_ranking(tenant: Tenant) -> None:
    one, two, three = remember(tenant, *"abc")

    assert fused(tenant, {one: 8.0, two: 2.0}, {two: 0.2, three: 0.6}) == {
        one: pytest.approx(1.0),
        two: pytest.approx(2.0 / 8.0 + VECTOR_WEIGHT),
        three: pytest.approx(VECTOR_WEIGHT * MARGIN / (0.4 + MARGIN)),
    }


def test_distances_that_hardly_differ_are_not_stretched(tenant: Tenant) -> None:
    one, two, three = remember(tenant, *"abc")
    distances = {one: 0.50, two: 0.51, three: 0.52}

    scores = fused(tenant, distances=distances, least_range=0.1)

    assert scores[one] == pytest.approx(VECTOR_WEIGHT * (0.02 + MARGIN) / (0.1 + MARGIN))
    assert list(scores) == [one, two, three]


def test_distances_count_by_what_the_embedder_knows_of_the_question() -> None:
    assert trust(None, "timeouts at login") == Trust(0.2, pytest.approx(0.1))


def test_one_ranking_alone_keeps_its_order(tenant: Tenant) -> None:
    one, two, three = remember(tenant, *"abc")

    assert list(fused(tenant, {three: 3.0, one: 2.0, two: 1.0})) == [three, one, two]
    assert list(fused(tenant, distances={two: 0.1, three: 0.2, one: 0.3}, limit=2)) == [two, three]
    assert fused(tenant, distances={two: 0.7}) == {two: pytest.approx(VECTOR_WEIGHT)}


def test_a_neighbour_that_was_found_too_is_boosted_and_another_is_not_found(tenant: Tenant) -> None:
    first, middle, last, far = remember(tenant, "talk", "talk", "talk", "another talk")

    scores = fused(tenant, {middle: 4.0, last: 1.0, far: 1.0})

    assert scores == {
        middle: pytest.approx(1.0 + NEIGHBOUR_BOOSTS[0] * 0.25, rel=1e-3),
        last: pytest.approx(0.25 + NEIGHBOUR_BOOSTS[0], rel=1e-3),
        far: pytest.approx(0.25),
    }
    assert first not in scores


def test_the_longer_a_memory_is_the_less_it_boosts_its_neighbours(tenant: Tenant) -> None:
    def boost(size: int) -> float:
        """What a memory of this size gives to its neighbour."""
        rows = [
            NewMemory(
                **tenant._asdict(), task=f"talk of {size}", agent="ann", raw_data={"text": "x" * length}
            )
            for length in (size, 1)
        ]
        long, short = [row.id for row in create_memories(rows)]
        return fused(tenant, {long: 4.0, short: 1.0})[short] - 0.25

    short, paragraph, page = boost(1), boost(600), boost(MAX_BOOSTER_BYTES)

    assert short == pytest.approx(NEIGHBOUR_BOOSTS[0], rel=0.01)
    assert 0 < paragraph < short / 2
    assert page == 0


def test_of_equals_the_newer_comes_first(tenant: Tenant) -> None:
    older, newer = remember(tenant, "a", "b")

    assert list(fused(tenant, {older: 1.0, newer: 1.0})) == [newer, older]


def test_what_the_index_holds_of_an_older_version_leaves_its_place_to_the_next(tenant: Tenant) -> None:
    changed, current = remember(tenant, *"ab")
    MemoryLog.objects.filter(id=current).update(indexed_version=1)
    MemoryLog.objects.filter(id=changed).update(indexed_version=1, version=2)
    distances = {changed: 0.1, current: 0.2}

    assert fused(tenant, distances=distances, from_index=True) == {current: pytest.approx(VECTOR_WEIGHT)}
    assert list(fused(tenant, distances=distances)) == [changed, current]


def test_nothing_fuses_to_nothing_and_nothing_is_of_another_tenant(tenant: Tenant) -> None:
    foreign = dict.fromkeys(remember(new_tenant(), *"ab"), 0.5)

    assert fused(tenant) == fused(tenant, foreign, foreign) == {}
