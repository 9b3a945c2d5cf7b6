"""DATABASE_STATEMENT_SECONDS: PostgreSQL stops a statement of the web server that takes too long."""

from typing import Any

import httpx
import pytest
from django.db import connection, transaction

from memories.models import MemoryLog
from memories.records.services import NewMemory, create_memory
from tests.support.keys import memory
from tests.support.processes import environment
from tests.support.tenants import new_tenant
from tests.support.web_server import WebServer

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_write_that_waits_too_long_is_answered_503_and_stores_nothing() -> None:
    row = create_memory(NewMemory(**new_tenant()._asdict(), task="Fix the login", agent="coder"))
    with (
        WebServer(**environment(), DATABASE_STATEMENT_SECONDS="1") as server,
        httpx.Client(base_url=server.url, timeout=60) as client,
    ):
        with transaction.atomic():
            lock("memory_logs")
            changed = client.patch(f"/memory-logs/{row.id}", json={"task": "Bake bread"})
            created = client.post("/memory-logs", json=memory(*new_tenant()))
        assert client.post("/memory-logs", json=memory(*new_tenant())).status_code == 201

    assert_stopped(changed)
    assert_stopped(created)
    assert MemoryLog.objects.count() == 2
    assert MemoryLog.objects.get(id=row.id).task == "Fix the login"


def lock(table: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE")


def assert_stopped(answer: httpx.Response) -> None:
    problem: dict[str, Any] = answer.json()
    assert (answer.status_code, problem["type"]) == (503, "urn:semantix:problem:unavailable")
    assert "DATABASE_STATEMENT_SECONDS" in problem["detail"]
    assert answer.headers["Retry-After"]
