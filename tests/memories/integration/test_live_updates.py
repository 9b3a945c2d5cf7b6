"""Live updates over server-sent events and WebSocket: every event of a tenant once, none of another's."""

from collections.abc import Iterator
from threading import Thread

import httpx
import psycopg
import pytest
from django.db import connection
from pytest_django.fixtures import Settings
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Origin

from memories.tenants import Tenant
from outbox.database.triggers import sync_triggers
from outbox.models import Event
from outbox.queue.stream import Position
from tests.support.keys import new_key
from tests.support.live import attend, listen, socket_url, store
from tests.support.processes import environment
from tests.support.tenants import new_tenant
from tests.support.waiting import wait_until
from tests.support.web_server import WebServer

pytestmark = pytest.mark.django_db(transaction=True)

ALICE = Tenant("alice", "web")
BOB = Tenant("bob", "web")
# By which the database knows its sessions.
SERVER = "server-of-live-updates"


@pytest.fixture(scope="module")
def server(django_db_setup: None) -> Iterator[str]:
    with WebServer(**environment() | {"SEMANTIX_AUTH": "open", "PGAPPNAME": SERVER}) as running:
        yield running.url


@pytest.fixture(scope="module")
def guarded(django_db_setup: None) -> Iterator[str]:
    """SEMANTIX_AUTH=required, as in production."""
    with WebServer(**environment() | {"SEMANTIX_AUTH": "required"}) as running:
        yield running.url


def test_a_listener_is_told_when_a_vector_is_stored(server: str) -> None:
    with listen(server) as stream:
        store(ALICE, 7)

        told = stream.next()

    assert {**told, "id": None, "at": None} == {
        "id": None,
        "at": None,
        "type": "vector.stored",
        "memory_id": 7,
        "user_id": "alice",
        "project_id": "web",
    }


def test_last_event_id_resumes_without_loss_or_repetition(server: str) -> None:
    with listen(server) as stream:
        store(ALICE, 1)
        stream.next()
    store(ALICE, 2)
    store(ALICE, 3)

    with listen(server, after=stream.position) as stream:
        assert [stream.next()["memory_id"] for _ in range(2)] == [2, 3]


def test_an_event_that_commits_late_is_not_lost(server: str) -> None:
    with psycopg.connect(environment()["DATABASE_URL"]) as late, listen(server) as stream:
        late.execute(
            """INSERT INTO outbox_event (aggregatetype, aggregateid, type, payload, headers, status, priority,
                   attempts, last_error)
               VALUES ('memory_vector', '1', 'vector.stored',
                   '{"memory_id": 1, "user_id": "alice", "project_id": "web"}', '{}', 'delivered', 0, 0, '')"""
        )
        store(ALICE, 2)  # a higher id, committed first
        late.commit()

        assert [stream.next()["memory_id"] for _ in range(2)] == [1, 2]


@pytest.mark.parametrize(
    "payload",
    [
        *("{}", "[]", "null", '{"user_id": null, "project_id": 5}'),
        pytest.param(f'{{"n": 1{"0" * 5_000}}}', id="an integer of 5,001 digits"),
    ],
)
def test_an_event_of_nobody_stops_no_stream(server: str, payload: str) -> None:
    """As somebody's SQL may write it."""
    with listen(server, **ALICE._asdict()) as stream, psycopg.connect(environment()["DATABASE_URL"]) as other:
        other.execute(
            """INSERT INTO outbox_event (aggregatetype, aggregateid, type, payload, headers, status, priority,
                   attempts, last_error)
               VALUES ('memory_vector', '1', 'vector.stored', %s, '{}', 'delivered', 0, 0, '')""",
            [payload],
        )
        other.commit()
        store(ALICE, 2)

        assert stream.next()["memory_id"] == 2
    with listen(server, after="0-0", **ALICE._asdict()) as stream:
        assert stream.next()["user_id"] == "alice"


def test_the_query_narrows_to_a_tenant(server: str) -> None:
    with listen(server, user_id="bob", project_id="web") as stream:
        store(ALICE, 1)
        store(BOB, 2)

        assert stream.next()["user_id"] == "bob"


def test_a_position_from_long_ago_is_read_from_the_table(server: str) -> None:
    carol = new_tenant()
    store(carol, 1, count=1200)

    with listen(server, after="0-0", **carol._asdict()) as stream:
        assert [stream.next()["memory_id"] for _ in range(1200)] == list(range(1, 1201))


def test_a_websocket_is_told_the_same(server: str) -> None:
    with attend(server) as socket:
        store(ALICE, 5)
        told = socket.next()

    assert (told["type"], told["memory_id"]) == ("vector.stored", 5)

    store(ALICE, 6)
    with attend(server, last_event_id=told["id"]) as socket:
        assert socket.next()["memory_id"] == 6


def test_an_unknown_position_is_refused_and_said(server: str) -> None:
    answer = httpx.get(f"{server}/memory-logs/events", headers={"Last-Event-ID": "yesterday"}, timeout=60)

    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert "yesterday" in answer.json()["detail"]


def test_the_stream_outlives_the_loss_of_its_database_connections(server: str) -> None:
    with listen(server) as stream:
        store(ALICE, 1)
        stream.next()
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND query LIKE 'LISTEN%'"
            )
        store(ALICE, 2)

        assert stream.next()["memory_id"] == 2


class TestKeys:
    def test_a_key_hears_its_own_tenant_only(self, guarded: str) -> None:
        bob = {"Authorization": f"Bearer {new_key(*BOB)}"}
        with listen(guarded, headers=bob) as stream:
            store(ALICE, 1)
            store(BOB, 2)
            assert stream.next()["memory_id"] == 2

        answer = httpx.get(f"{guarded}/memory-logs/events?user_id=alice", headers=bob, timeout=60)
        assert answer.status_code == 403

        with attend(guarded, headers=bob) as socket:
            store(ALICE, 3)
            store(BOB, 4)
            assert socket.next()["memory_id"] == 4

    def test_nobody_hears_anything_without_a_key(self, guarded: str) -> None:
        answer = httpx.get(f"{guarded}/memory-logs/events", timeout=60)

        assert answer.status_code == 401
        assert "WWW-Authenticate" in answer.headers
        with (
            connect(socket_url(guarded), open_timeout=60) as socket,
            pytest.raises(ConnectionClosed) as closed,
        ):
            socket.recv(timeout=60)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4401

    def test_a_page_of_another_site_cannot_open_a_socket(self, guarded: str) -> None:
        with pytest.raises(Exception, match="403"):
            connect(socket_url(guarded), origin=Origin("https://evil.example"), open_timeout=60)


def test_every_event_once_through_a_hundred_reconnects_during_ten_thousand_events(server: str) -> None:
    """Two tenants, an SSE and a WebSocket client each, cut off again and again while events pour in."""
    tenants = [new_tenant(), new_tenant()]
    total, cuts = 5_000, 50
    writer = Thread(target=pour, daemon=True, args=(tenants, total))
    heard: dict[tuple[str, Tenant], list[int]] = {}
    listeners = [
        Thread(
            target=hear, daemon=True, args=(server, tenant, total, cuts, heard.setdefault((name, tenant), []))
        )
        for tenant in tenants
        for name, hear in (("sse", hear_by_sse), ("ws", hear_by_socket))
    ]
    for thread in listeners:
        thread.start()
    writer.start()
    for thread in [writer, *listeners]:
        thread.join(timeout=120)

    for who, memory_ids in heard.items():
        assert memory_ids == list(range(total)), who
    assert Event.objects.filter(type="vector.stored").count() == 2 * total


def pour(tenants: list[Tenant], total: int) -> None:
    try:
        for number in range(0, total, 25):
            for tenant in tenants:
                store(tenant, number, count=25)
    finally:
        connection.close()


def hear_by_sse(url: str, tenant: Tenant, total: int, cuts: int, heard: list[int]) -> None:
    position = str(Position(0, 0))
    while len(heard) < total:
        with listen(url, after=position, user_id=tenant.user_id, project_id=tenant.project_id) as stream:
            for _ in range(total // cuts):
                heard.append(stream.next()["memory_id"])
                position = stream.position
                if len(heard) == total:
                    return


def hear_by_socket(url: str, tenant: Tenant, total: int, cuts: int, heard: list[int]) -> None:
    position = str(Position(0, 0))
    while len(heard) < total:
        with attend(url, last_event_id=position, **tenant._asdict()) as socket:
            for _ in range(total // cuts):
                heard.append(socket.next()["memory_id"])
                position = socket.position
                if len(heard) == total:
                    break
            socket.cut_off()


@pytest.mark.parametrize("position", ["1000000000000-5", "0123456789abcdef.7-5"])
def test_a_position_of_another_server_is_answered_with_a_reset_and_updates_continue(
    server: str, position: str
) -> None:
    with listen(server, after=position) as stream, attend(server, last_event_id=position) as socket:
        for client in (stream, socket):
            reset = client.next()
            assert reset["type"] == "stream.reset"
            assert "GET /memory-logs" in reset["reason"]
            assert client.position == reset["id"] != position
        store(ALICE, 7)
        assert stream.next()["memory_id"] == socket.next()["memory_id"] == 7


def test_where_inserts_pay_no_notify_updates_come_by_polling(server: str, settings: Settings) -> None:
    settings.OUTBOX_WAKEUP = "poll"
    sync_triggers()
    try:
        with listen(server) as stream:
            store(ALICE, 7)
            told = stream.next()
    finally:
        settings.OUTBOX_WAKEUP = "listen"
        sync_triggers()

    assert (told["type"], told["memory_id"]) == ("vector.stored", 7)


def test_a_client_that_leaves_is_forgotten(server: str) -> None:
    """One connection listens for all clients: those that came and went do not add up."""

    def listening() -> int:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity "
                "WHERE datname = current_database() AND application_name = %s "
                "AND query LIKE 'LISTEN outbox_recorded%%'",
                [SERVER],
            )
            return int(cursor.fetchone()[0])

    for _ in range(3):
        with listen(server):
            wait_until(lambda: listening() >= 1)
        assert listening() <= 1
