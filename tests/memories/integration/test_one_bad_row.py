"""One bad row, or one tenant's bad collection, does not stop the work on the others. On real Postgres and Chroma."""

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.utils import timezone
from pytest_django.fixtures import Settings

from memories.filters import EVERYTHING
from memories.index import generations
from memories.index.client import get_client
from memories.index.collections import drop
from memories.indexing import repair
from memories.indexing.verify import verify_next
from memories.models import Generation, MemoryLog
from memories.records import bulk_deletion, expiry
from memories.records.services import NewMemory, create_memories
from memories.schedules import migrate_models, verify_index
from memories.tenants import Tenant
from outbox.models import Event
from outbox.testing import drain
from tests.support.indexed import collection_of, held
from tests.support.tenants import new_tenant

pytestmark = pytest.mark.django_db(transaction=True)

Refuse = Callable[[str, str, str], None]


class Poisoned:
    """A backend of somebody's own: a text with "poison" has no direction."""

    model = "poisoned"

    def __init__(self, model: str, dimensions: int) -> None:
        self.dimensions = dimensions

    def embed_documents(self, texts: Sequence[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return [0.0 if "poison" in text else 1.0] * self.dimensions


def remember(tenant: Tenant, *tasks: str) -> list[MemoryLog]:
    return create_memories(NewMemory(**tenant._asdict(), task=task, agent="ann") for task in tasks)


def damage(tenant: Tenant) -> Generation:
    """Make every query of the tenant's collection fail, as after a mistake by hand: it has vectors of other lengths."""
    generation = generations.of_tenant(tenant).active
    assert generation is not None
    Generation.objects.filter(pk=generation.pk).update(dimensions=5)
    generation.refresh_from_db()
    return generation


@pytest.fixture
def two_tenants() -> tuple[Tenant, Tenant]:
    """Each with an indexed memory; the first one's collection comes first."""
    tenants = new_tenant(), new_tenant()
    for tenant in tenants:
        remember(tenant, "fix the login")
        drain()
    return tenants


@pytest.mark.parametrize("command", ["rebuild_index", "backfill_embeddings"])
def test_a_memory_that_cannot_be_embedded_is_named_and_the_others_are(
    settings: Settings, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    tenant = new_tenant()
    good, bad, after = remember(tenant, "one", "poison", "two")
    settings.EMBEDDING_BACKEND = f"{__name__}.{Poisoned.__name__}"
    settings.EMBEDDING_CACHE_ENABLED = False

    with pytest.raises(CommandError) as error:
        call_command(command, "--user-id", tenant.user_id, "--json")

    assert "1 memory was refused" in str(error.value)
    assert f"Memory {bad.id} cannot be embedded" in capsys.readouterr().err
    rows = MemoryLog.objects.in_bulk([good.id, bad.id, after.id])
    assert [rows[row.id].embedding is not None for row in (good, bad, after)] == [True, False, True]


def test_a_collection_that_cannot_be_verified_is_named_and_the_others_are_verified(
    two_tenants: tuple[Tenant, Tenant], capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = two_tenants
    damaged = damage(first)
    collection_of(second).delete(ids=collection_of(second).get()["ids"])

    report = verify_next()

    assert (report["missing"], report["failed"]) == (1, [damaged.collection])
    assert (verify_index() or {})["failed"] == [damaged.collection]
    with pytest.raises(CommandError, match="1 collection could not be compared"):
        call_command("verify_index")
    assert damaged.collection in capsys.readouterr().out


def test_a_collection_that_cannot_be_checked_leaves_the_others_to_be_checked(
    two_tenants: tuple[Tenant, Tenant],
) -> None:
    first, second = two_tenants
    damage(first)
    drop(collection_of(second).name)

    assert repair.refill_all_lost().lost == 1
    drain()

    [row] = MemoryLog.objects.filter(**second._asdict())
    assert held(row) is not None


def test_a_collection_that_cannot_be_filled_does_not_stop_the_rebuild_of_the_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    first, second = new_tenant(), new_tenant()
    for tenant in (first, second):
        remember(tenant, "fix the login")
    generation = generations.get_or_create([first])[first].write_target
    get_client().create_collection(generation.collection, metadata={"user_id": "of another database"})

    with pytest.raises(CommandError, match="Another database may use this Chroma server"):
        call_command("rebuild_index")

    [row] = MemoryLog.objects.filter(**second._asdict())
    assert held(row) is not None
    drop(generation.collection)


@pytest.fixture
def refuse() -> Iterator[Refuse]:
    """A trigger of whoever owns the database refuses one kind of change, until the test ends."""

    def create(action: str, table: str, condition: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN RAISE EXCEPTION 'it stays as it is'; END $$"
            )
            cursor.execute(
                f"CREATE TRIGGER refused BEFORE {action} ON {table} FOR EACH ROW WHEN ({condition}) "
                "EXECUTE FUNCTION refuse()"
            )

    yield create
    with connection.cursor() as cursor:
        cursor.execute("DROP FUNCTION IF EXISTS refuse CASCADE")


def test_a_stopped_rebuild_goes_on_though_a_complete_collection_cannot_be_checked(
    two_tenants: tuple[Tenant, Tenant],
) -> None:
    first, second = two_tenants
    damaged = damage(first)
    third = new_tenant()
    remember(third, "fix the login")
    waiting = generations.get_or_create([third])[third].write_target
    Generation.objects.filter(pk=waiting.pk).update(position=0, rebuild=True)
    drop(collection_of(second).name)

    with pytest.raises(CommandError, match=damaged.collection):
        call_command("rebuild_index")

    for tenant in (second, third):
        [row] = MemoryLog.objects.filter(**tenant._asdict())
        assert held(row) is not None


def test_a_memory_that_cannot_be_written_does_not_stop_the_rebuild_of_other_tenants(
    two_tenants: tuple[Tenant, Tenant], refuse: Refuse
) -> None:
    first, second = two_tenants
    with connection.cursor() as cursor:
        cursor.execute("UPDATE memory_logs SET embedding = NULL, indexed_version = NULL")
    collection_of(second).delete(ids=collection_of(second).get()["ids"])
    refuse("UPDATE", "memory_logs", f"NEW.user_id = '{first.user_id}'")

    with pytest.raises(CommandError, match="it stays as it is"):
        call_command("rebuild_index", "--restart")

    [row] = MemoryLog.objects.filter(**second._asdict())
    assert held(row) is not None
    assert row.embedding is not None


def test_a_memory_that_cannot_be_written_does_not_stop_the_embedding_of_other_tenants(
    two_tenants: tuple[Tenant, Tenant], refuse: Refuse
) -> None:
    first, second = two_tenants
    MemoryLog.objects.update(embedding=None)
    refuse("UPDATE", "memory_logs", f"NEW.user_id = '{first.user_id}'")

    with pytest.raises(CommandError, match="it stays as it is"):
        call_command("backfill_embeddings")

    assert MemoryLog.objects.get(**second._asdict()).embedding is not None


def test_a_tenant_that_cannot_migrate_does_not_stop_the_migration_of_the_others(
    two_tenants: tuple[Tenant, Tenant], refuse: Refuse, settings: Settings
) -> None:
    first, _ = two_tenants
    settings.EMBEDDING_DIMENSIONS = 64
    refuse("INSERT", "memory_index_generations", f"NEW.user_id = '{first.user_id}'")

    assert migrate_models() == 1
    drain()

    active = [generations.of_tenant(tenant).active for tenant in two_tenants]
    assert [generation and generation.dimensions == 64 for generation in active] == [False, True]


def test_an_expired_memory_that_cannot_be_deleted_does_not_keep_the_others(
    refuse: Refuse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry, "BATCH", 2)
    rows = remember(new_tenant(), "one", "stays", "two", "three")
    MemoryLog.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    refuse("DELETE", "memory_logs", "OLD.task = 'stays'")

    assert expiry.purge() == 3

    assert set(MemoryLog.objects.values_list("id", flat=True)) == {rows[1].id}


def test_a_bulk_deletion_deletes_the_others_and_then_fails_with_the_reason(refuse: Refuse) -> None:
    tenant = new_tenant()
    rows = remember(tenant, "one", "stays", "two")
    refuse("DELETE", "memory_logs", "OLD.task = 'stays'")
    bulk_deletion.request(tenant._asdict(), EVERYTHING, confirm=3)

    drain(through_backoff=True)

    assert set(MemoryLog.objects.values_list("id", flat=True)) == {rows[1].id}
    event = Event.objects.get(type=bulk_deletion.REQUESTED, status="dead")
    assert "it stays as it is" in event.last_error


def test_an_outage_of_postgres_is_no_fault_of_a_collection(two_tenants: tuple[Tenant, Tenant]) -> None:
    """A check that goes on after a lost connection would report every collection as failed."""

    def lose(execute: Any, sql: str, *arguments: Any) -> Any:
        if "memory_logs" in sql:
            raise OperationalError("the connection is lost")
        return execute(sql, *arguments)

    with connection.execute_wrapper(lose), pytest.raises(OperationalError):
        verify_next()
