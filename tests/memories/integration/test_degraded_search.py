"""Search while Chroma is away: from PostgreSQL, with the same answers and scores, and back by itself."""

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from django.test import Client

from memories.filters import Filters
from memories.index import availability, client, generations
from memories.records.services import NewMemory, create_memory
from memories.search.search import Answer, Mode, Query, answer
from memories.tenants import Tenant
from outbox import Unavailable
from outbox.models import Event
from outbox.publishing import background
from outbox.queue import circuits
from outbox.testing import drain
from tests.support.chroma_server import ChromaServer, own_chroma
from tests.support.tenants import new_tenant

pytestmark = pytest.mark.django_db(transaction=True)

TASKS = [
    "Fix the login redirect",
    "Rotate the mail certificate",
    "Bake sourdough bread",
    "Fix the logout page",
]
FILTERS = [
    Filters(),
    Filters(agent="ada"),
    Filters(tags=("web",)),
    Filters(date_from=date(2026, 1, 3)),
    Filters(date_to=date(2026, 1, 2), tags=("web",)),
    Filters(raw_data={"severity": 2}),
    Filters(raw_data={"severity": 2, "open": True}),
    Filters(task="Bake sourdough bread"),
]


@pytest.fixture
def tenant() -> Tenant:
    tenant = new_tenant()
    for number, task in enumerate(TASKS):
        remember(tenant, task, number)
    drain()
    return tenant


def remember(tenant: Tenant, task: str, number: int = 0) -> int:
    raw_data = {"tags": ["web"] if "log" in task else [], "severity": number, "open": number % 2 == 0}
    return create_memory(
        NewMemory(
            user_id=tenant.user_id,
            project_id=tenant.project_id,
            task=task,
            agent=("ada", "bob")[number % 2],
            date=date(2026, 1, number + 1),
            raw_data=raw_data,
        )
    ).id


def by_meaning(tenant: Tenant, text: str = "fix login page", mode: Mode = Mode.VECTOR, **more: Any) -> Answer:
    return answer(Query(text=text, tenant=tenant, mode=mode, **more))


@pytest.fixture
def no_chroma(settings: Any) -> Iterator[None]:
    """Nobody listens where Chroma should be."""
    settings.CHROMA_URL = "http://127.0.0.1:9"
    client._clients.clear()  # noqa: SLF001
    yield
    client._clients.clear()  # noqa: SLF001


@pytest.mark.parametrize("filters", FILTERS, ids=str)
def test_both_backends_give_the_same_answers_and_scores(
    tenant: Tenant, filters: Filters, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = by_meaning(tenant, filters=filters)
    circuits.open_circuit(Unavailable("chroma", "refused"))
    availability.reset()
    store = by_meaning(tenant, filters=filters)

    assert (index.backend, store.backend) == ("chroma", "pgvector")
    assert [one.memory_log_id for one in index.found] == [one.memory_log_id for one in store.found]
    for one, other in zip(index.found, store.found, strict=True):
        assert one.similarity == pytest.approx(other.similarity, abs=1e-5)
        assert (one.id, one.document, one.metadata) == (other.id, other.document, other.metadata)


@pytest.mark.usefixtures("no_chroma")
@pytest.mark.parametrize("mode", [Mode.VECTOR, Mode.HYBRID])
def test_an_unreachable_chroma_is_not_asked_again_and_again(
    tenant: Tenant, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(availability, "PAUSE_SECONDS", 1000.0)
    assert by_meaning(tenant, mode=mode).backend == "pgvector"
    assert availability.is_available() is False


def test_a_frozen_chroma_costs_a_search_its_own_short_time(tmp_path: Path, settings: Any) -> None:
    settings.CHROMA_TIMEOUT_SECONDS, settings.CHROMA_SEARCH_TIMEOUT_SECONDS = 120.0, 0.5
    with own_chroma(tmp_path, settings) as server:
        tenant = new_tenant()
        remember(tenant, TASKS[0])
        drain()
        with server.mute():
            started = monotonic()
            answered = answer(Query(tenant=tenant, text="login redirect", mode=Mode.VECTOR))

    assert answered.backend == "pgvector"
    assert len(answered.found) == 1
    assert monotonic() - started < 60


def test_what_is_embedded_and_not_indexed_yet_is_found(tenant: Tenant) -> None:
    circuits.open_circuit(Unavailable("chroma", "refused"))
    availability.reset()
    memory_id = remember(tenant, "Fix the signup form")
    drain()

    found = by_meaning(tenant, "signup form").found

    assert found[0].memory_log_id == memory_id


def test_it_goes_back_to_chroma_by_itself(tenant: Tenant) -> None:
    circuits.open_circuit(Unavailable("chroma", "refused"))
    availability.reset()
    assert by_meaning(tenant).backend == "pgvector"

    circuits.close_circuit("chroma")
    availability.reset()

    assert by_meaning(tenant).backend == "chroma"


def test_the_answer_says_where_it_was_looked(client: Client, tenant: Tenant, settings: Any) -> None:
    settings.SEMANTIX_AUTH = "open"
    asked = {"query": "login", "user_id": tenant.user_id, "project_id": tenant.project_id}

    there = client.post("/memory-logs/search", asked, content_type="application/json")
    circuits.open_circuit(Unavailable("chroma", "refused"))
    availability.reset()
    away = client.post("/memory-logs/search", asked, content_type="application/json")

    assert there.headers["X-Search-Backend"] == "chroma"
    assert away.headers["X-Search-Backend"] == "pgvector"
    assert [set(one) for one in there.json()] == [set(one) for one in away.json()]


def test_each_search_is_on_record_without_its_words(tenant: Tenant) -> None:
    by_meaning(tenant, limit=3)

    assert background.flush(60)
    event = Event.objects.filter(type="vector.searched").latest("id")
    assert event.payload == {
        "user_id": tenant.user_id,
        "project_id": tenant.project_id,
        "limit": 3,
        "results_count": 3,
    }


@pytest.fixture
def server(settings: Any, tmp_path: Path) -> Iterator[ChromaServer]:
    with own_chroma(tmp_path, settings) as server:
        yield server


@pytest.mark.parametrize("mode", [Mode.VECTOR, Mode.HYBRID])
def test_a_lost_collection_is_answered_for_by_postgres_and_filled_because_it_was_asked(
    server: ChromaServer, tenant: Tenant, mode: Mode
) -> None:
    before = by_meaning(tenant, mode=mode)
    server.lose_its_data()

    after = by_meaning(tenant, mode=mode)
    assert (before.backend, after.backend) == ("chroma", "pgvector")
    assert ids(after) == ids(before)
    drain()

    again = by_meaning(tenant, mode=mode)
    assert (again.backend, ids(again)) == ("chroma", ids(before))


def test_a_tenant_whose_collection_is_not_filled_yet_keeps_no_other_from_chroma(tenant: Tenant) -> None:
    other = new_tenant()
    remember(other, "Fix the login redirect")
    drain()
    active = generations.of_tenant(other).active
    assert active is not None
    generations.restart_build(active)

    assert by_meaning(other).backend == "pgvector"
    assert by_meaning(tenant).backend == "chroma"


def lose_the_vectors(segment: Path) -> None:
    shutil.rmtree(segment)


def tear_the_names(segment: Path) -> None:
    """As a kill leaves the file that is being written."""
    names = segment / "index_metadata.pickle"
    os.truncate(names, names.stat().st_size // 2)


@pytest.mark.parametrize("damage", [lose_the_vectors, tear_the_names])
def test_a_damaged_collection_is_answered_for_by_postgres_and_replaced(
    server: ChromaServer, tenant: Tenant, damage: Callable[[Path], None]
) -> None:
    before = by_meaning(tenant)
    damaged = generations.of_tenant(tenant).active
    server.stop()
    for segment in filter(Path.is_dir, server.folder.iterdir()):
        damage(segment)
    with sqlite3.connect(server.folder / "chroma.sqlite3") as store:
        store.execute("DELETE FROM embeddings_queue")  # or it makes them again
    store.close()
    server.start()

    after = by_meaning(tenant)
    assert (after.backend, ids(after)) == ("pgvector", ids(before))
    drain()

    again = by_meaning(tenant)
    assert (again.backend, ids(again)) == ("chroma", ids(before))
    assert generations.of_tenant(tenant).active != damaged


def ids(answered: Answer) -> list[int]:
    return [one.memory_log_id for one in answered.found]
