"""Events that are recorded soon: written together by a thread, in nobody's own time."""

import logging
import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection
from django.db.backends.utils import CursorWrapper
from django.test.utils import CaptureQueriesContext

import outbox
from outbox.exceptions import UnknownEventType
from outbox.models import Event
from outbox.publishing import background, headers
from tests.support.published import NOTED

pytestmark = pytest.mark.django_db(transaction=True)


def record(number: int = 1) -> None:
    outbox.record_soon("test.recorded", aggregate=("thing", number), payload={"number": number})


def test_the_caller_waits_for_no_statement_and_the_events_are_written() -> None:
    with CaptureQueriesContext(connection) as queries, headers.bound({"request_id": "one"}):
        for number in range(3):
            record(number)
    assert len(queries) == 0

    assert background.flush(60)

    found = Event.objects.order_by("id").values_list("payload__number", "status", "headers__request_id")
    assert list(found) == [(number, "delivered", "one") for number in range(3)]


def test_the_events_of_many_threads_are_written_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    statements: list[int] = []
    execute = CursorWrapper.execute

    def counting(self: CursorWrapper, sql: str, params: object = None) -> object:
        if "INSERT INTO outbox_event" in str(sql):
            statements.append(1)
        return execute(self, sql, params)

    monkeypatch.setattr(CursorWrapper, "execute", counting)
    with ThreadPoolExecutor(8) as clients:
        list(clients.map(record, range(400)))
    assert background.flush(60)

    assert Event.objects.count() == 400
    assert len(statements) < 200


@pytest.mark.parametrize(("type", "error"), [(NOTED, ValueError), ("test.unknown", UnknownEventType)])
def test_a_wrong_type_is_refused_at_once(type: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        outbox.record_soon(type, aggregate=("thing", 1), payload={})


def test_what_the_database_refuses_is_logged_and_later_events_are_written(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE outbox_event RENAME TO away")
    try:
        with caplog.at_level(logging.WARNING, logger="outbox.publishing.background"):
            record()
            assert background.flush(60)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE away RENAME TO outbox_event")
    assert "1 event is not recorded" in caplog.text

    record()
    assert background.flush(60)
    assert Event.objects.count() == 1


def test_too_many_events_are_dropped_and_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(background, "WAITING", 2)
    monkeypatch.setattr(background, "_recorder", None)
    monkeypatch.setattr(background, "GROUP_SECONDS", 1.0)
    with caplog.at_level(logging.WARNING, logger="outbox.publishing.background"):
        for number in range(20):
            record(number)
    assert "is not recorded: 2 wait to be written" in caplog.text
    assert background.flush(60)
    assert 0 < Event.objects.count() < 20


def test_a_fork_has_a_recorder_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    record()
    assert background.flush(60)
    before = background._recorder  # noqa: SLF001
    monkeypatch.setattr(os, "getpid", lambda: 1)

    record()

    assert background._recorder is not before  # noqa: SLF001
    assert background.flush(60)
