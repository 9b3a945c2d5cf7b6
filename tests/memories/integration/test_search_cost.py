"""What a search costs PostgreSQL: its statements, how often they are planned, and the rows that they read."""

from collections.abc import Callable

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from memories.filters import EVERYTHING, Filters
from memories.index import availability
from memories.index.query import Neighbours
from memories.records.services import NewMemory, create_memories
from memories.search import meaning, results
from memories.search.hybrid import Trust, best
from memories.search.lexical import Ranked
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


# Many tenants of one memory, so that the planner takes every tenant for a small one, and then a large tenant.
OTHER_TENANTS = "SELECT 'user-' || n, 'project-' || n FROM generate_series(1, 500) AS n"
LARGE_TENANT = "SELECT %(user_id)s, %(project_id)s FROM generate_series(1, 2000)"
INSERT = """
INSERT INTO memory_logs (user_id, project_id, task, agent, date, raw_data, version, content_hash, embedding_model,
    embedded_hash, indexed_version)
SELECT t.*, gen_random_uuid(), 'agent', '2024-01-01', '{{}}', 1, '', '', '', 1 FROM ({tenants}) AS t
"""


def _by_words(tenant: Tenant, ids: list[int]) -> None:
    results.read(tenant, dict.fromkeys(ids, 1.0), query_vector=None)


def _by_meaning(tenant: Tenant, ids: list[int]) -> None:
    meaning.read_nearest(_nearest(tenant, ids), EVERYTHING)


def _by_both(tenant: Tenant, ids: list[int]) -> None:
    words = [Ranked(memory_id, 1.0) for memory_id in ids]
    best(words, _nearest(tenant, ids), trust=Trust(0.4, 0.0), horizon=1.0, limit=10)


def _nearest(tenant: Tenant, ids: list[int]) -> dict[str, object]:
    neighbours = Neighbours(dict.fromkeys(ids, 0.1), horizon=1.0)
    return meaning.parameters(neighbours, tenant, EVERYTHING, None, from_index=True, depth=50)


def rows_read() -> int:
    """The rows of memory_logs that this transaction has read."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'memory_logs'"
        )
        [(count,)] = cursor.fetchall()
    return int(count)


@pytest.mark.parametrize("read", [_by_words, _by_meaning, _by_both])
def test_the_hits_of_a_large_tenant_are_read_by_their_ids(
    tenant: Tenant, read: Callable[[Tenant, list[int]], None]
) -> None:
    connection.close()  # its prepared statements may have other plans
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(INSERT.format(tenants=OTHER_TENANTS))
        cursor.execute("ANALYZE memory_logs")
        cursor.execute(INSERT.format(tenants=LARGE_TENANT) + "RETURNING id", tenant._asdict())
        ids = [id for (id,) in cursor.fetchall()][:50]
        before = rows_read()

        read(tenant, ids)

        assert rows_read() - before <= 5 * len(ids)
        transaction.set_rollback(True)
