"""A `rebuild_index` that is killed in the middle, or whose memories change under it: the stores end equal."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.core.management import call_command
from django.db import connection

from memories.index import generations
from memories.models import MemoryLog
from memories.records.services import NewMemory, create_memories, delete_memory, update_memory
from memories.tenants import Tenant
from outbox.testing import drain
from tests.support.equality import assert_equal_stores
from tests.support.indexed import collection_of
from tests.support.processes import ROOT, environment
from tests.support.tenants import new_tenant
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

GATE = 5_501_733

# What a rebuild notes of each tenant: how far it came, and that its new collection answers.
CLOSE_GATE = f"""
CREATE FUNCTION wait_at_gate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock({GATE});
    RETURN NEW;
END $$;
CREATE TRIGGER wait_at_gate BEFORE UPDATE ON memory_index_generations
FOR EACH ROW WHEN (NEW.position > 0 AND NEW.user_id = '%s') EXECUTE FUNCTION wait_at_gate();
"""
OPEN_GATE = "DROP TRIGGER wait_at_gate ON memory_index_generations; DROP FUNCTION wait_at_gate;"


def execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def somebody_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND NOT granted)",
            [GATE],
        )
        return bool(cursor.fetchone()[0])


def remember(tenant: Tenant) -> list[MemoryLog]:
    return create_memories(
        NewMemory(**tenant._asdict(), task=f"Fix bug number {n}", agent="coder") for n in range(3)
    )


@contextmanager
def rebuilding_held_up(tenant: Tenant, *options: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that has written the tenant's memories to Chroma, and did not note it yet; goes on afterwards."""
    execute(CLOSE_GATE % tenant.user_id)
    execute(f"SELECT pg_advisory_lock({GATE})")
    process = subprocess.Popen(
        [sys.executable, "manage.py", "rebuild_index", *options], cwd=ROOT, env=environment()
    )
    try:
        wait_until(somebody_waits)
        yield process
    finally:
        execute(f"SELECT pg_advisory_unlock({GATE})")
        returncode = process.wait(timeout=60)
        execute(OPEN_GATE)
    assert returncode in {0, -9}


@pytest.mark.parametrize("options", [(), ("--recreate",)])
def test_one_that_was_killed_goes_on_and_the_stores_end_equal(
    options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    tenants = sorted(new_tenant() for _ in range(3))
    rows = {tenant: remember(tenant) for tenant in tenants}
    drain()
    for tenant in tenants:
        collection_of(tenant).delete(ids=collection_of(tenant).get(limit=1)["ids"])

    with rebuilding_held_up(tenants[1], *options) as process:
        process.kill()
        process.wait()
        update_memory(rows[tenants[1]][0].id, {"task": "Bake bread"})
    drain()
    call_command("rebuild_index", *options)

    assert "Continuing a stopped rebuild" in capsys.readouterr().err
    drain()
    for tenant in tenants:
        assert_equal_stores(tenant)


def test_what_is_written_meanwhile_is_in_the_new_collection() -> None:
    tenant = new_tenant()
    changed, deleted, _ = remember(tenant)
    drain()
    former = generations.of_tenant(tenant).active

    with rebuilding_held_up(tenant, "--recreate"):
        update_memory(changed.id, {"task": "Bake bread"})
        delete_memory(deleted.id)
        remember(tenant)
        drain()
        assert generations.of_tenant(tenant).active == former  # it answers until the new one is complete
    drain()

    assert generations.of_tenant(tenant).active != former
    assert_equal_stores(tenant)
