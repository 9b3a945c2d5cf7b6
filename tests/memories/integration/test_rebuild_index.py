"""`manage.py rebuild_index` on real stores: in place, anew, after a loss, stopped and gone on with."""

import json
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from pytest_django.fixtures import Settings

from memories.index import generations
from memories.index.client import get_client
from memories.indexing import fill
from memories.indexing import rebuild as rebuilding
from memories.models import Generation, MemoryLog
from memories.records.services import NewMemory, create_memories, update_memory
from memories.search.search import Query, search
from memories.tenants import Scope, Tenant
from outbox.testing import captured_events, drain
from tests.support.chroma_server import own_chroma
from tests.support.equality import assert_equal_stores
from tests.support.indexed import collection_of, held
from tests.support.late_writer import LateWriter
from tests.support.tenants import new_tenant

pytestmark = pytest.mark.django_db(transaction=True)


def remember(tenant: Tenant, count: int = 3) -> list[MemoryLog]:
    return create_memories(
        NewMemory(**tenant._asdict(), task=f"Fix bug number {number}", agent="coder")
        for number in range(count)
    )


def rebuild(
    capsys: pytest.CaptureFixture[str], tenant: Tenant | None = None, *options: str
) -> dict[str, Any]:
    scope = ["--user-id", tenant.user_id, "--project-id", tenant.project_id] if tenant else []
    call_command("rebuild_index", "--json", *scope, *options)
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def found(tenant: Tenant) -> set[int]:
    return {hit.memory_log_id for hit in search(Query(text="Fix bug", tenant=tenant, limit=100))}


def test_what_is_missing_comes_back_and_what_postgres_does_not_have_goes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tenant = new_tenant()
    rows = remember(tenant)
    drain()
    collection = collection_of(tenant)
    collection.delete(ids=collection.get(limit=2)["ids"])
    collection.add(ids=["memory_999999999_nobody_x"], embeddings=[[0.5] * 768])

    answer = rebuild(capsys, tenant)

    assert answer["memories"] == 3
    assert answer["removed"] == 1
    assert found(tenant) == {row.id for row in rows}
    assert collection_of(tenant).count() == 3


def test_stored_embeddings_are_used_and_only_missing_ones_are_made(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tenant = new_tenant()
    rows = remember(tenant)
    drain()
    MemoryLog.objects.filter(id=rows[0].id).update(embedding=None)
    MemoryLog.objects.filter(id=rows[1].id).update(embedding_model="another")

    answer = rebuild(capsys, tenant)

    assert answer["embedded"] == 2
    assert all(row.embedding is not None for row in MemoryLog.objects.filter(user_id=tenant.user_id))


def test_only_the_scope_is_rebuilt(capsys: pytest.CaptureFixture[str]) -> None:
    alice, bob = new_tenant(), new_tenant()
    remember(alice)
    remember(bob)
    drain()
    for tenant in (alice, bob):
        collection = collection_of(tenant)
        collection.delete(ids=collection.get()["ids"])

    assert rebuild(capsys, alice)["tenants"] == 1

    assert collection_of(alice).count() == 3
    assert collection_of(bob).count() == 0


def test_a_project_without_its_user_is_wrong_use() -> None:
    with pytest.raises(CommandError) as error:
        call_command("rebuild_index", "--project-id", "x")
    assert error.value.returncode == 2


@pytest.mark.parametrize("command", ["rebuild_index", "verify_index", "backfill_embeddings"])
def test_one_who_has_no_memories_is_not_passed_over_in_silence(command: str) -> None:
    with pytest.raises(CommandError, match="There are no memories of project 'x' of user 'nobody'") as no:
        call_command(command, "--user-id", "nobody", "--project-id", "x")
    assert no.value.returncode == 1


def test_recreate_fills_a_new_collection_and_removes_the_former(capsys: pytest.CaptureFixture[str]) -> None:
    tenant = new_tenant()
    rows = remember(tenant)
    drain()
    former = generations.of_tenant(tenant).active
    assert former is not None

    rebuild(capsys, tenant, "--recreate")
    assert found(tenant) == {row.id for row in rows}
    drain()

    active = generations.of_tenant(tenant).active
    assert active is not None
    assert active.collection != former.collection
    assert former.collection not in {collection.name for collection in get_client().list_collections()}
    assert not Generation.objects.filter(pk=former.pk).exists()
    assert found(tenant) == {row.id for row in rows}


def test_a_lost_data_folder_is_recovered(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with own_chroma(tmp_path, settings) as server:
        alice, bob = new_tenant(), new_tenant()
        expected = {tenant: {row.id for row in remember(tenant)} for tenant in (alice, bob)}
        drain()
        server.lose_its_data()

        answer = rebuild(capsys)

        assert answer["embedded"] == 0
        assert {tenant: found(tenant) for tenant in (alice, bob)} == expected


def test_a_loss_noticed_by_an_event_is_filled_by_the_cluster(settings: Settings, tmp_path: Path) -> None:
    with own_chroma(tmp_path, settings) as server:
        tenant = new_tenant()
        before = remember(tenant)
        drain()
        server.lose_its_data()

        after = remember(tenant, 1)
        drain(through_backoff=True)
        close_circuits()
        drain(through_backoff=True)

        assert found(tenant) == {row.id for row in [*before, *after]}


def close_circuits() -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE outbox_circuit SET opened_at = NULL, open_until = NULL, failures = 0")


def test_a_rebuild_that_was_stopped_goes_on_where_it_was(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = new_tenant()
    rows = remember(tenant, 10)
    drain()
    monkeypatch.setattr(fill, "BATCH_BYTES", 1)  # a batch a memory
    collection = collection_of(tenant)
    collection.delete(ids=collection.get()["ids"])
    [generation] = rebuilding.start(Scope(*tenant))
    with pytest.raises(KeyboardInterrupt):
        fill.fill([generation], remove_extra=True, progress=fill.FillProgress(advance=interrupt_at(4)))

    answer = rebuild(capsys, tenant)

    assert 0 < answer["memories"] <= 6
    assert collection_of(tenant).count() == 10
    assert found(tenant) == {row.id for row in rows}
    assert rebuild(capsys, tenant)["memories"] == 10  # that one was complete: this is another


def interrupt_at(batch: int) -> Any:
    batches = iter(range(1, 1_000))

    def advance(count: int) -> None:
        if next(batches) == batch:
            raise KeyboardInterrupt

    return advance


def test_what_changes_while_it_is_written_ends_as_postgres_has_it() -> None:
    tenant = new_tenant()
    changed, deleted, kept = remember(tenant)
    drain()
    [generation] = rebuilding.start(Scope(*tenant))

    with LateWriter(lambda: fill.fill([generation], remove_extra=True), lives=True) as filling:
        update_memory(changed.id, {"agent": "reviewer"})
        MemoryLog.objects.filter(id=deleted.id).delete()
        drain()
        filling.land()

    entry = held(changed)
    assert entry is not None
    assert (entry["agent"], entry["version"]) == ("reviewer", 2)
    assert held(deleted) is None
    assert held(kept) is not None


@pytest.mark.parametrize("recreate", [False, True])
def test_it_ends_although_writers_are_faster(recreate: bool) -> None:
    tenant = new_tenant()
    remember(tenant, 3)
    drain()

    progress = fill.FillProgress(advance=lambda count: write_two_more(tenant, progress))
    fill.fill(rebuilding.start(Scope(*tenant), recreate=recreate), batch_rows=1, progress=progress)
    drain()

    assert progress.memories == 3
    assert generations.of_tenant(tenant).write_target.position is None
    assert_equal_stores(tenant)


def write_two_more(tenant: Tenant, progress: fill.FillProgress) -> None:
    assert progress.memories < 10, "it goes on for ever"
    remember(tenant, 2)


def test_two_rebuilds_at_once_are_refused() -> None:
    tenant = new_tenant()
    remember(tenant, 1)
    with other_connection_holds_the_lock(), pytest.raises(CommandError, match="is running"):
        call_command("rebuild_index")


@contextmanager
def other_connection_holds_the_lock() -> Iterator[None]:
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", [rebuilding.LOCK])
        yield
    finally:
        other.close()


def test_a_rebuild_publishes_no_events_of_memories(capsys: pytest.CaptureFixture[str]) -> None:
    tenant = new_tenant()
    remember(tenant)
    drain()
    with captured_events() as events:
        rebuild(capsys, tenant)
    assert events == []


def half_rebuild(first: Tenant, second: Tenant) -> None:
    """The first is complete, then it was killed."""
    [complete], _ = (rebuilding.start(Scope(*tenant)) for tenant in (first, second))
    fill.fill([complete], remove_extra=True)


def test_what_chroma_lost_since_a_rebuild_was_stopped_is_filled_again_too(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with own_chroma(tmp_path, settings) as server:
        alice, bob = new_tenant(), new_tenant()
        expected = {tenant: {row.id for row in remember(tenant)} for tenant in (alice, bob)}
        drain()
        half_rebuild(alice, bob)
        server.lose_its_data()

        rebuild(capsys)

        assert collection_of(alice).count() == collection_of(bob).count() == 3
        assert {tenant: found(tenant) for tenant in (alice, bob)} == expected


def test_recreate_does_not_go_on_with_a_rebuild_in_place(capsys: pytest.CaptureFixture[str]) -> None:
    tenant = new_tenant()
    remember(tenant)
    drain()
    [former] = rebuilding.start(Scope(*tenant))

    rebuild(capsys, tenant, "--recreate")

    active = generations.of_tenant(tenant).active
    assert active is not None
    assert active.pk != former.pk


def test_recreate_goes_on_with_new_collections(capsys: pytest.CaptureFixture[str]) -> None:
    tenant = new_tenant()
    remember(tenant)
    drain()
    [begun] = rebuilding.start(Scope(*tenant), recreate=True)

    rebuild(capsys, tenant, "--recreate")

    assert generations.of_tenant(tenant).active == begun


def test_ends_of_small_collections_leave_room_for_the_writes_of_others() -> None:
    batch: Any = None
    done: Future[None] = Future()
    done.set_result(None)
    first, second, third = Future[None](), Future[None](), Future[None]()

    assert not fill._is_next_due(deque([(batch, first), (batch, None), (batch, second), (batch, None)]))  # noqa: SLF001
    assert fill._is_next_due(deque([(batch, first), (batch, second), (batch, None), (batch, third)]))  # noqa: SLF001
    assert fill._is_next_due(deque([(batch, None), (batch, first)]))  # noqa: SLF001
    assert fill._is_next_due(deque([(batch, done), (batch, first)]))  # noqa: SLF001
    assert not fill._is_next_due(deque())  # noqa: SLF001
