"""The settings no longer allow the embedder that made a tenant's vectors, for example because its key is gone."""

import logging

import pytest
from pytest_django.fixtures import Settings

from memories.embeddings.selection import make_backend
from memories.index import generations
from memories.models import Generation, MemoryLog
from memories.records.services import NewMemory, create_memory
from memories.tenants import Tenant
from outbox.operations import problems
from outbox.queue import circuits
from outbox.testing import drain
from tests.support.tenants import new_tenant

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def refused(settings: Settings) -> Tenant:
    """A tenant whose vectors are Google's, while the settings have no key for it."""
    tenant = new_tenant()
    remember(tenant)
    drain()
    settings.GOOGLE_API_KEY = ""
    make_backend.cache_clear()
    Generation.objects.filter(**tenant._asdict()).update(backend="google", model="gemini-embedding-001")
    return tenant


def remember(tenant: Tenant) -> int:
    return create_memory(NewMemory(**tenant._asdict(), task="Fix the login", agent="coder")).id


def test_new_memories_do_not_wait_and_the_tenant_moves_to_the_model_in_the_settings(
    refused: Tenant, caplog: pytest.LogCaptureFixture
) -> None:
    other = new_tenant()
    with caplog.at_level(logging.WARNING, logger="memories.indexing.migrate"):
        new, of_other = remember(refused), remember(other)
        drain()

    assert not circuits.is_open("embedder")
    rows = MemoryLog.objects.in_bulk([new, of_other])
    assert all(row.embedding is not None and row.indexed_version == row.version for row in rows.values())
    active = generations.of_tenant(refused).active
    assert active is not None
    assert active.model == rows[of_other].embedding_model
    assert "The settings refuse the embedder google" in caplog.text


def test_the_overview_says_which_embedder_is_refused_of_how_many_tenants(refused: Tenant) -> None:
    [found] = [problem for problem in problems.find() if problem.kind == "settings"]

    assert "refuse the former embedder google, gemini-embedding-001, of 1 tenant (" in str(found)
    assert "GOOGLE_API_KEY" in str(found)
    assert "do not wait" in str(found)


def test_settings_without_any_embedder_say_that_memories_wait(settings: Settings) -> None:
    settings.EMBEDDING_BACKEND = "no-such-backend"

    [found] = [problem for problem in problems.find() if problem.kind == "settings"]

    assert str(found).startswith(
        "The settings of this process refuse the embedder (EMBEDDING_BACKEND='no-such-backend' is"
    )
    assert "wait to be embedded" in str(found)
