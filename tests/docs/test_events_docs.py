"""docs/reference/events.md names every event type with its payload and what its handler needs."""

import re

import pytest

from memories.records.services import NewMemory, create_memory, delete_memory, update_memory
from memories.search.search import Query, search
from memories.tenants import Tenant
from outbox.models import Event
from outbox.publishing import background
from outbox.registry import handler_of, known_types
from outbox.tasks.handler import TASK_ENQUEUED
from outbox.testing import drain
from tests.support.paths import ROOT

PAGE = (ROOT / "docs/reference/events.md").read_text()
ROWS = {
    type: (payload, needs)
    for type, payload, needs in re.findall(
        r"^\| `(\w+\.\w+)` \| [^|]+ \| ([^|]+) \| ([^|]+) \|$", PAGE, re.MULTILINE
    )
}
# The tests' own app has event types, too.
TYPES = {type for type in known_types() if not type.startswith(("test.", "order."))}


def test_every_event_type_is_on_the_page_and_no_other() -> None:
    assert ROWS.keys() == TYPES | {TASK_ENQUEUED}  # known where TASKS names the outbox's backend


@pytest.mark.parametrize("type", sorted(TYPES))
def test_the_page_says_what_the_handler_needs(type: str) -> None:
    handler = handler_of(type)
    needs = (
        "declared only" if handler is None else ", ".join(sorted(handler.needs, reverse=True)) or "nothing"
    )

    assert ROWS[type][1] == needs


@pytest.mark.django_db(transaction=True)
def test_a_memorys_events_have_the_payload_that_the_page_says() -> None:
    tenant = Tenant("ada", "demo")
    row = create_memory(NewMemory(**tenant._asdict(), task="Fix the login", agent="coder"))
    drain()
    update_memory(row.id, {"task": "Fix the logout"})
    drain()
    search(Query(text="logout", tenant=tenant))
    delete_memory(row.id)
    drain()
    # A search records its event a moment later.
    assert background.flush(60)

    published = {event.type: sorted(event.payload) for event in Event.objects.all()}

    assert len(published) == 7
    for type, keys in published.items():
        said = ROWS["memory_log.stored" if type == "memory_log.updated" else type][0]
        assert keys == sorted(re.findall(r"`(\w+)`", said)), type
