"""The explanation of a search tells its true ranking: the parts of a score add up to it."""

import pytest

from memories.records.services import NewMemory, create_memory
from memories.search.explain import explain
from memories.search.search import Mode, Query, search
from memories.tenants import Tenant
from outbox.models import Event
from outbox.publishing import background
from outbox.publishing.background import flush
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


def test_a_hit_has_its_places_its_words_and_what_its_neighbour_added(tenant: Tenant) -> None:
    first, second, third = explain(Query(text="session cookie proxy", tenant=tenant)).hits

    assert (first.hit.explanation.word_place, first.hit.explanation.meaning_place) == (1, 1)
    assert first.found_words == ["session", "cooki", "proxi"]
    assert second.found_words == ["proxi"]
    # The second was written right after the first, with the same task on the same day.
    assert second.hit.explanation.neighbours > 0
    assert (third.hit.explanation.word_place, third.hit.explanation.neighbours) == (None, 0.0)


@pytest.mark.parametrize(
    ("mode", "places"), [(Mode.LEXICAL, (1, None)), (Mode.VECTOR, (None, 1))], ids=["lexical", "vector"]
)
def test_one_ranking_alone_is_the_answer(
    tenant: Tenant, mode: Mode, places: tuple[int | None, int | None]
) -> None:
    one, *_ = explain(Query(text="cookie", tenant=tenant, mode=mode)).hits

    assert (one.hit.explanation.word_place, one.hit.explanation.meaning_place) == places


def test_an_explanation_records_no_search(tenant: Tenant) -> None:
    explain(Query(text="cookie", tenant=tenant))

    assert background.flush(60)
    flush()
    assert not Event.objects.filter(type="vector.searched", aggregateid="/".join(tenant)).exists()
