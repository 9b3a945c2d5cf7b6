"""Who may follow live updates, for how long, and with how many streams."""

from collections.abc import Iterator
from contextlib import ExitStack
from threading import Event, Thread

import httpx
import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from memories.models import APIKey
from memories.tenants import Tenant
from tests.support.keys import new_key
from tests.support.live import attend, listen, socket_url, store
from tests.support.processes import environment
from tests.support.waiting import wait_until
from tests.support.web_server import WebServer

pytestmark = pytest.mark.django_db(transaction=True)

ALICE = Tenant("alice", "web")
SERVER = "server-of-live-admission"
QUICK = {"LIVE_HEARTBEAT_SECONDS": "0.2", "API_KEY_CACHE_SECONDS": "0"}


@pytest.fixture(scope="module")
def server(django_db_setup: None) -> Iterator[str]:
    required = {"SEMANTIX_AUTH": "required", "LIVE_STREAMS_PER_KEY": "2", "PGAPPNAME": SERVER}
    with WebServer(**environment() | required | QUICK) as running:
        yield running.url


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture
def events_flow() -> Iterator[None]:
    """Alice's memories reach the index one after the other, so that her streams are never quiet."""
    stop = Event()

    def pour() -> None:
        try:
            while not stop.wait(0.01):
                store(ALICE)
        finally:
            connection.close()

    thread = Thread(target=pour)
    thread.start()
    yield
    stop.set()
    thread.join()


@pytest.mark.usefixtures("events_flow")
class TestWhileEventsFlow:
    def test_heartbeats_come_by_the_clock(self, server: str) -> None:
        with listen(server, headers=bearer(new_key(*ALICE))) as stream:
            wait_until(lambda: stream.message() is None)
            wait_until(lambda: stream.message() is None)

    def test_a_revoked_key_ends_its_stream(self, server: str) -> None:
        with listen(server, headers=bearer(new_key(*ALICE))) as stream:
            stream.next()
            APIKey.objects.update(revoked=True)

            with pytest.raises(ConnectionError):
                wait_until(lambda: stream.message() and False)

    def test_a_revoked_key_ends_its_socket(self, server: str) -> None:
        with attend(server, headers=bearer(new_key(*ALICE))) as socket:
            socket.next()
            APIKey.objects.update(revoked=True)

            with pytest.raises(ConnectionClosed) as closed:
                wait_until(lambda: socket.message() and False)

        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4401


def session() -> Client:
    """A superuser who is logged in to the admin."""
    client = Client()
    client.force_login(User.objects.create_superuser("olga"))
    return client


def cookies(client: Client) -> dict[str, str]:
    return {settings.SESSION_COOKIE_NAME: client.cookies[settings.SESSION_COOKIE_NAME].value}


class TestSessions:
    def test_a_superusers_session_hears_every_tenant(self, server: str) -> None:
        with listen(server, cookies=cookies(session())) as stream:
            store(ALICE, 7)

            assert stream.next()["memory_id"] == 7

    def test_a_logout_ends_the_stream(self, server: str) -> None:
        client = session()
        with listen(server, cookies=cookies(client)) as stream:
            client.logout()

            with pytest.raises(ConnectionError):
                wait_until(lambda: stream.message() and False)

    def test_a_logout_ends_the_socket(self, server: str) -> None:
        client = session()
        cookie = f"{settings.SESSION_COOKIE_NAME}={cookies(client)[settings.SESSION_COOKIE_NAME]}"
        with attend(server, headers={"Cookie": cookie}) as socket:
            client.logout()

            with pytest.raises(ConnectionClosed):
                wait_until(lambda: socket.message() and False)

    def test_a_user_who_is_no_longer_a_superuser_hears_nothing_more(self, server: str) -> None:
        with listen(server, cookies=cookies(session())) as stream:
            User.objects.update(is_superuser=False)

            with pytest.raises(ConnectionError):
                wait_until(lambda: stream.message() and False)


class TestLimit:
    """LIVE_STREAMS_PER_KEY is 2 here."""

    def test_a_key_may_open_so_many_streams_and_another_key_is_not_concerned(self, server: str) -> None:
        alice, bob = bearer(new_key(*ALICE)), bearer(new_key("bob"))
        with listen(server, headers=alice), attend(server, headers=alice):
            refused = httpx.get(f"{server}/memory-logs/events", headers=alice, timeout=60)
            assert refused.status_code == 429
            assert refused.headers["Content-Type"] == "application/problem+json"
            assert refused.json()["type"] == "urn:semantix:problem:too-many-streams"
            assert "LIVE_STREAMS_PER_KEY" in refused.json()["detail"]
            assert int(refused.headers["Retry-After"]) > 0

            with listen(server, headers=bob):
                pass

    def test_a_socket_beyond_the_limit_is_closed_with_4429(self, server: str) -> None:
        alice = bearer(new_key(*ALICE))
        with ExitStack() as streams:
            for _ in range(2):
                streams.enter_context(listen(server, headers=alice))
            socket = streams.enter_context(
                connect(socket_url(server), additional_headers=alice, open_timeout=60)
            )
            with pytest.raises(ConnectionClosed) as closed:
                socket.recv(timeout=60)

        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4429

    def test_a_stream_that_ends_makes_room(self, server: str) -> None:
        alice = bearer(new_key(*ALICE))
        for _ in range(3):
            with listen(server, headers=alice), attend(server, headers=alice):
                pass
            wait_until(lambda: self._is_free(server, alice))

    @staticmethod
    def _is_free(server: str, headers: dict[str, str]) -> bool:
        with httpx.stream("GET", f"{server}/memory-logs/events", headers=headers, timeout=60) as answer:
            return answer.status_code == 200


def test_streams_do_not_each_keep_a_connection_to_the_database(server: str) -> None:
    with ExitStack() as streams:
        for number in range(12):
            streams.enter_context(listen(server, headers=bearer(new_key(f"user-{number}"))))
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity "
                "WHERE datname = current_database() AND application_name = %s",
                [SERVER],
            )
            [open] = cursor.fetchone()

    # The tail and the readers have two each, the thread that checks keys has one, and the web threads have a few.
    assert open <= 8


class TestOrigin:
    def code(self, server: str, origin: str) -> int:
        """The status of the handshake of a page."""
        try:
            headers = bearer(new_key(*ALICE))
            with connect(
                socket_url(server), additional_headers=headers, origin=Origin(origin), open_timeout=60
            ):
                return 101
        except InvalidStatus as refused:
            return refused.response.status_code

    def test_a_page_of_this_service_opens_a_socket(self, server: str) -> None:
        assert self.code(server, server) == 101

    @pytest.mark.parametrize(
        "origin", ["http://127.0.0.1:1", "http://127.0.0.1", "https://evil.example", "null"]
    )
    def test_a_page_of_another_port_or_host_does_not(self, server: str, origin: str) -> None:
        assert self.code(server, origin) == 403
