"""A Chroma that asks for a key and has the quotas of a host: everything works, and no call is above a quota."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date
from io import StringIO
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import connections

from memories.filters import Filters
from memories.index import client, collections, generations, ids, metadata, quotas
from memories.index.client import get_client
from memories.records.services import NewMemory, create_memories, delete_memories, update_memory
from memories.search.search import Mode, Query, answer
from memories.tenants import Tenant
from outbox import Unavailable
from outbox.testing import drain
from tests.support.hosted_chroma import DATABASE, KEY, TENANT, Gate, hosted_chroma

pytestmark = pytest.mark.django_db(transaction=True)

# Documents that one call may have here, for the sake of time. The published quota is 300.
ROWS = 20


@contextmanager
def clients_closed() -> Iterator[None]:
    """Close the connections of the clients that are made inside."""
    before = set(client._clients)  # noqa: SLF001
    try:
        yield
    finally:
        for address in client._clients.keys() - before:  # noqa: SLF001
            made: Any = client._clients.pop(address)  # noqa: SLF001
            made._server._session.close()  # noqa: SLF001
            made._admin_client._server._session.close()  # noqa: SLF001


@pytest.fixture
def gate(settings: Any) -> Iterator[Gate]:
    with hosted_chroma(settings.CHROMA_URL, rows=ROWS) as gate, clients_closed():
        settings.CHROMA_URL = gate.url
        settings.CHROMA_API_KEY = KEY
        settings.CHROMA_TENANT, settings.CHROMA_DATABASE = TENANT, DATABASE
        settings.CHROMA_QUOTAS = json.dumps(
            {"records": ROWS, "results": ROWS}
        )  # the others are those of `cloud`
        yield gate


def large(tenant: Tenant, number: int, **values: Any) -> NewMemory:
    """A memory. Number 0 is above each quota of a document."""
    shorter = 40 if number else 1
    many = {f"value {n}": n for n in range(60 // shorter)}
    tags = [f"{n} {'ü' * 100}" for n in range(60 // shorter)]
    return NewMemory(
        user_id=tenant.user_id,
        project_id=tenant.project_id,
        task=f"Mend valve {number} " + "of the long pipe " * (300 // shorter),
        agent="ada",
        raw_data={
            "key " * (20 // shorter): "x",
            "text": "écrit " * (3_000 // shorter),
            "tags": tags,
            "number": number,
            **many,
            **values,
        },
    )


def found(query: Query) -> list[int]:
    answered = answer(query)
    assert answered.backend == "chroma"
    return [hit.memory_log_id for hit in answered.found]


def test_more_memories_than_a_call_takes_are_written_searched_verified_and_deleted(gate: Gate) -> None:
    tenant = Tenant("u" * 150, "p" * 150)  # a document id of both would be too long
    rows = create_memories(large(tenant, number) for number in range(ROWS + 5))
    drain()

    filters = Filters(raw_data={"number": 7}, agent="ada", date_from=date(2020, 1, 1))
    query = Query(text=rows[7].task, tenant=tenant, limit=5, mode=Mode.VECTOR, filters=filters)
    assert found(query) == [rows[7].id]
    assert verify(tenant) == {"indexed": ROWS + 5, "differences": 0}

    update_memory(rows[0].id, {"raw_data": {f"other {n}": n for n in range(60)}})
    delete_memories([row.id for row in rows[8:]])
    drain()
    assert verify(tenant) == {"indexed": 8, "differences": 0}
    assert gate.refused == []


def verify(tenant: Tenant) -> dict[str, int]:
    output = StringIO()
    call_command("verify_index", "--user-id", tenant.user_id, "--vectors", "--json", stdout=output)
    report = json.loads(output.getvalue())
    return {"indexed": report["indexed"], "differences": report["memories"] - report["indexed"]}


def test_a_rebuild_and_the_removal_of_a_collection_keep_to_the_quotas(gate: Gate) -> None:
    tenant = Tenant("hosted", "rebuilt")
    create_memories(large(tenant, number) for number in range(ROWS + 5))
    drain()
    active = generations.of_tenant(tenant).active
    assert active is not None

    call_command("rebuild_index", "--user-id", tenant.user_id, "--recreate", stdout=StringIO())
    drain()

    assert active.collection not in collections.collection_names()
    assert verify(tenant)["differences"] == 0
    assert gate.refused == []


def test_a_collection_gets_no_more_calls_at_once_than_the_host_allows(gate: Gate, settings: Any) -> None:
    settings.CHROMA_SEARCH_TIMEOUT_SECONDS = 30  # each call waits for those before it
    tenant = Tenant("hosted", "busy")
    rows = create_memories(large(tenant, number) for number in range(5))
    drain()

    def search(_: int) -> list[int]:
        try:
            return found(Query(text=rows[0].task, tenant=tenant, limit=1, mode=Mode.VECTOR))
        finally:
            connections.close_all()

    with ThreadPoolExecutor(30) as threads:
        assert list(threads.map(search, range(60))) == [[rows[0].id]] * 60

    assert 1 <= gate.most_at_once <= 10


def test_another_machine_may_have_all_the_places_for_a_moment(gate: Gate, settings: Any) -> None:
    # As if each process had all places: the host refuses the call, and it is tried again.
    settings.CHROMA_QUOTAS = json.dumps({"records": ROWS, "results": ROWS, "concurrent": 1_000})
    tenant = Tenant("hosted", "crowded")
    rows = create_memories(large(tenant, number) for number in range(5))
    drain()

    def search(_: int) -> list[int]:
        try:
            return [
                hit.memory_log_id
                for hit in answer(Query(text=rows[0].task, tenant=tenant, limit=1, mode=Mode.VECTOR)).found
            ]
        finally:
            connections.close_all()

    with ThreadPoolExecutor(30) as threads:
        assert list(threads.map(search, range(60))) == [[rows[0].id]] * 60


def test_a_call_that_meets_the_deletion_of_its_collection_is_tried_again(gate: Gate) -> None:
    """Chroma says that a segment is missing, instead of the whole collection."""
    tenant = Tenant("hosted", "deleted")
    create_memories([large(tenant, 0)])
    drain()
    name = ids.collection_name(tenant)
    gate.meeting_a_deletion = {"count", "get", "query", "delete"}

    assert collections.count(name) == 1
    answered = answer(Query(text="memory", tenant=tenant, limit=5, mode=Mode.VECTOR))
    assert (len(answered.found), answered.backend) == (1, "chroma")
    assert collections.drop(name)
    assert collections.count(name) == 0
    assert gate.meeting_a_deletion == set()


def test_a_wrong_key_is_named(gate: Gate, settings: Any) -> None:
    settings.CHROMA_API_KEY = "wrong"

    with pytest.raises(Unavailable, match="refuses CHROMA_API_KEY"):
        get_client()


def test_collections_are_in_the_tenant_and_database_of_the_settings(gate: Gate, settings: Any) -> None:
    tenant = Tenant("hosted", "placed")
    create_memories([large(tenant, 0)])
    drain()
    name = ids.collection_name(tenant)

    assert name in collections.collection_names()
    settings.CHROMA_DATABASE = "default_database"
    settings.CHROMA_TENANT = "default_tenant"
    assert name not in collections.collection_names()


def test_what_does_not_fit_passes_every_condition(gate: Gate) -> None:
    tenant = Tenant("hosted", "cut")
    [row] = create_memories([large(tenant, 0, zebra="last of the keys")])
    drain()
    held = metadata.metadata_of(row)

    assert held[metadata.IS_CUT] is True
    assert "raw_data.zebra" not in held
    filters = Filters(raw_data={"zebra": "last of the keys"})
    assert found(Query(text=row.task, tenant=tenant, mode=Mode.VECTOR, filters=filters)) == [row.id]


@pytest.mark.parametrize(
    "given", ["clowd", "[1]", '{"records": 0}', '{"records": "many"}', '{"rows": 5}', '{"keys": 5}']
)
def test_wrong_quotas_are_refused_by_a_check(settings: Any, given: str) -> None:
    settings.CHROMA_QUOTAS = given

    with pytest.raises(ImproperlyConfigured, match="CHROMA_QUOTAS"):
        quotas.current()
    assert "memories.E006" in {message.id for message in run_checks()}


def test_a_document_of_many_bytes_is_cut_between_characters() -> None:
    assert quotas.cut_to_bytes("日本語", 7) == "日本"
    assert quotas.cut_to_bytes("abc", 3) == "abc"
