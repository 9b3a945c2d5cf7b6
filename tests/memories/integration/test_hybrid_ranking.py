"""One ranking of two, by the places memories have in both."""

from collections.abc import Sequence
from math import inf

import pytest

from memories.filters import EVERYTHING
from memories.index.query import Neighbours
from memories.models import MemoryLog
from memories.records.services import NewMemory, create_memories
from memories.search import meaning
from memories.search.hybrid import NEIGHBOUR_BOOSTS, VECTOR_WEIGHT, K, best
from memories.tenants import Tenant
from tests.support.tenants import new_tenant

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
    words: Sequence[int] = (),
    meanings: Sequence[int] = (),
    *,
    from_index: bool = False,
    limit: int | None = None,
) -> dict[int, float]:
    """Ids and scores, in the order of the answer."""
    neighbours = Neighbours({id: place / 100 for place, id in enumerate(meanings)})
    given = meaning.parameters(neighbours, tenant, EVERYTHING, None, from_index=from_index, depth=50)
    hits, _certain = best(words, given, horizon=inf, limit=limit)
    return {hit.memory_log_id: hit.score for hit in hits}


def test_what_both_rankings_have_comes_before_what_only_one_has(tenant: Tenant) -> None:
    one, two, three, four, five = remember(tenant, *"abcde")

    assert next(iter(fused(tenant, [one, two, three], [four, two, five]))) == two


def test_a_place_counts_its_reciprocal(tenant: Tenant) -> None:
    one, two = remember(tenant, *"ab")

    assert fused(tenant, [one, two], [two]) == {
        one: pytest.approx(1 / (K + 1)),
        two: pytest.approx(1 / (K + 2) + VECTOR_WEIGHT / (K + 1)),
    }


def test_one_ranking_alone_keeps_its_order(tenant: Tenant) -> None:
    one, two, three = remember(tenant, *"abc")

    assert list(fused(tenant, [three, one, two])) == [three, one, two]
    assert list(fused(tenant, meanings=[two, three, one], limit=2)) == [two, three]


def test_of_equals_the_newer_comes_first(tenant: Tenant) -> None:
    first, middle, last = remember(tenant, "talk", "talk", "talk")

    scores = fused(tenant, [middle])

    assert list(scores) == [middle, last, first]
    assert scores[first] == scores[last] == pytest.approx(NEIGHBOUR_BOOSTS[0] / (K + 1))


def test_what_the_index_holds_of_an_older_version_leaves_its_place_to_the_next(tenant: Tenant) -> None:
    changed, current = remember(tenant, *"ab")
    MemoryLog.objects.filter(id=current).update(indexed_version=1)
    MemoryLog.objects.filter(id=changed).update(indexed_version=1, version=2)

    assert fused(tenant, meanings=[changed, current], from_index=True) == {
        current: pytest.approx(VECTOR_WEIGHT / (K + 1))
    }
    assert list(fused(tenant, meanings=[changed, current])) == [changed, current]


def test_nothing_fuses_to_nothing_and_nothing_is_of_another_tenant(tenant: Tenant) -> None:
    ids = remember(new_tenant(), *"ab")

    assert fused(tenant) == fused(tenant, ids, ids) == {}
