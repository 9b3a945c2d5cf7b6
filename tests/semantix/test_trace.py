"""One trace covers a request and all deliveries that it causes."""

import re

import pytest
from django.test import Client

from memories.models import MemoryVersion
from outbox.models import Event
from outbox.publishing import traceparent
from outbox.testing import drain
from tests.support.parallel import in_parallel
from tests.support.tenants import new_tenant

pytestmark = pytest.mark.django_db(transaction=True)

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = f"00-{TRACE}-b7ad6b7169203331-01"


def remember(client: Client, **headers: str) -> str:
    """Store a memory over the API; returns the request id of the answer."""
    tenant = new_tenant()
    body = {
        "user_id": tenant.user_id,
        "project_id": tenant.project_id,
        "task": "Fix the login redirect",
        "agent": "claude",
    }
    response = client.post("/memory-logs", body, content_type="application/json", headers=headers)
    assert response.status_code == 201, response.content
    return response.headers["X-Request-ID"]


def test_one_trace_covers_request_embedding_and_indexing(client: Client) -> None:
    remember(client, **{"traceparent": CALLER, "X-Request-ID": "req-42"})

    drain()

    events = list(Event.objects.order_by("id"))
    assert [event.type for event in events] == ["memory_log.stored", "embedding.generated", "vector.stored"]
    for event in events:
        parent = traceparent.parse(event.headers["traceparent"])
        assert parent is not None
        assert parent.trace_id == TRACE
        assert str(parent) != CALLER  # this service is a step of its own
        assert event.headers["request_id"] == "req-42"


def test_a_request_without_a_trace_begins_one(client: Client) -> None:
    remember(client)
    remember(client)

    first, second = (
        traceparent.parse(event.headers["traceparent"]) for event in Event.objects.order_by("id")
    )
    assert first is not None
    assert second is not None
    assert first.trace_id != second.trace_id


def test_memories_that_are_embedded_together_keep_their_own_traces(client: Client) -> None:
    for request_id in ("req-1", "req-2"):
        remember(client, **{"X-Request-ID": request_id})

    drain()

    events = Event.objects.order_by("id")
    requests = {(event.aggregateid, event.headers["request_id"]) for event in events}
    assert len(events) == 6
    assert sorted(request_id for _, request_id in requests) == ["req-1", "req-2"]


def test_memories_that_are_stored_together_keep_their_own_requests() -> None:
    in_parallel(8, lambda n: [remember(Client(), **{"X-Request-ID": f"req-{n}-{m}"}) for m in range(5)])

    stored = Event.objects.filter(type="memory_log.stored")
    expected = {f"req-{n}-{m}" for n in range(8) for m in range(5)}
    assert len(stored) == 40
    assert {event.headers["request_id"] for event in stored} == expected
    for event in stored:
        assert MemoryVersion.objects.get(pgh_obj=int(event.aggregateid)).user_id == event.payload["user_id"]


@pytest.mark.parametrize("sent", ["", "two words", "x" * 129, "a\nb"])
def test_an_invalid_request_id_is_replaced(client: Client, sent: str) -> None:
    request_id = remember(client, **{"X-Request-ID": sent})

    assert re.fullmatch("[0-9a-f]{32}", request_id)
    assert Event.objects.get().headers["request_id"] == request_id


def test_the_response_carries_the_request_id(client: Client) -> None:
    assert client.get("/health/live", headers={"X-Request-ID": "req-42"}).headers["X-Request-ID"] == "req-42"
    assert client.get("/nowhere").headers["X-Request-ID"]
