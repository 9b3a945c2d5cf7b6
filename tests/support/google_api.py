"""A local server that speaks the wire format of Google's batchEmbedContents. The client libraries are real."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

from memories.embeddings.hashing import HashingBackend


class GoogleAPI:
    """Answers with vectors made from the words of each text, or with what a test prepared."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self._answer: tuple[int, object, Mapping[str, str]] | None = None
        self._refused = ("", 400)
        self.may_answer = Event()
        self.may_answer.set()
        self.url = ""

    def fails_with(
        self,
        status: int,
        message: str = "",
        *,
        details: list[dict[str, str]] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        error = {"error": {"code": status, "message": message, "details": details or []}}
        self.answers_with(error, status=status, headers=headers)

    def answers_with(
        self, body: object, *, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        self._answer = (status, body, headers or {})

    def recovers(self) -> None:
        self._answer = None

    def refuses(self, word: str, *, status: int = 400) -> None:
        """Refuse every batch in which a text has this word."""
        self._refused = (word, status)

    @property
    def texts(self) -> list[str]:
        return [text_of(one) for request in self.requests for one in request["requests"]]

    def answer_to(self, request: dict[str, Any]) -> tuple[int, object, Mapping[str, str]]:
        word, status = self._refused
        if word and any(word in text_of(one) for one in request["requests"]):
            return status, {"error": {"code": status, "message": "Unable to process the input"}}, {}
        return self._answer or (200, {"embeddings": [embedding(one) for one in request["requests"]]}, {})


def text_of(request: dict[str, Any]) -> str:
    return str(request["content"]["parts"][0]["text"])


def embedding(request: dict[str, Any]) -> dict[str, list[float]]:
    vector = HashingBackend(dimensions=request["outputDimensionality"]).embed_query(text_of(request))
    return {"values": [3 * value for value in vector.tolist()]}  # Google does not normalise either


class Handler(BaseHTTPRequestHandler):
    api: GoogleAPI
    wbufsize = -1  # headers and body in one packet

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.api.requests.append({"path": self.path, **request})
        self.api.keys.append(self.headers["x-goog-api-key"])
        self.api.may_answer.wait(timeout=60)
        status, body, headers = self.api.answer_to(request)
        content = json.dumps(body).encode()
        with suppress(ConnectionError):  # in some tests the client gives up first
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


@contextmanager
def google_api() -> Iterator[GoogleAPI]:
    api = GoogleAPI()
    with ThreadingHTTPServer(("127.0.0.1", 0), type("BoundHandler", (Handler,), {"api": api})) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        api.url = f"http://127.0.0.1:{server.server_port}"
        yield api
        api.may_answer.set()
        server.shutdown()
