"""CHROMA_STORE_DOCUMENTS: whether Chroma holds the texts of memories. On real Postgres and Chroma."""

import json
from contextlib import suppress
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django.fixtures import Settings

from memories.filters import Filters
from memories.models import MemoryLog
from memories.records.services import NewMemory, create_memory
from memories.search.search import Mode, Query, search
from memories.tenants import Tenant
from outbox.testing import drain
from tests.support.indexed import held
from tests.support.tenants import new_tenant

pytestmark = pytest.mark.django_db(transaction=True)


def remember(tenant: Tenant) -> MemoryLog:
    new = NewMemory(**tenant._asdict(), task="Fix the login", agent="ann", raw_data={"tags": ["web"]})
    return create_memory(new)


def document(row: MemoryLog) -> str:
    found = held(row)
    assert found is not None
    return str(found["document"])


def verify(tenant: Tenant, capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, Any]:
    capsys.readouterr()
    with suppress(CommandError):
        call_command("verify_index", "--user-id", tenant.user_id, "--json", *more)
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    return report


@pytest.mark.parametrize("mode", Mode)
def test_without_texts_in_chroma_every_search_answers_the_same(settings: Settings, mode: Mode) -> None:
    settings.CHROMA_STORE_DOCUMENTS = False
    tenant = new_tenant()
    row = remember(tenant)
    drain()

    [hit] = search(Query(text="login", tenant=tenant, mode=mode, filters=Filters(tags=("web",))))

    assert hit.memory_log_id == row.id
    assert hit.document == "Fix the login\nweb\nagent: ann"
    assert document(row) == ""


def test_texts_that_chroma_still_has_are_found_and_removed(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    tenant = new_tenant()
    row = remember(tenant)
    drain()
    assert document(row) != ""
    assert verify(tenant, capsys)["stale"] == 0

    settings.CHROMA_STORE_DOCUMENTS = False
    assert verify(tenant, capsys, "--repair")["stale"] == 1
    drain()

    assert document(row) == ""
    assert verify(tenant, capsys)["stale"] == 0


def test_a_rebuild_writes_the_texts_again(settings: Settings) -> None:
    tenant = new_tenant()
    settings.CHROMA_STORE_DOCUMENTS = False
    row = remember(tenant)
    drain()

    settings.CHROMA_STORE_DOCUMENTS = True
    call_command("rebuild_index", "--user-id", tenant.user_id)

    assert document(row) == "Fix the login\nweb\nagent: ann"
