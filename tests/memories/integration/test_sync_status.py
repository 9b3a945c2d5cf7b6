"""`sync` of a memory: how far it has come, and what went wrong."""

from datetime import date as Date
from typing import Any

import pytest
from django.test.utils import CaptureQueriesContext

from memories.models import MemoryLog
from memories.records.services import update_memory
from outbox.models import Event, Status
from outbox.testing import drain
from tests.support.two_tenants import Actor, Cast

pytestmark = pytest.mark.django_db(transaction=True)


def sync_of(actor: Actor, memory: dict[str, Any]) -> dict[str, Any]:
    """The answer about one memory, which is the same in the list, though another query finds it."""
    sync: dict[str, Any] = actor.get(f"/memory-logs/{memory['id']}").json()["sync"]
    [listed] = [row for row in actor.get("/memory-logs").json()["results"] if row["id"] == memory["id"]]
    assert listed["sync"] == sync
    return sync


def fail(memory: dict[str, Any], *, status: str, error: str) -> Event:
    """Let the memory's newest event have failed."""
    event = Event.objects.filter(aggregateid=str(memory["id"])).latest("id")
    Event.objects.filter(id=event.id).update(status=status, last_error=error)
    return event


def test_an_indexed_memory_says_when_and_which_version(cast: Cast) -> None:
    stored = cast.alice.remember()

    drain()

    sync = sync_of(cast.alice, stored)
    assert (sync["status"], sync["version"], sync["indexed_version"]) == ("indexed", 1, 1)
    assert stored["created_at"] < sync["embedded_at"] <= sync["indexed_at"]


def test_a_changed_one_is_pending_until_its_new_text_is_embedded(cast: Cast) -> None:
    stored = cast.alice.remember()
    drain()

    update_memory(stored["id"], {"task": "Bake bread"})

    sync = sync_of(cast.alice, stored)
    assert (sync["status"], sync["version"], sync["indexed_version"]) == ("pending", 2, 1)


def test_one_whose_text_stayed_is_embedded_already(cast: Cast) -> None:
    stored = cast.alice.remember()
    drain()

    update_memory(stored["id"], {"date": Date(2020, 2, 29)})

    assert sync_of(cast.alice, stored)["status"] == "embedded"


def test_a_dead_event_means_failed_and_says_why(cast: Cast) -> None:
    stored = cast.alice.remember()

    fail(stored, status=Status.DEAD, error="EmbeddingError: 3 numbers, not 768")

    sync = sync_of(cast.alice, stored)
    assert (sync["status"], sync["error"]) == ("failed", "EmbeddingError: 3 numbers, not 768")
    [listed] = cast.alice.get("/memory-logs", sync_status="failed").json()["results"]
    assert listed["sync"] == sync


def test_a_newer_event_on_its_way_gives_hope(cast: Cast) -> None:
    stored = cast.alice.remember()
    fail(stored, status=Status.DEAD, error="EmbeddingError: 3 numbers, not 768")

    update_memory(stored["id"], {"task": "Bake bread"})

    assert sync_of(cast.alice, stored)["status"] == "pending"
    drain()
    assert sync_of(cast.alice, stored)["status"] == "indexed"
    assert sync_of(cast.alice, stored)["error"] is None


def test_one_that_is_tried_again_says_what_went_wrong_so_far(cast: Cast) -> None:
    stored = cast.alice.remember()

    fail(stored, status=Status.PENDING, error="RuntimeError: once")

    sync = sync_of(cast.alice, stored)
    assert (sync["status"], sync["error"]) == ("pending", "RuntimeError: once")


def test_a_discarded_event_leaves_it_where_it_was(cast: Cast) -> None:
    stored = cast.alice.remember()

    fail(stored, status=Status.DISCARDED, error="not worth it")

    assert sync_of(cast.alice, stored)["status"] == "pending"


def test_a_page_is_two_queries_whatever_failed(
    cast: Cast, django_assert_max_num_queries: CaptureQueriesContext
) -> None:
    stored = [cast.alice.remember() for _ in range(4)]
    for memory in stored[:3]:
        fail(memory, status=Status.DEAD, error="RuntimeError: no")
    cast.alice.get("/memory-logs")  # the key is remembered

    with django_assert_max_num_queries(2):  # type: ignore[operator]
        cast.alice.get("/memory-logs")

    assert MemoryLog.objects.filter(indexed_version=None).count() == 4
