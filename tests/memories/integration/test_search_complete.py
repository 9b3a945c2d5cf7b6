"""An answer is never short or wrong because of what was changed, deleted or filtered. On real Postgres and Chroma."""

from datetime import date
from typing import Any

import pytest

from memories.filters import Filters
from memories.index import availability, generations, upsert
from memories.models import MemoryLog
from memories.records.services import NewMemory, create_memories
from memories.search import search as search_module
from memories.search.search import Answer, Mode, Query, answer
from memories.tenants import Tenant
from outbox import Unavailable
from outbox.queue import circuits
from outbox.testing import drain
from tests.support.tenants import new_tenant

pytestmark = pytest.mark.django_db(transaction=True)

BY_VECTORS = [Mode.VECTOR, Mode.HYBRID]


def remember(tenant: Tenant, *tasks: str, **fields: Any) -> list[MemoryLog]:
    given = {"agent": "ann", "date": date(2024, 5, 8), **fields}
    return create_memories(NewMemory(**tenant._asdict(), task=task, **given) for task in tasks)


def ask(tenant: Tenant, text: str = "fix the login", mode: Mode = Mode.VECTOR, **more: Any) -> Answer:
    return answer(Query(text=text, tenant=tenant, mode=mode, **more))


def ids(answered: Answer) -> list[int]:
    return [hit.memory_log_id for hit in answered.found]


@pytest.fixture
def tenant() -> Tenant:
    """Twelve memories about the login, the earlier the nearer to the query, and as many about something else."""
    tenant = new_tenant()
    remember(tenant, *("Fix the login" + " page of the shop" * number for number in range(12)))
    remember(tenant, *(f"Bake bread number {number}" for number in range(12)))
    drain()
    return tenant


def rows_of(tenant: Tenant) -> list[MemoryLog]:
    return list(MemoryLog.objects.filter(**tenant._asdict()).order_by("id"))


@pytest.mark.parametrize("mode", BY_VECTORS)
def test_deleted_memories_leave_no_gap_in_the_answer(tenant: Tenant, mode: Mode) -> None:
    rows = rows_of(tenant)
    MemoryLog.objects.filter(id__in=[row.id for row in rows[:6]]).delete()

    found = ask(tenant, mode=mode, limit=3)

    assert (found.backend, ids(found)) == ("chroma", [row.id for row in rows[6:9]])


def test_changed_memories_leave_no_gap_in_the_answer(tenant: Tenant) -> None:
    rows = rows_of(tenant)
    for row in rows[:6]:
        MemoryLog.objects.filter(id=row.id).update(
            task="Water the plants", version=2, content_hash=f"h{row.id}"
        )

    found = ask(tenant, limit=3)

    assert (found.backend, ids(found)) == ("chroma", [row.id for row in rows[6:9]])


def test_where_most_of_the_index_is_stale_postgres_compares(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_module, "MAX_ASKED", 8)
    rows = rows_of(tenant)
    MemoryLog.objects.filter(id__in=[row.id for row in rows[:10]]).delete()

    found = ask(tenant, limit=2)

    assert (found.backend, ids(found)) == ("pgvector", [row.id for row in rows[10:12]])


@pytest.mark.parametrize("mode", BY_VECTORS)
def test_a_changed_memory_is_found_by_its_new_meaning_before_it_is_indexed(
    tenant: Tenant, mode: Mode
) -> None:
    changed = rows_of(tenant)[20]
    [twin] = remember(new_tenant(), "Rotate the certificate")
    drain()
    twin.refresh_from_db()
    MemoryLog.objects.filter(id=changed.id).update(
        task=twin.task,
        version=2,
        content_hash=twin.content_hash,
        embedded_hash=twin.content_hash,
        embedding=twin.embedding,
    )

    found = ask(tenant, "certificate rotation", mode=mode, limit=1)

    assert (found.backend, ids(found)) == ("chroma", [changed.id])
    assert found.found[0].similarity is not None


def test_a_far_memory_that_is_not_indexed_does_not_take_the_place_of_a_nearer_one(tenant: Tenant) -> None:
    rows = rows_of(tenant)
    MemoryLog.objects.filter(id__in=[row.id for row in rows[:2]]).delete()
    MemoryLog.objects.filter(id__in=[row.id for row in rows[12:]]).update(indexed_version=None)

    found = ask(tenant, limit=2)

    assert (found.backend, ids(found)) == ("chroma", [row.id for row in rows[2:4]])


def test_a_memory_that_chroma_does_not_find_in_a_small_tenant_is_found(tenant: Tenant) -> None:
    rows = rows_of(tenant)
    generation = generations.of_tenant(tenant).active
    assert generation is not None
    upsert.delete(generation, [rows[0].id])

    assert ids(ask(tenant, limit=24))[0] == rows[0].id


RAWS: list[dict[str, Any]] = [
    {"n": 2},
    {"n": 2.5},
    {"n": 2.0},
    {"n": "2"},
    {"n": True},
    {"n": 0.1},
    {"n": [2]},
    {"n": -0.0},
    {"n": 9007199254740991},
    {"n": 1e-7},
    {"n": None},
    {"n": ""},
    {"tags": ["a", "b"]},
    {"tags": "a"},
    {"tags": ["A"]},
    {"tags": [1]},
    {"tags": ["1", "a,b"]},
    {"tags": {"a": "b"}},
    {"tags": ["é"]},
    {"tags": []},
]
QUESTIONS: list[tuple[dict[str, Any], list[dict[str, Any]]]] = [
    ({"raw_data": {"n": 2}}, [{"n": 2}, {"n": 2.0}]),
    ({"raw_data": {"n": 2.0}}, [{"n": 2}, {"n": 2.0}]),
    ({"raw_data": {"n": 2.5}}, [{"n": 2.5}]),
    ({"raw_data": {"n": 2.4}}, []),
    ({"raw_data": {"n": "2"}}, [{"n": "2"}]),
    ({"raw_data": {"n": True}}, [{"n": True}]),
    ({"raw_data": {"n": 1}}, []),
    ({"raw_data": {"n": False}}, []),
    ({"raw_data": {"n": 0}}, [{"n": -0.0}]),
    ({"raw_data": {"n": 0.1}}, [{"n": 0.1}]),
    ({"raw_data": {"n": 9007199254740991}}, [{"n": 9007199254740991}]),
    ({"raw_data": {"n": 1e-7}}, [{"n": 1e-7}]),
    ({"raw_data": {"n": ""}}, [{"n": ""}]),
    ({"tags": ("a",)}, [{"tags": ["a", "b"]}]),
    ({"tags": ("b", "a")}, [{"tags": ["a", "b"]}]),
    ({"tags": ("1",)}, [{"tags": ["1", "a,b"]}]),
    ({"tags": ("a,b",)}, [{"tags": ["1", "a,b"]}]),
    ({"tags": ("é",)}, [{"tags": ["é"]}]),
    ({"tags": ("",)}, []),
    ({"raw_data": {"tags": "a"}}, [{"tags": "a"}]),
    ({"tags": ("a",), "raw_data": {"tags": "a"}}, []),
    ({"tags": ("a",), "raw_data": {"n": 2}}, []),
]


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("chroma_is_available", [True, False])
def test_a_filter_means_the_same_in_every_mode_and_store(mode: Mode, chroma_is_available: bool) -> None:
    tenant = new_tenant()
    rows = create_memories(
        NewMemory(**tenant._asdict(), task="Fix the login", agent="ann", date=date(2024, 5, 8), raw_data=raw)
        for raw in RAWS
    )
    drain()
    if not chroma_is_available:
        circuits.open_circuit(Unavailable("chroma", "refused"))
        availability.reset()

    for filters, wanted in QUESTIONS:
        found = set(ids(ask(tenant, mode=mode, limit=30, filters=Filters(**filters))))
        assert found == {row.id for row, raw in zip(rows, RAWS, strict=True) if raw in wanted}, filters
