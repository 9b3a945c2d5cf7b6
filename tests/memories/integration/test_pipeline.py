"""From the service call to the search result, on real Postgres and Chroma."""

import pytest

from memories.models import MemoryLog
from memories.records.services import NewMemory, create_memory
from memories.search.search import Mode, Query, search
from memories.tenants import Tenant
from outbox.models import Event
from outbox.testing import drain
from tests.support.tenants import new_tenant

pytestmark = pytest.mark.django_db(transaction=True)


def remember(tenant: Tenant, task: str, **raw_data: object) -> MemoryLog:
    return create_memory(
        NewMemory(
            user_id=tenant.user_id,
            project_id=tenant.project_id,
            task=task,
            agent="claude",
            raw_data=dict(raw_data),
        )
    )


def test_a_stored_memory_is_embedded_indexed_and_found() -> None:
    tenant = new_tenant()
    row = remember(tenant, "Fix the login redirect", summary="The session cookie was lost behind the proxy")
    remember(tenant, "Bake bread", summary="Let the dough rest overnight")

    drain()

    row.refresh_from_db()
    assert row.indexed_version == row.version
    assert row.embedding_model
    assert len(row.embedding) == 768
    hits = search(Query(text="session cookie lost", tenant=tenant, mode=Mode.VECTOR))
    assert hits[0].memory_log_id == row.id
    assert hits[0].similarity > hits[1].similarity


def test_each_step_leaves_its_event_behind() -> None:
    row = remember(new_tenant(), "Fix the login redirect")

    drain()

    types = Event.objects.filter(aggregateid=str(row.id)).order_by("id").values_list("type", "status")
    assert list(types) == [
        ("memory_log.stored", "delivered"),
        ("embedding.generated", "delivered"),
        ("vector.stored", "delivered"),
    ]


def test_tenants_find_only_their_own() -> None:
    alice, bob = new_tenant(), new_tenant()
    remember(alice, "Fix the login redirect")

    drain()

    assert search(Query(text="login redirect", tenant=bob, mode=Mode.VECTOR)) == []


def test_a_memory_deleted_in_postgres_is_not_found_while_the_index_still_has_it() -> None:
    tenant = new_tenant()
    row = remember(tenant, "Fix the login redirect")
    drain()

    row.delete()

    assert search(Query(text="login redirect", tenant=tenant, mode=Mode.VECTOR)) == []
