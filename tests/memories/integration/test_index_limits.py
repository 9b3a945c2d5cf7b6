"""What one memory or one query may ask of Chroma, and what happens beyond these limits. On real Postgres and Chroma."""

import json
from datetime import date
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from memories.filters import Filters
from memories.index import availability, generations, metadata, quotas
from memories.models import MemoryLog
from memories.records.services import NewMemory, create_memories
from memories.search.search import Answer, Mode, Query, answer
from memories.tenants import Tenant
from outbox.models import Event, Status
from outbox.queue import circuits
from outbox.testing import drain
from tests.support.indexed import collection_of, held
from tests.support.tenants import new_tenant

pytestmark = pytest.mark.django_db(transaction=True)

TAGS = [f"tag {number}" for number in range(6_000)]
LONG_TAG = "t" * 500
VALUES = {f"key {number:03}": number for number in range(200)}


def remember(tenant: Tenant, *raws: dict[str, Any], task: str = "Fix the login") -> list[MemoryLog]:
    return create_memories(
        NewMemory(**tenant._asdict(), task=task, agent="ann", date=date(2024, 5, 8), raw_data=raw)
        for raw in raws
    )


def ask(tenant: Tenant, filters: Filters, mode: Mode = Mode.VECTOR) -> Answer:
    return answer(Query(text="fix the login", tenant=tenant, mode=mode, filters=filters))


def ids(answered: Answer) -> list[int]:
    return [hit.memory_log_id for hit in answered.found]


def test_a_memory_with_thousands_of_tags_leaves_its_collection_writable() -> None:
    tenant = new_tenant()
    [many] = remember(tenant, {"tags": TAGS})
    drain()
    after, deleted = remember(tenant, {"tags": ["web"]}, {})
    drain()
    MemoryLog.objects.filter(id=deleted.id).delete()
    drain()

    assert not Event.objects.filter(status=Status.DEAD).exists()
    assert held(many) is not None
    assert set(ids(ask(tenant, Filters()))) == {many.id, after.id}


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize(
    "filters",
    [
        Filters(tags=("tag 0",)),
        Filters(tags=("tag 5999",)),
        Filters(tags=("tag 1", "tag 5998")),
        Filters(tags=(LONG_TAG,)),
        Filters(raw_data={"key 199": 199}),
        Filters(raw_data={"key 000": 0, "key 150": 150}),
        Filters(raw_data={"k" * 400: True}),
        Filters(tags=("tag 3000",), raw_data={"key 100": 100}, agent="ann"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_memory_beyond_the_limits_of_the_index_is_found_by_every_filter(
    mode: Mode, filters: Filters
) -> None:
    tenant = new_tenant()
    wanted, _, _ = remember(
        tenant,
        {"tags": [*TAGS, LONG_TAG], "k" * 400: True, **VALUES},
        {
            "tags": [*TAGS[6:900], "other"],
            "k" * 400: False,
            **VALUES,
            "key 000": 1,
            "key 100": 1,
            "key 199": 1,
        },
        {"tags": ["few"]},
    )
    drain()

    assert ids(ask(tenant, filters, mode)) == [wanted.id]


def test_as_many_documents_as_a_call_takes_may_all_reach_the_limits() -> None:
    tenant = new_tenant()
    raw = {"tags": TAGS[:100], **VALUES}
    remember(tenant, *([raw] * 300))

    call_command("rebuild_index", "--user-id", tenant.user_id, "--json")

    assert len(ids(ask(tenant, Filters(tags=("tag 1",))))) == 10


@pytest.fixture
def refused_value(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """A value that Chroma's client refuses, because the index's own limit is lifted."""
    monkeypatch.setattr(metadata, "MAX_INTEGER", 2**70)
    return {"n": 2**65}


def test_a_document_that_chroma_refuses_is_rejected_alone_with_its_reason(
    refused_value: dict[str, int],
) -> None:
    tenant = new_tenant()
    first, refused, last = remember(tenant, {}, refused_value, {})
    drain()

    [dead] = Event.objects.filter(status=Status.DEAD)
    assert (dead.type, dead.aggregateid) == ("embedding.generated", str(refused.id))
    assert f"Chroma refuses memory {refused.id}" in dead.last_error
    assert "64-bit" in dead.last_error
    assert [held(row) is not None for row in (first, refused, last)] == [True, False, True]


def test_rebuild_index_names_a_refused_document_and_goes_on(
    refused_value: dict[str, int], capsys: pytest.CaptureFixture[str]
) -> None:
    tenant = new_tenant()
    first, refused, last = remember(tenant, {}, refused_value, {})

    with pytest.raises(CommandError, match="1 memory was refused") as error:
        call_command("rebuild_index", "--user-id", tenant.user_id, "--json")

    out, err = capsys.readouterr()
    answered = json.loads(out)
    assert error.value.returncode == 1
    assert (answered["memories"], answered["refused"]) == (2, [refused.id])
    assert f"Chroma refuses memory {refused.id}" in err
    assert [held(row) is not None for row in (first, refused, last)] == [True, False, True]


def test_a_query_that_chroma_cannot_run_is_answered_by_postgres_and_is_no_outage(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tenant, neighbour = new_tenant(), new_tenant()
    [wanted] = remember(tenant, {"tags": TAGS[:1_500]})
    remember(neighbour, {})
    drain()
    monkeypatch.setattr(metadata, "MAX_CONDITIONS", 10_000)
    monkeypatch.setattr(quotas, "current", lambda: quotas.Quotas(predicates=10_000))

    failed = ask(tenant, Filters(tags=tuple(TAGS[:1_200])))

    assert (failed.backend, ids(failed)) == ("pgvector", [wanted.id])
    assert availability.is_available()
    assert ask(neighbour, Filters()).backend == "chroma"


def test_chroma_narrows_by_a_bounded_number_of_conditions() -> None:
    tenant = new_tenant()
    [wanted] = remember(tenant, {"tags": TAGS[:1_500]})
    remember(tenant, {"tags": TAGS[:1_100]})
    drain()

    found = ask(tenant, Filters(tags=tuple(TAGS[:1_200])))

    assert (found.backend, ids(found)) == ("chroma", [wanted.id])


def test_a_collection_that_a_write_blocks_is_replaced() -> None:
    """Chroma cannot apply a document with 6,000 values, and then refuses every later write to the collection."""
    tenant, neighbour = new_tenant(), new_tenant()
    [first] = remember(tenant, {})
    drain()
    blocked = generations.of_tenant(tenant).active
    with pytest.raises(Exception, match="Failed to apply logs"):
        collection_of(tenant).upsert(ids=["x"], embeddings=[[1.0] * 768], metadatas=[{"tags": TAGS}])

    [second] = remember(tenant, {})
    [other] = remember(neighbour, {})
    drain()

    assert not Event.objects.filter(status=Status.DEAD).exists()
    assert not circuits.is_open("chroma")
    assert generations.of_tenant(tenant).active != blocked
    assert [held(row) is not None for row in (first, second, other)] == [True, True, True]
