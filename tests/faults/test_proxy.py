"""Each fault of tests.support.proxy, before a server that returns what it gets."""

import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.support.proxy import RESET_AT_CLOSE, Proxy
from tests.support.waiting import wait_until

SECONDS = 30.0


class Echo(socketserver.ThreadingTCPServer):
    """Returns what it gets, and remembers it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.got = b""
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class _Answer(socketserver.BaseRequestHandler):
    server: Echo

    def handle(self) -> None:
        with suppress(ConnectionError):
            while data := self.request.recv(1024):
                self.server.got += data
                with suppress(ConnectionError):  # the proxy has gone: what it sent before is still to be read
                    self.request.sendall(data)


@pytest.fixture
def echo() -> Iterator[Echo]:
    with Echo() as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.02])
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[Proxy]:
    with Proxy(echo.url) as proxy:
        yield proxy


def connect(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=SECONDS)


def test_it_forwards_both_ways(proxy: Proxy) -> None:
    with connect(proxy) as client:
        for word in (b"one", b"two"):
            client.sendall(word)
            assert client.recv(100) == word
    wait_until(lambda: proxy.connections == 0)


def test_a_delay_is_added_in_both_directions(proxy: Proxy) -> None:
    proxy.delay(0.1)
    with connect(proxy) as client:
        started = time.monotonic()
        client.sendall(b"x")
        assert client.recv(100) == b"x"
        assert time.monotonic() - started >= 0.2


def test_silence_holds_everything_until_it_ends(proxy: Proxy, echo: Echo) -> None:
    with connect(proxy) as old:
        old.sendall(b"a")
        assert old.recv(1) == b"a"
        proxy.silence()
        with connect(proxy) as new:
            for client in (old, new):
                client.sendall(b"b")
                client.settimeout(0.2)
                with pytest.raises(TimeoutError):
                    client.recv(1)
            assert echo.got == b"a"
            proxy.heal()
            for client in (old, new):
                client.settimeout(SECONDS)
                assert client.recv(1) == b"b"


def test_a_lost_answer_is_a_reset_after_the_server_got_the_request(proxy: Proxy, echo: Echo) -> None:
    proxy.lose_answers()
    with connect(proxy) as client:
        client.sendall(b"write")
        with pytest.raises(ConnectionResetError):
            client.recv(100)
    assert echo.got == b"write"


def test_a_reset_ends_all_connections_and_new_ones_work(proxy: Proxy) -> None:
    with connect(proxy) as client:
        client.sendall(b"x")
        assert client.recv(100) == b"x"
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            client.recv(100)
    with connect(proxy) as client:
        client.sendall(b"y")
        assert client.recv(100) == b"y"


def test_refusing_ends_at_heal_on_the_same_port(proxy: Proxy) -> None:
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)
    proxy.heal()
    with connect(proxy) as client:
        client.sendall(b"x")
        assert client.recv(100) == b"x"


def test_what_a_client_sent_before_it_gave_up_trickles_to_the_server(proxy: Proxy, echo: Echo) -> None:
    proxy.trickle(bytes_per_second=20_000)
    with connect(proxy) as client:
        client.sendall(b"x" * 100_000)
        # A client that closes without reading its answer resets the connection, and the kernel drops what nobody read.
        wait_until(lambda: proxy.unsent + len(echo.got) >= 100_000)
    proxy.heal()
    wait_until(lambda: proxy.connections == 0, seconds=SECONDS)
    assert len(echo.got) == 100_000


def test_what_a_client_sent_before_it_reset_its_connection_reaches_the_server(
    proxy: Proxy, echo: Echo
) -> None:
    proxy.trickle(bytes_per_second=20_000)
    with connect(proxy) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
        client.sendall(b"x" * 100_000)
        wait_until(lambda: proxy.unsent + len(echo.got) >= 100_000)
    proxy.heal()
    wait_until(lambda: proxy.connections == 0, seconds=SECONDS)
    assert len(echo.got) == 100_000
