"""Another embedding model: the former index answers until the new one is complete, then that one does."""

import json
from pathlib import Path

import pytest
from django.core.management import call_command
from pytest_django.fixtures import Settings

from memories.index import generations
from memories.index.client import get_client
from memories.indexing import fill, migrate
from memories.models import Generation, MemoryLog
from memories.records.services import NewMemory, create_memories, delete_memory, update_memory
from memories.search.search import Query, search
from memories.tenants import Scope, Tenant
from outbox.models import Event
from outbox.testing import drain
from tests.support.indexed import collection_of
from tests.support.tenants import new_tenant

pytestmark = pytest.mark.django_db(transaction=True)


def remember(tenant: Tenant, count: int = 3) -> list[MemoryLog]:
    return create_memories(
        NewMemory(**tenant._asdict(), task=f"Fix bug number {number}", agent="coder")
        for number in range(count)
    )


def found(tenant: Tenant, text: str = "Fix bug") -> set[int]:
    return {hit.memory_log_id for hit in search(Query(text=text, tenant=tenant, limit=100))}


def ids(rows: list[MemoryLog]) -> set[int]:
    return {row.id for row in rows}


def model_of(tenant: Tenant) -> tuple[str, int]:
    active = generations.of_tenant(tenant).active
    assert active is not None
    return active.model, active.dimensions


@pytest.fixture
def tenant() -> Tenant:
    return new_tenant()


@pytest.fixture
def rows(tenant: Tenant) -> list[MemoryLog]:
    rows = remember(tenant)
    drain()
    return rows


def fill_one_memory(tenant: Tenant) -> None:
    """As far as a cluster comes that is stopped after the first memory."""

    def stop(_count: int) -> None:
        raise KeyboardInterrupt

    building = generations.of_tenant(tenant).building
    assert building is not None
    with pytest.raises(KeyboardInterrupt):
        fill.fill([building], batch_rows=1, progress=fill.FillProgress(advance=stop))


def test_a_change_of_dimensions_ends_in_a_new_collection(
    tenant: Tenant, rows: list[MemoryLog], settings: Settings
) -> None:
    former = generations.of_tenant(tenant).active
    assert former is not None
    settings.EMBEDDING_DIMENSIONS = 64

    assert migrate.migrate_models(Scope(*tenant)) == 1
    drain()

    assert model_of(tenant) == (former.model, 64)
    assert found(tenant) == ids(rows)
    assert {len(row.embedding) for row in MemoryLog.objects.filter(id__in=ids(rows))} == {64}
    assert former.collection not in {collection.name for collection in get_client().list_collections()}
    assert not Generation.objects.filter(pk=former.pk).exists()


def test_the_former_model_answers_until_the_new_collection_is_complete(
    tenant: Tenant, rows: list[MemoryLog], settings: Settings
) -> None:
    settings.EMBEDDING_MODEL = "hashing-of-tomorrow"
    migrate.migrate_models(Scope(*tenant))
    fill_one_memory(tenant)

    assert model_of(tenant)[0] == "static-2"
    assert found(tenant) == ids(rows)

    drain()
    assert model_of(tenant)[0] == "hashing-of-tomorrow"
    assert found(tenant) == ids(rows)


def test_what_is_written_meanwhile_is_found_before_and_after_the_switch(
    tenant: Tenant, rows: list[MemoryLog], settings: Settings
) -> None:
    settings.EMBEDDING_DIMENSIONS = 64
    migrate.migrate_models(Scope(*tenant))
    fill_one_memory(tenant)
    Event.objects.filter(type="index.fill").update(status="claimed")  # in a worker's hands
    [new] = remember(tenant, 1)
    update_memory(rows[0].id, {"task": "Bake bread"})
    delete_memory(rows[1].id)
    drain()
    assert model_of(tenant)[1] == 768
    expected = {rows[0].id, rows[2].id, new.id}
    assert found(tenant) == expected
    assert rows[0].id in found(tenant, "bread baking")

    Event.objects.filter(type="index.fill").update(status="pending", attempts=0)
    drain()

    assert model_of(tenant)[1] == 64
    assert found(tenant) == expected
    assert collection_of(tenant).count() == 3


def test_outbox_status_tells_how_far_it_has_come(
    tenant: Tenant, rows: list[MemoryLog], settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.EMBEDDING_DIMENSIONS = 64
    migrate.migrate_models(Scope(*tenant))
    fill_one_memory(tenant)

    call_command("outbox_status", "--json")
    told = json.loads(capsys.readouterr().out)["progress"]["index"]
    assert (told["done"], told["total"]) == (1, 3)
    call_command("outbox_status")
    assert "1 of 3 (33 %)" in capsys.readouterr().out

    drain()
    call_command("outbox_status", "--json")
    assert json.loads(capsys.readouterr().out)["progress"] == {}


def test_a_change_of_mind_goes_back_to_the_former_model(
    tenant: Tenant, rows: list[MemoryLog], settings: Settings
) -> None:
    settings.EMBEDDING_DIMENSIONS = 64
    migrate.migrate_models(Scope(*tenant))
    fill_one_memory(tenant)

    settings.EMBEDDING_DIMENSIONS = 768
    migrate.migrate_models(Scope(*tenant))
    drain()

    assert model_of(tenant)[1] == 768
    assert found(tenant) == ids(rows)
    assert {len(row.embedding) for row in MemoryLog.objects.filter(id__in=ids(rows))} == {768}


def test_nothing_is_begun_where_the_model_is_the_same(tenant: Tenant, rows: list[MemoryLog]) -> None:
    assert migrate.migrate_models(Scope(*tenant)) == 0
    assert not Event.objects.filter(type="index.fill").exists()


def test_beginning_twice_begins_once(tenant: Tenant, rows: list[MemoryLog], settings: Settings) -> None:
    settings.EMBEDDING_DIMENSIONS = 64
    assert migrate.migrate_models(Scope(*tenant)) == 1
    assert migrate.migrate_models(Scope(*tenant)) == 0
    assert Event.objects.filter(type="index.fill").count() == 1


def test_a_half_full_collection_whose_filler_was_killed_is_filled_by_the_cluster(
    tenant: Tenant, rows: list[MemoryLog], settings: Settings
) -> None:
    settings.EMBEDDING_DIMENSIONS = 64
    migrate.migrate_models(Scope(*tenant))
    fill_one_memory(tenant)
    Event.objects.filter(type="index.fill").delete()

    migrate.migrate_models(Scope(*tenant))
    drain()

    assert model_of(tenant)[1] == 64


def test_a_long_fill_goes_on_from_event_to_event(
    tenant: Tenant, rows: list[MemoryLog], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.EMBEDDING_DIMENSIONS = 64
    monkeypatch.setattr(fill, "SHARE_SECONDS", 0.0)
    monkeypatch.setattr(fill, "BATCH_BYTES", 1)  # a batch a memory
    migrate.migrate_models(Scope(*tenant))

    drain()

    assert Event.objects.filter(type="index.fill").count() > len(rows)
    assert model_of(tenant)[1] == 64
    assert found(tenant) == ids(rows)


def test_backfilling_embeds_by_the_new_model_without_waiting_for_the_cluster(
    tenant: Tenant, rows: list[MemoryLog], settings: Settings
) -> None:
    settings.EMBEDDING_DIMENSIONS = 64

    call_command("backfill_embeddings", "--user-id", tenant.user_id)

    assert {len(row.embedding) for row in MemoryLog.objects.filter(id__in=ids(rows))} == {64}
    assert found(tenant) == ids(rows)  # by the former collection still
    drain()
    assert model_of(tenant)[1] == 64


def test_rebuilding_migrates_at_once(tenant: Tenant, rows: list[MemoryLog], settings: Settings) -> None:
    settings.EMBEDDING_DIMENSIONS = 64

    call_command("rebuild_index", "--user-id", tenant.user_id)

    assert model_of(tenant)[1] == 64
    assert found(tenant) == ids(rows)


def test_a_former_provider_that_is_gone_leaves_writing_and_the_switch_alone(
    tenant: Tenant, rows: list[MemoryLog], settings: Settings, tmp_path: Path
) -> None:
    Generation.objects.filter(**tenant._asdict()).update(backend="gone.for.Good", model="shut-down")
    migrate.migrate_models(Scope(*tenant))
    [new] = remember(tenant, 1)

    drain(through_backoff=True)

    assert model_of(tenant)[0] == "static-2"
    assert found(tenant) == ids([*rows, new])
