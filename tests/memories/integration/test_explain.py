"""The explanation of a search tells its true ranking: the parts of a score add up to it."""

import pytest

from memories.records.services import NewMemory, create_memory
from memories.search.explain import explain
from memories.search.search import Mode, Query, search
from memories.tenants import Tenant
from outbox.models import Event
from outbox.testing import drain
from tests.support.tenants import new_tenant

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def tenant() -> Tenant:
    tenant = new_tenant()
    for task, summary in (
        ("Fix the login", "The session cookie was lost behind the proxy"),
        ("Fix the login", "A user was signed out because the proxy dropped it"),
        ("Bake bread", "Flour, water and salt"),
    ):
        create_memory(NewMemory(**tenant._asdict(), task=task, agent="coder", raw_data={"summary": summary}))
    drain()
    return tenant


@pytest.mark.parametrize("mode", list(Mode))
def test_the_hits_are_those_of_the_search_in_its_order(tenant: Tenant, mode: Mode) -> None:
    query = Query(text="session cookie", tenant=tenant, mode=mode)

    found = explain(query).hits

    assert [one.hit.memory_log_id for one in found] == [hit.memory_log_id for hit in search(query)]
    assert [one.number for one in found] == list(range(1, len(found) + 1))


def test_the_parts_of_a_hybrid_score_add_up(tenant: Tenant) -> None:
    first, second, *_ = explain(Query(text="session cookie proxy", tenant=tenant)).hits

    assert first.words is not None
    assert first.meaning is not None
    parts = first.words.part + first.meaning.part + first.from_neighbours
    assert parts == pytest.approx(first.hit.score)
    assert first.found_words == ["session", "cooki", "proxi"]
    assert second.found_words == ["proxi"]
    # The second was written right after the first, with the same task on the same day.
    assert second.from_neighbours > 0


def test_a_search_by_words_compares_no_vectors(tenant: Tenant) -> None:
    [one] = explain(Query(text="cookie", tenant=tenant, mode=Mode.LEXICAL)).hits

    assert one.words is not None
    assert (one.words.number, one.words.of) == (1, 1)
    assert one.meaning is None
    assert one.hit.similarity is None


def test_an_explanation_records_no_search(tenant: Tenant) -> None:
    explain(Query(text="cookie", tenant=tenant))

    assert not Event.objects.filter(type="vector.searched").exists()
