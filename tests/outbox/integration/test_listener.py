"""The listener, on a real PostgreSQL: which NOTIFYs it hears, and what it does if none arrives."""

import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.db import connection, transaction
from pytest_django.fixtures import Settings

from outbox.database import channels
from outbox.database.channels import wake
from outbox.database.triggers import sync_triggers
from outbox.models import Event
from outbox.relay import listener as listening
from outbox.relay.listener import ECHO, EVENT, EVENTS, EVERYTHING, NOTHING, TASK, TASKS, Listener, WorkHint
from tests.support.many_files import many_open_files
from tests.support.published import NOTED, publish, publish_all
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener = Listener()
    yield listener
    listener.close()


@pytest.fixture
def listening_one(listener: Listener) -> Listener:
    assert listener.wait(0) == EVERYTHING
    assert listener.hears
    assert listener.wait(0.01) == NOTHING
    return listener


def cut() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name = 'outbox relay'"
        )
        assert cursor.fetchall()


def test_it_hears_in_a_process_with_more_open_files_than_select_allows() -> None:
    with many_open_files():
        listener = Listener()
        try:
            assert listener.wait(0) == EVERYTHING
            assert listener.wait(0) == NOTHING
            wake(TASK)

            assert listener.wait(60) == TASKS
        finally:
            listener.close()


def test_one_hint_covers_all_notifies_so_far(listening_one: Listener) -> None:
    first = Event.objects.get(id=publish().id)
    publish()
    wake(TASK)

    # On a busy machine the last NOTIFY may arrive after the first wait.
    heard = NOTHING
    while not heard.tasks:
        heard |= listening_one.wait(5)
    assert heard == WorkHint(True, first.available_at.timestamp())
    assert listening_one.wait(0) == NOTHING


@pytest.mark.parametrize(
    ("said", "means"),
    [
        (EVENT, EVENTS),
        (TASK, TASKS),
        (ECHO, NOTHING),
        ("1763769600.000001", WorkHint(False, 1763769600.000001)),
        ("Infinity", NOTHING),
        ("what nobody knows", EVERYTHING),
    ],
)
def test_the_payload_of_a_notify_becomes_a_hint(listening_one: Listener, said: str, means: WorkHint) -> None:
    wake(said)

    assert listening_one.wait(5) == means


def test_a_thousand_events_of_one_statement_send_one_notify(listening_one: Listener) -> None:
    with psycopg.connect(**listening.parameters(), autocommit=True) as session:
        session.execute(f"LISTEN {channels.EVENTS}")
        event, *_ = publish_all(NOTED, range(1000))
        since = Event.objects.get(id=event.id).available_at
        wake("end")
        said = [notify.payload for notify in session.notifies(timeout=5, stop_after=2)]
        assert said == [f"{since.timestamp():.6f}", "end"]


def test_recorded_events_wake_no_relay(listening_one: Listener) -> None:
    publish("test.recorded")
    wake(TASK)

    assert listening_one.wait(5) == TASKS


def test_a_rolled_back_event_sends_no_notify(listening_one: Listener) -> None:
    with transaction.atomic():
        publish()
        transaction.set_rollback(True)
    wake(TASK)

    assert listening_one.wait(5) == TASKS


def test_a_broken_connection_is_opened_again_and_returns_everything(
    listener: Listener, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Listener, "RETRY_SECONDS", 0.0)
    assert listener.wait(0) == EVERYTHING
    cut()

    wait_until(lambda: listener.wait(5) == EVERYTHING)  # the server says why first, and then hangs up
    assert not listener.hears
    assert "LISTEN does not work" in caplog.text
    publish()  # while nobody listens
    assert listener.wait(5) == EVERYTHING
    assert listener.hears
    assert listener.wait(0.01) == NOTHING


def test_a_connection_that_no_longer_listens_is_detected(
    listener: Listener, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A pooler may give the server connection to another client."""
    monkeypatch.setattr(Listener, "CHECK_SECONDS", 0.0)
    assert listener.wait(0) == EVERYTHING
    assert listener.wait(0.01) == NOTHING
    monkeypatch.setattr(channels, "EVENTS", "another_channel")

    assert listener.wait(5) == EVERYTHING
    assert "the connection no longer listens" in caplog.text


def test_the_connection_is_checked_every_thirty_seconds_only(
    listening_one: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "EVENTS", "another_channel")

    assert listening_one.wait(0.01) == NOTHING


def test_it_logs_that_no_notify_arrives_and_polls(
    listener: Listener, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A session in another database hears nothing, like a session behind a transaction-mode pooler."""
    connection.ensure_connection()
    elsewhere = {**connection.get_connection_params(), "dbname": "postgres"}
    monkeypatch.setattr(connection, "get_connection_params", lambda: elsewhere.copy())
    monkeypatch.setattr(Listener, "ECHO_SECONDS", 0.1)

    assert listener.wait(0) == EVERYTHING

    assert not listener.hears
    assert "most likely because of a transaction-mode pooler" in caplog.text
    started = time.monotonic()
    assert listener.wait(0.2) == EVERYTHING  # no second try for now
    assert time.monotonic() - started >= 0.2
    assert caplog.text.count("No NOTIFY arrives") == 1


def test_its_connection_takes_the_role_of_django(monkeypatch: pytest.MonkeyPatch) -> None:
    role = "outbox's role"
    with connection.cursor() as cursor:
        cursor.execute(f'CREATE ROLE "{role}"')
    try:
        monkeypatch.setitem(connection.settings_dict["OPTIONS"], "assume_role", role)
        with psycopg.connect(**listening.parameters()) as session:
            assert session.execute("SELECT current_user").fetchone() == (role,)
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f'DROP ROLE "{role}"')


def test_it_logs_a_failed_connection_and_polls(
    listener: Listener, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    nowhere = {**connection.get_connection_params(), "host": "/nowhere"}
    monkeypatch.setattr(connection, "get_connection_params", lambda: nowhere.copy())

    assert listener.wait(0.01) == EVERYTHING
    assert listener.wait(0.01) == EVERYTHING

    assert not listener.hears
    assert caplog.text.count("LISTEN does not work") == 1


def test_an_error_while_it_connects_leaves_no_open_connection(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "EVENTS", "not a name")

    assert listener.wait(0) == EVERYTHING
    assert not listener.hears
    wait_until(lambda: not _backends_that_said("%not a name"))


def _backends_that_said(what: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid() AND query LIKE %s",
            [what],
        )
        return int(cursor.fetchone()[0])


def test_keepalives_detect_a_dead_peer() -> None:
    parameters = listening.parameters()

    assert parameters["keepalives"] == 1
    assert (
        parameters["keepalives_idle"] + parameters["keepalives_interval"] * parameters["keepalives_count"]
        <= 30
    )


def test_with_polling_an_insert_sends_no_notify(settings: Settings) -> None:
    """Neither to the relay nor to the readers of the stream."""
    with psycopg.connect(**listening.parameters(), autocommit=True) as session:
        session.execute(f"LISTEN {channels.EVENTS}")
        session.execute(f"LISTEN {channels.RECORDED}")
        settings.OUTBOX_WAKEUP = "poll"
        sync_triggers()
        try:
            _publish_one_of_each()
            wake(TASK)
        finally:
            settings.OUTBOX_WAKEUP = "listen"
            sync_triggers()
        _notify("only this")
        [heard] = session.notifies(timeout=5, stop_after=1)
        assert heard.payload == "only this"

        _publish_one_of_each()
        heard_of = {notify.channel for notify in session.notifies(timeout=5, stop_after=2)}
        assert heard_of == {channels.EVENTS, channels.RECORDED}


def _publish_one_of_each() -> None:
    publish()
    publish("test.recorded")


def test_it_has_heard_a_notify_that_waits(listening_one: Listener) -> None:
    assert not listening_one.has_heard()

    wake(TASK)

    wait_until(listening_one.has_heard)
    assert listening_one.wait(0) == TASKS
    assert not listening_one.has_heard()


def test_without_a_connection_it_has_heard_nothing() -> None:
    assert not Listener().has_heard()


def test_without_the_table_there_is_no_trigger_to_switch() -> None:
    """After `migrate outbox zero`, for example."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE outbox_event RENAME TO gone")
        sync_triggers()
        transaction.set_rollback(True)


def test_the_echo_of_another_relay_is_no_hint(listening_one: Listener) -> None:
    _notify(ECHO)

    assert not listening_one.wait(5)


def _notify(payload: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [channels.EVENTS, payload])
