"""Kept connections for queries and writes, to a server that closes, hangs or refuses."""

import gzip
import socket
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import httpx
import pytest

from memories.index.client import Session
from memories.index.connections import Connections
from memories.index.upsert import NOT_SENT

FOUND = b'{"ids": [["1"]]}'


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        self.peers: list[tuple[str, int]] = []
        self.refusals = 0
        self.release = Event()
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.peers.append(self.client_address)
        if self.path.startswith("/drop/") and self.server.peers.count(self.client_address) > 1:
            self.close_connection = True
            return
        if self.path == "/hang/query":
            self.server.release.wait(20)
        status = 429 if self.server.refusals else 200
        self.server.refusals = max(0, self.server.refusals - 1)
        packed = gzip.compress(FOUND)
        self.send_response(status)
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(packed)))
        self.end_headers()
        self.wfile.write(packed)
        # Without a word to the client, as a server does that restarts.
        self.close_connection = self.path == "/end/query"

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.release.set()
        server.shutdown()


@pytest.fixture
def session(server: Server) -> Iterator[Session]:
    with closing(Session(server.url, trust_env=False, verify=False, timeout=10)) as session:
        yield session


def ask(session: Session, server: Server, path: str = "/query") -> httpx.Response:
    return session.request("post", server.url + path, content=b"{}")


def test_queries_keep_their_connection_and_read_packed_answers(session: Session, server: Server) -> None:
    answers = [ask(session, server) for _ in range(3)]

    assert [answer.text for answer in answers] == [FOUND.decode()] * 3
    assert all(answer.raise_for_status() for answer in answers)
    assert len(set(server.peers)) == 1


def test_a_connection_that_the_server_closed_is_replaced(session: Session, server: Server) -> None:
    ask(session, server, "/end/query")

    assert ask(session, server).status_code == 200
    assert len(set(server.peers)) == 2


def test_a_query_goes_again_when_the_server_closes_a_kept_connection_instead_of_answering(
    session: Session, server: Server
) -> None:
    ask(session, server)

    assert ask(session, server, "/drop/query").status_code == 200
    assert len(server.peers) == 3


def test_a_write_keeps_its_connection_and_is_sent_once(session: Session, server: Server) -> None:
    ask(session, server)
    ask(session, server, "/upsert")
    assert len(set(server.peers)) == 1

    # Chroma may carry the first one out later, over a newer version. The caller has to know that.
    with pytest.raises(httpx.TransportError) as failed:
        ask(session, server, "/drop/upsert")
    assert len(server.peers) == 3
    assert not isinstance(failed.value, NOT_SENT)


def test_a_query_that_the_server_refuses_for_now_is_tried_again(session: Session, server: Server) -> None:
    server.refusals = 2

    assert ask(session, server).status_code == 200
    assert len(server.peers) == 3


def test_a_hanging_server_and_none_at_all_are_errors_of_the_transport(server: Server) -> None:
    with pytest.raises(httpx.ReadTimeout):
        Connections(server.url, verify=False).ask("POST", f"{server.url}/hang/query", {}, b"", seconds=0.1)

    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}"
    with pytest.raises(NOT_SENT):
        Connections(nobody, verify=False).ask("POST", f"{nobody}/upsert", {}, b"", seconds=5, writes=True)
