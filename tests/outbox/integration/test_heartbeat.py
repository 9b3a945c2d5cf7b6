"""Heartbeats: a relay that lives is never taken for dead, and a dead one is found in seconds."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from django.db import connection
from django.db.models.functions import Now

from outbox.cluster import heartbeat, process_identity
from outbox.cluster.heartbeat import Heartbeat, dead_relays, end_relays
from outbox.database.connection import own_connection
from outbox.models import Relay
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

ME, OTHER = uuid4(), uuid4()


def beat(id: UUID, process: str = "") -> None:
    heartbeat.beat(id, "host-1", 4242, "listen", process)


def change(id: UUID, **fields: Any) -> None:
    """Set fields of a relay. A number is that many seconds ago."""
    ago = {
        name: Now() - timedelta(seconds=value) if isinstance(value, int | float) else value
        for name, value in fields.items()
        if not name.endswith("pid")
    }
    Relay.objects.filter(id=id).update(**fields | ago)


@pytest.fixture(autouse=True)
def _two_relays() -> None:
    """Both were heard without a gap for long."""
    for id in (ME, OTHER):
        beat(id)
        change(id, alive_since=1000)


@pytest.fixture
def session() -> Iterator[tuple[int, Any]]:
    """A living session: its process id and when it started."""
    with psycopg.connect(**own_connection(), autocommit=True) as connected:
        [row] = connected.execute(
            "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"
        ).fetchall()
        yield row


def test_a_relay_that_beats_is_alive() -> None:
    assert dead_relays(ME) == []


def test_a_relay_without_a_session_is_dead_after_some_seconds() -> None:
    change(OTHER, alive_at=heartbeat.GONE_SECONDS - 2)
    assert dead_relays(ME) == []

    change(OTHER, alive_at=heartbeat.GONE_SECONDS + 1)
    assert dead_relays(ME) == [OTHER]


def test_a_silent_relay_with_a_session_is_dead_later(session: tuple[int, Any]) -> None:
    """Its machine or the network may be lost: the database keeps the session."""
    change(OTHER, session_pid=session[0], session_started=session[1])
    change(OTHER, alive_at=heartbeat.SILENT_SECONDS - 2)
    assert dead_relays(ME) == []

    change(OTHER, alive_at=heartbeat.SILENT_SECONDS + 1)
    assert dead_relays(ME) == [OTHER]


def test_a_session_with_a_reused_process_id_is_another_session(session: tuple[int, Any]) -> None:
    change(OTHER, session_pid=session[0], session_started=session[1] - timedelta(hours=1))
    change(OTHER, alive_at=heartbeat.GONE_SECONDS + 1)

    assert dead_relays(ME) == [OTHER]


@pytest.mark.parametrize("silence", [5, 3600])
def test_a_relay_that_was_silent_itself_does_not_judge_the_silence_of_others(silence: int) -> None:
    """After an outage of the database, every relay has been silent."""
    change(ME, alive_since=1)
    change(OTHER, alive_at=silence)

    assert dead_relays(ME) == []


def test_a_relay_whose_main_process_is_gone_is_dead_at_once() -> None:
    change(ME, alive_since=0)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    change(OTHER, process=process_identity.identity(child.pid))
    assert dead_relays(ME) == []

    child.communicate()

    assert dead_relays(ME) == [OTHER]


def test_a_dead_relay_is_ended_once_and_lives_again_when_it_beats() -> None:
    change(OTHER, alive_at=1000)
    end_relays([OTHER])
    assert dead_relays(ME) == []

    beat(OTHER)
    assert dead_relays(ME) == []
    change(OTHER, alive_at=1000)
    assert dead_relays(ME) == [OTHER]


def test_rows_of_a_day_ago_are_deleted() -> None:
    change(OTHER, seen_at=100_000, alive_at=100_000)

    beat(ME)

    assert [relay.id for relay in Relay.objects.all()] == [ME]


# --- The thread -------------------------------------------------------------------------------------------------


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> Iterator[Heartbeat]:
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.05)
    thread = Heartbeat(OTHER)
    thread.start()
    wait_until(lambda: other().session_pid)
    yield thread
    if thread.is_alive():
        thread.stop()


def other() -> Relay:
    return Relay.objects.get(id=OTHER)


def test_the_thread_renews_the_row_over_its_own_session(running: Heartbeat) -> None:
    before = other()

    wait_until(lambda: other().alive_at > before.alive_at)

    assert (other().alive_since, other().seen_at) == (before.alive_since, before.seen_at)
    assert other().session_pid != connection.connection.info.backend_pid


def test_after_a_lost_connection_it_connects_again_and_starts_without_a_past(
    running: Heartbeat, caplog: pytest.LogCaptureFixture
) -> None:
    before = other()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 1000)", [before.session_pid])

    wait_until(lambda: other().session_pid != before.session_pid)

    assert other().alive_since > before.alive_since
    assert caplog.text.count("heartbeat does not reach the database") == 1


def test_a_relay_that_stopped_is_dead_at_once(running: Heartbeat) -> None:
    running.stop()

    assert dead_relays(ME) == [OTHER]


def test_without_a_database_the_end_is_logged(
    running: Heartbeat, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(**_: object) -> None:
        raise psycopg.OperationalError("connection refused")

    monkeypatch.setattr(psycopg, "connect", refused)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 1000)", [other().session_pid])

    running.stop()

    assert "The relay's end is not recorded (" in caplog.text


def test_the_main_process_is_the_one_that_asks() -> None:
    assert heartbeat.main_process() == process_identity.identity(os.getpid())
