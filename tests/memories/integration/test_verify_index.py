"""`manage.py verify_index` on real stores: each kind of difference is told from the others, and mended."""

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django_q.models import Schedule
from pytest_django.fixtures import Settings

from memories.index import collections, generations, orphans
from memories.index.client import get_client
from memories.index.collections import collection_names, drop
from memories.index.ids import document_id
from memories.indexing import reachable, rebuild, repair
from memories.indexing.verify import verify_next
from memories.models import MemoryLog
from memories.records.services import NewMemory, create_memories, delete_memory, update_memory
from memories.schedules import INTERVALS
from memories.tenants import Tenant
from outbox.operations.schedules import ensure_schedules
from outbox.testing import drain
from tests.support.chroma_server import own_chroma
from tests.support.clusters import url_of_the_tests_database
from tests.support.indexed import collection_of
from tests.support.tenants import new_tenant

pytestmark = pytest.mark.django_db(transaction=True)

EQUAL = {"pending": 0, "missing": 0, "stale": 0, "orphaned": 0}


def remember(tenant: Tenant, count: int = 3) -> list[MemoryLog]:
    return create_memories(
        NewMemory(**tenant._asdict(), task=f"Fix bug number {number}", agent="coder")
        for number in range(count)
    )


class Verify:
    """Runs the command for one tenant."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys
        self.exit_code = 0

    def __call__(self, tenant: Tenant, *options: str) -> dict[str, Any]:
        self.exit_code = 0
        scope = ["--user-id", tenant.user_id, "--project-id", tenant.project_id]
        try:
            call_command("verify_index", "--json", *scope, *options)
        except CommandError as error:
            self.exit_code = error.returncode
        answer: dict[str, Any] = json.loads(self.capsys.readouterr().out)
        return answer


@pytest.fixture
def verify(capsys: pytest.CaptureFixture[str]) -> Verify:
    return Verify(capsys)


def counts(answer: dict[str, Any]) -> dict[str, int]:
    return {name: answer[name] for name in ("memories", "indexed", *EQUAL)}


def test_equal_stores_are_equal(verify: Verify) -> None:
    tenant = new_tenant()
    remember(tenant)
    drain()

    assert counts(verify(tenant)) == {"memories": 3, "indexed": 3, **EQUAL}
    assert verify.exit_code == 0


def test_what_is_on_its_way_is_no_fault_but_not_equal_either(verify: Verify) -> None:
    tenant = new_tenant()
    rows = remember(tenant)
    drain()
    update_memory(rows[0].id, {"agent": "reviewer"})
    delete_memory(rows[1].id)
    remember(tenant, 1)

    assert counts(verify(tenant)) == {"memories": 3, "indexed": 1, **EQUAL, "pending": 3}
    assert verify.exit_code == 1

    drain()
    assert counts(verify(tenant)) == {"memories": 3, "indexed": 3, **EQUAL}


def test_missing_stale_and_orphaned_are_told_apart_and_mended(verify: Verify) -> None:
    tenant = new_tenant()
    missing, stale, wrong, deleted, unembedded = remember(tenant, 5)
    drain()
    collection = collection_of(tenant)
    MemoryLog.objects.filter(id=unembedded.id).update(embedding=None)
    collection.delete(ids=[document_id(row.id, tenant) for row in (missing, unembedded)])
    MemoryLog.objects.filter(id=stale.id).update(version=7)
    collection.update(ids=[document_id(wrong.id, tenant)], metadatas=[{"agent": "mallory"}])
    MemoryLog.objects.filter(id=deleted.id).delete()  # by SQL, so to say: no event tells of it

    answer = verify(tenant, "--repair")
    assert counts(answer) == {
        "memories": 4,
        "indexed": 0,
        "pending": 0,
        "missing": 2,
        "stale": 2,
        "orphaned": 1,
    }
    assert answer["wrong_metadata"] == 1
    assert answer["repairs"] == 5
    assert verify.exit_code == 1

    drain()
    assert counts(verify(tenant)) == {"memories": 4, "indexed": 4, **EQUAL}
    assert verify.exit_code == 0


def test_vectors_that_went_back_while_all_else_stayed_are_noticed_and_mended(
    verify: Verify, settings: Settings, tmp_path: Path
) -> None:
    with own_chroma(tmp_path, settings) as server:
        tenant = new_tenant()
        before = remember(tenant)
        drain()
        server.stop()
        [segment] = filter(Path.is_dir, server.folder.iterdir())
        shutil.copytree(segment, tmp_path / "backup")
        server.start()
        after = remember(tenant, 2)
        drain()
        server.stop()
        shutil.rmtree(segment)
        shutil.copytree(tmp_path / "backup", segment)
        server.start()

        assert counts(verify(tenant)) == {"memories": 5, "indexed": 5, **EQUAL}
        answer = verify(tenant, "--vectors", "--repair")
        assert (answer["stale"], answer["wrong_vector"], answer["repairs"]) == (2, 2, 2)
        drain()

        assert counts(verify(tenant, "--vectors")) == {"memories": 5, "indexed": 5, **EQUAL}
        held = collection_of(tenant).get(include=["embeddings"])
        assert set(held["ids"]) == {document_id(row.id, tenant) for row in [*before, *after]}


def test_memories_that_the_index_does_not_find_by_their_own_vector_are_counted(
    verify: Verify, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reachable, "STEP", 1)
    # With so few links, vectors that have little to do with each other get lost.
    monkeypatch.setitem(collections.HNSW, "max_neighbors", 2)
    monkeypatch.setitem(collections.HNSW, "ef_construction", 2)
    monkeypatch.setitem(collections.HNSW, "ef_search", 10)
    tenant, letters = new_tenant(), random.Random(1)
    create_memories(
        NewMemory(**tenant._asdict(), agent="coder", task="".join(letters.choices("abcdefghijk ", k=30)))
        for _ in range(200)
    )
    drain()

    answer = verify(tenant, "--vectors")

    assert answer["asked"] == 200
    assert 0 < answer["not_found"] < 200
    assert verify.exit_code == 0


def test_memories_are_found_by_their_own_vectors_and_equal_ones_too(
    verify: Verify, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reachable, "STEP", 1)
    tenant = new_tenant()
    remember(tenant, 12)
    create_memories(NewMemory(**tenant._asdict(), task="Equal", agent="coder") for _ in range(12))
    drain()

    answer = verify(tenant, "--vectors")

    assert (answer["asked"], answer["not_found"]) == (24, 0)


def test_a_vector_of_something_else_is_noticed_and_mended_by_the_sample() -> None:
    tenant = new_tenant()
    rows = remember(tenant)
    drain()
    collection = collection_of(tenant)
    collection.update(ids=[document_id(rows[0].id, tenant)], embeddings=[[0.5] * 768])

    assert verify_next(100)["wrong_vector"] == 1
    drain()

    assert verify_next(100)["wrong_vector"] == 0


def test_a_document_of_another_tenant_is_orphaned_and_removed(verify: Verify) -> None:
    alice, bob = new_tenant(), new_tenant()
    remember(alice, 1)
    [row] = remember(bob, 1)
    drain()
    collection_of(alice).add(
        ids=[document_id(row.id, bob)],
        embeddings=[[0.5] * 768],
        metadatas=[{**bob._asdict(), "memory_log_id": row.id}],
    )

    answer = verify(alice, "--repair")
    assert (answer["orphaned"], answer["wrong_tenant"]) == (1, 1)

    drain()
    assert collection_of(alice).count() == 1
    assert collection_of(bob).count() == 1


def test_a_memory_that_no_event_ever_told_of_is_missing(verify: Verify) -> None:
    tenant = new_tenant()
    MemoryLog.objects.create(**tenant._asdict(), task="By SQL", agent="psql", content_hash="none")

    assert counts(verify(tenant)) == {"memories": 1, "indexed": 0, **EQUAL, "missing": 1}


def test_a_lost_collection_is_all_missing_and_filled_anew_by_repair(verify: Verify) -> None:
    tenant = new_tenant()
    remember(tenant)
    drain()
    active = generations.of_tenant(tenant).active
    assert active is not None
    drop(active.collection)

    assert verify(tenant)["missing"] == 3
    verify(tenant, "--repair")
    drain()

    assert counts(verify(tenant)) == {"memories": 3, "indexed": 3, **EQUAL}


@pytest.fixture
def unknown(tmp_path: Path, settings: Settings) -> Iterator[str]:
    """A collection as another installation's would be: named like ours, and not in our database.

    It is the only one of a server of its own. Other tests leave hundreds.
    """
    with own_chroma(tmp_path, settings):
        name = generations.collection_name(new_tenant())
        get_client().create_collection(name, embedding_function=None)
        yield name


def test_an_index_that_came_back_empty_is_filled_for_every_tenant(verify: Verify) -> None:
    tenants = [new_tenant(), new_tenant()]
    for tenant in tenants:
        remember(tenant)
    drain()
    for tenant in tenants:
        drop(collection_of(tenant).name)

    repair.request_check()
    drain()

    for tenant in tenants:
        assert counts(verify(tenant)) == EQUAL | {"memories": 3, "indexed": 3}


def test_a_collection_nobody_knows_of_is_named_and_stays_for_it_may_be_another_installations(
    unknown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(CommandError, match="--remove-unknown") as error:
        call_command("verify_index", "--repair", "--json")
    drain()

    assert error.value.returncode == 1
    assert json.loads(capsys.readouterr().out)["unknown_collections"] == [unknown]
    assert collection_names() == [unknown]


def test_a_collection_nobody_knows_of_is_removed_where_a_person_says_so(unknown: str) -> None:
    with pytest.raises(CommandError, match="1 repair event published") as error:
        call_command("verify_index", "--remove-unknown")
    assert error.value.returncode == 1
    drain()

    assert collection_names() == []
    call_command("verify_index")


def test_a_sample_goes_round_piece_by_piece() -> None:
    tenants = [new_tenant(), new_tenant()]
    for tenant in tenants:
        remember(tenant, 3)
    drain()

    sizes = [verify_next(4)["memories"] for _ in range(4)]

    assert sizes[:2] == [4, 2]
    assert sizes[2:] == [4, 2]


def test_a_sample_that_runs_out_of_time_continues_where_it_was() -> None:
    tenants = [new_tenant() for _ in range(3)]
    for tenant in tenants:
        remember(tenant, 2)
    drain()

    assert [verify_next(seconds=0)["memories"] for _ in range(3)] == [2, 2, 2]


def test_a_sample_that_runs_out_of_time_among_the_documents_continues_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A collection may hold so many documents that one run never comes to their end."""
    monkeypatch.setattr(orphans, "PAGE", 2)
    first, second = new_tenant(), new_tenant()
    for tenant, count in ((first, 5), (second, 1)):
        remember(tenant, count)
        drain()
    memories = MemoryLog.objects.filter(**first._asdict())
    orphaned = list(memories.order_by("id").values_list("id", flat=True)[3:])
    memories.filter(id__in=orphaned)._raw_delete("default")  # noqa: SLF001

    reports = [verify_next(seconds=0)]
    while reports[-1]["memories"] != 1:  # that of the second tenant
        drain()
        reports.append(verify_next(seconds=0))

    assert [report["memories"] for report in reports] == [3, *([0] * (len(reports) - 2)), 1]
    assert len(reports) > 2
    assert sum(report["orphaned"] for report in reports) == 2
    assert collection_of(first).count() == 3


def test_a_check_of_all_collections_continues_where_it_stopped() -> None:
    tenants = [new_tenant() for _ in range(3)]
    for tenant in tenants:
        remember(tenant, 1)
    drain()
    lost = generations.of_tenant(tenants[2]).active
    assert lost is not None
    drop(lost.collection)

    checked, rounds = repair.refill_all_lost(seconds=0), 1
    while checked.position is not None:
        checked, rounds = repair.refill_all_lost(after=checked.position, seconds=0), rounds + 1

    assert rounds >= 3
    drain()
    assert collection_of(tenants[2]).count() == 1


def test_whether_a_rebuild_runs_is_asked_without_taking_its_lock() -> None:
    assert not rebuild.is_running()
    with psycopg.connect(url_of_the_tests_database(), autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [rebuild.LOCK])
        assert rebuild.is_running()
        other.execute("SELECT pg_advisory_unlock(%s)", [rebuild.LOCK])
        assert not rebuild.is_running()


def test_the_sample_has_mended_what_it_finds() -> None:
    tenant = new_tenant()
    remember(tenant)
    drain()
    collection = collection_of(tenant)
    collection.delete(ids=collection.get(limit=1)["ids"])

    assert verify_next(100)["missing"] == 1
    drain()

    assert collection.count() == 3


def test_the_schedules_are_made_once_and_a_persons_changes_stay() -> None:
    ensure_schedules()
    Schedule.objects.filter(name="verify_index").update(minutes=99)
    ensure_schedules()

    schedules = Schedule.objects.filter(func__in=INTERVALS)
    assert schedules.count() == len(INTERVALS)
    assert schedules.get(name="verify_index").minutes == 99


@pytest.mark.parametrize(
    "options",
    [
        ["--project-id", "x"],
        ["--sample", "5", "--user-id", "x"],
        ["--sample", "0"],
        ["--remove-unknown", "--user-id", "x"],
        ["--remove-unknown", "--sample", "5"],
    ],
)
def test_wrong_use_is_said(options: list[str]) -> None:
    with pytest.raises(CommandError) as error:
        call_command("verify_index", *options)
    assert error.value.returncode == 2
