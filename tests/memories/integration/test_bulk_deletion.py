"""DELETE /memory-logs with filters: what matched when it was requested, if the caller knows how many that is."""

from typing import Any

import pytest

from memories.models import BulkDeletion, MemoryLog
from memories.records import bulk_deletion
from outbox.models import Event
from outbox.testing import drain
from tests.support.two_tenants import Cast

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _pages_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_deletion, "PAGE", 2)


def test_those_that_match_are_deleted_and_the_rest_stays(cast: Cast) -> None:
    for number in range(5):
        cast.alice.remember(task=f"old {number}", raw_data={"tags": ["old"]})
    cast.alice.remember(task="new")
    cast.bob.remember(task="bob's", raw_data={"tags": ["old"]})
    drain()

    asked = cast.alice.send("DELETE", "/memory-logs?tags=old&confirm=5")
    assert (asked.status_code, asked.json()["total"]) == (202, 5)
    drain()

    followed = cast.alice.get(asked["Location"]).json()
    assert (followed["status"], followed["deleted"]) == ("done", 5)
    assert BulkDeletion.objects.get().filters == {}, "a filter may quote what was deleted"
    assert set(MemoryLog.objects.values_list("task", flat=True)) == {"new", "bob's"}
    assert Event.objects.filter(type="memory_log.deleted").count() == 5
    assert Event.objects.filter(type="vector.deleted").count() == 5


def test_another_number_is_refused_with_the_number_and_deletes_nothing(cast: Cast) -> None:
    cast.alice.remember(task="one")

    refused = cast.alice.send("DELETE", "/memory-logs?task=one&confirm=2")

    assert refused.status_code == 409
    assert refused.json()["type"].endswith("count-differs")
    assert "confirm=1" in refused.json()["detail"]
    assert MemoryLog.objects.count() == 1


def test_what_is_stored_after_the_request_stays(cast: Cast) -> None:
    cast.alice.remember(task="same")
    cast.alice.send("DELETE", "/memory-logs?task=same&confirm=1")
    later = cast.alice.remember(task="same")
    drain()

    assert list(MemoryLog.objects.values_list("id", flat=True)) == [later["id"]]


@pytest.mark.parametrize("query", ["confirm=0", "task=one", "tsk=one&confirm=0"])
def test_it_wants_a_filter_a_number_and_no_misspelling(cast: Cast, query: str) -> None:
    assert cast.alice.send("DELETE", f"/memory-logs?{query}").status_code == 400
    assert not BulkDeletion.objects.exists()


def test_a_page_that_arrives_twice_deletes_nothing_else(cast: Cast) -> None:
    for number in range(3):
        cast.alice.remember(task=f"old {number}")
    asked = cast.alice.send("DELETE", f"/memory-logs?user_id={cast.alice.tenant.user_id}&confirm=3")
    for _ in range(2):
        bulk_deletion.delete_page(asked.json()["id"])
    drain()

    followed: dict[str, Any] = cast.alice.get(asked["Location"]).json()
    assert (followed["status"], followed["deleted"]) == ("done", 3)
