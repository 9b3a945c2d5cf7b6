"""What a search costs PostgreSQL: its statements, and how often they are planned."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from memories.filters import Filters
from memories.index import availability
from memories.records.services import NewMemory, create_memories
from memories.search.search import Mode, Query, find
from memories.tenants import Tenant
from outbox.testing import drain
from tests.support.tenants import new_tenant

pytestmark = pytest.mark.django_db(transaction=True)

TASKS = ("Fix the timeout of service 1", "Fix the timeout of service 2", "Rotate the certificate")


@pytest.fixture
def tenant() -> Tenant:
    tenant = new_tenant()
    create_memories(NewMemory(**tenant._asdict(), task=task, agent="ann", raw_data={}) for task in TASKS)
    drain()
    return tenant


@pytest.fixture(autouse=True)
def _known_circuit() -> None:
    """Whether Chroma's circuit is open is read once a second: not in the searches that are counted."""
    availability.is_available()


def statements(query: Query) -> list[str]:
    availability.is_available()
    with CaptureQueriesContext(connection) as queries:
        assert find(query).found
    return [query["sql"] for query in queries]


def planned() -> dict[str, tuple[int, int]]:
    """By the first words of each prepared statement: how often it was planned, and how often it was not."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT left(ltrim(statement, chr(10)), 12), custom_plans, generic_plans FROM pg_prepared_statements"
        )
        return {begin: (custom, generic) for begin, custom, generic in cursor.fetchall()}


def test_a_hybrid_search_takes_four_statements_also_with_an_unknown_number(tenant: Tenant) -> None:
    # The collections, the words' statistics, the ranking by words, and both rankings in one with its rows.
    assert len(statements(Query(text="timeout of service 77", tenant=tenant, limit=3))) == 4


@pytest.mark.parametrize(("mode", "expected"), [(Mode.LEXICAL, 3), (Mode.VECTOR, 3)])
def test_a_search_in_one_way_takes_three_statements(tenant: Tenant, mode: Mode, expected: int) -> None:
    # By words: statistics, ranking, rows. By meaning: the collections, the rows, and a count because there are few.
    assert len(statements(Query(text="timeout of service", tenant=tenant, mode=mode))) == expected


def test_the_statements_of_a_search_are_planned_five_times_at_most(tenant: Tenant) -> None:
    connection.close()
    for number in range(8):
        find(Query(text=f"timeout of service {number}", tenant=tenant))

    assert planned() == {
        'SELECT "memo': (5, 3),
        "WITH tenant ": (5, 3),
        "WITH term AS": (5, 3),
        "WITH meaning": (5, 3),
    }


def test_a_search_with_filters_is_planned_with_its_values(tenant: Tenant) -> None:
    connection.close()
    for _ in range(8):
        find(Query(text="timeout", tenant=tenant, filters=Filters(agent="ann")))

    assert set(planned()) == {'SELECT "memo', "WITH tenant "}, "collections and statistics know no filters"
