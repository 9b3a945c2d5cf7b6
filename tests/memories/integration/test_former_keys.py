"""What former versions of a memory left in the index is removed, by the history or by asking the index."""

from typing import Any

import pytest

from memories.indexing import former_keys as former
from memories.indexing.former_keys import former_keys
from memories.models import MemoryLog, MemoryVersion
from memories.records.services import NewMemory, create_memory, update_memory
from outbox.testing import drain
from tests.support.equality import assert_equal_stores
from tests.support.indexed import collection_of
from tests.support.tenants import new_tenant

pytestmark = pytest.mark.django_db

SOLVED, OPEN = {"status": "solved", "tags": ["pool"]}, {"owner": "ada"}


def remembered(*versions: dict[str, Any]) -> MemoryLog:
    """A memory with these raw_data, one after the other, of which only the last is not indexed yet."""
    row = create_memory(
        NewMemory(**new_tenant()._asdict(), task="Fix bug", agent="ada", raw_data=versions[0])
    )
    for raw_data in versions[1:]:
        drain()
        update_memory(row.id, {"raw_data": raw_data})
    return MemoryLog.objects.get(id=row.id)


def test_the_history_knows_the_keys_of_all_former_versions() -> None:
    row = remembered(SOLVED, OPEN, {})

    assert former_keys([row]) == {row.id: {"raw_data.status", "tags", "raw_data.owner"}}
    drain()
    assert_equal_stores(row.tenant)


def test_a_first_version_left_nothing() -> None:
    assert former_keys([remembered(SOLVED)]) == {}


def forget_the_first(row: MemoryLog) -> None:
    MemoryVersion.objects.filter(pgh_obj_id=row.id, version=1)._raw_delete("default")  # noqa: SLF001


def have_many(row: MemoryLog) -> None:
    for number in range(former.MOST_VERSIONS):
        update_memory(row.id, {"task": f"Fix bug {number}"})


@pytest.mark.parametrize("make_unknown", [forget_the_first, have_many])
def test_the_index_is_asked_where_the_history_does_not_know_enough(make_unknown: Any) -> None:
    row = remembered(SOLVED, OPEN)
    make_unknown(row)
    row.refresh_from_db()

    assert former_keys([row]) == {}
    drain()
    assert_equal_stores(row.tenant)


def test_large_versions_are_not_read() -> None:
    row = remembered({"text": "".join(chr(200 + 7 * n % 4000) for n in range(9_000)), "a": 1}, OPEN)

    assert former_keys([row]) == {}
    drain()
    assert_equal_stores(row.tenant)


def test_a_former_number_that_no_float_can_hold_stops_nothing() -> None:
    row = remembered({"status": "solved", "huge": 10**400}, OPEN)

    assert former_keys([row]) == {row.id: {"raw_data.status"}}
    drain()
    assert_equal_stores(row.tenant)


def test_a_document_that_the_index_does_not_have_gets_no_former_key() -> None:
    row = remembered(SOLVED, OPEN)
    collection_of(row.tenant).delete(ids=collection_of(row.tenant).get(include=[])["ids"])

    drain()

    assert_equal_stores(row.tenant)
