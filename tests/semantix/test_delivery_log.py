"""One log line for each delivery, with everything an operator searches by and no content of the memory."""

import logging

import pytest
from django.db import transaction
from django.test import Client

import outbox
from outbox.models import Event
from outbox.publishing import headers
from outbox.testing import drain, handled
from tests.support.keys import memory
from tests.support.published import publish

pytestmark = pytest.mark.django_db(transaction=True)

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01", "X-Request-ID": "req-42"}


def told(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "semantix.delivery"]


def test_the_line_of_one_event_has_its_id_attempt_and_duration(caplog: pytest.LogCaptureFixture) -> None:
    event = publish("test.noted")

    with caplog.at_level(logging.INFO):
        drain()

    [line] = told(caplog)
    assert line.getMessage() == f"delivered test.noted #{event.id}"
    assert line.__dict__["attempt"] == 1
    assert line.__dict__["duration_ms"] > 0


def test_a_batch_is_one_line_that_names_all_events_requests_and_traces(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    for sent in (CALLER, {"X-Request-ID": "req-43"}):
        client.post("/memory-logs", memory("alice", "web"), content_type="application/json", headers=sent)

    with caplog.at_level(logging.INFO):
        drain()

    line = told(caplog)[0].__dict__
    stored = Event.objects.filter(type="memory_log.stored").order_by("id")
    assert line["event_ids"] == [event.id for event in stored]
    assert line["request_ids"] == ["req-42", "req-43"]
    assert line["trace_ids"][0] == TRACE


def test_nothing_of_a_memory_is_logged(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    body = memory("alice", "web", task="a-secret-task", raw_data={"solution": "a-secret-solution"})
    client.post("/memory-logs", body, content_type="application/json")

    with caplog.at_level(logging.INFO):
        drain()

    assert told(caplog)
    assert not any("a-secret" in str(record.__dict__) for record in caplog.records)


def test_a_failure_is_logged_with_the_events_own_request_id() -> None:
    seen = WithRequestIds()
    logger = logging.getLogger("outbox.delivery.deliver")
    with transaction.atomic():
        outbox.publish("test.noted", aggregate=("thing", 1), payload={}, headers={"request_id": "req-42"})

    logger.addHandler(seen)
    try:
        with handled("test.noted", by=lambda event: 1 / 0):
            drain()
    finally:
        logger.removeHandler(seen)

    assert seen.request_ids == ["req-42"]


class WithRequestIds(logging.Handler):
    """The request id bound at each line."""

    def __init__(self) -> None:
        super().__init__()
        self.request_ids: list[str | None] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.request_ids.append(headers.current().get("request_id"))
