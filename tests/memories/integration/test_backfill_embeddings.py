"""`manage.py backfill_embeddings`: what has no embedding gets one, and is found."""

import json
from typing import Any

import pytest
from django.core.management import call_command

from memories.models import MemoryLog
from memories.records.services import NewMemory, create_memories
from memories.search.search import Query, search
from memories.tenants import Tenant
from outbox.models import Event
from outbox.testing import drain
from tests.support.tenants import new_tenant

pytestmark = pytest.mark.django_db(transaction=True)


def remember(tenant: Tenant, count: int = 3) -> list[MemoryLog]:
    return create_memories(
        NewMemory(**tenant._asdict(), task=f"Fix bug number {number}", agent="coder")
        for number in range(count)
    )


def backfill(capsys: pytest.CaptureFixture[str], tenant: Tenant) -> dict[str, Any]:
    call_command("backfill_embeddings", "--json", "--user-id", tenant.user_id)
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def test_memories_whose_events_were_lost_are_embedded_and_indexed(capsys: pytest.CaptureFixture[str]) -> None:
    tenant = new_tenant()
    rows = remember(tenant)
    Event.objects.all().delete()

    assert backfill(capsys, tenant) == {"embedded": 3, "left": 0, "refused": []}
    assert all(row.embedding is not None for row in MemoryLog.objects.filter(user_id=tenant.user_id))

    drain()
    hits = search(Query(text="Fix bug", tenant=tenant))
    assert {hit.memory_log_id for hit in hits} == {row.id for row in rows}


def test_embeddings_of_a_former_text_another_model_or_length_are_made_anew(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tenant = new_tenant()
    rows = remember(tenant, 4)
    drain()
    MemoryLog.objects.filter(id=rows[0].id).update(embedded_hash="of a former text")
    MemoryLog.objects.filter(id=rows[1].id).update(embedding_model="another")
    MemoryLog.objects.filter(id=rows[2].id).update(embedding=[1.0, 2.0])

    assert backfill(capsys, tenant) == {"embedded": 3, "left": 0, "refused": []}


def test_a_second_run_has_nothing_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    tenant = new_tenant()
    remember(tenant)
    drain()

    assert backfill(capsys, tenant) == {"embedded": 0, "left": 0, "refused": []}
