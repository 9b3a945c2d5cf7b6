"""A hosted Chroma: a real server behind a gate that asks for a key and refuses what is above the quotas of a host."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import urlsplit

import httpx

KEY = "ck-secret"
TENANT, DATABASE = "acme", "memories"
# As https://docs.trychroma.com/cloud/quotas-limits lists them, written down here once more on purpose.
RECORDS, CONCURRENT = 300, 10
KEYS, KEY_BYTES, VALUE_BYTES, PREDICATES = 32, 36, 4_096, 8
DOCUMENT_BYTES, ID_BYTES, NAME_BYTES = 16_384, 128, 128
# What a real server answered to readers of a collection that another client made and deleted again and again.
MET_A_DELETION = b'{"error":"ChromaError","message":"Missing field: [Missing metadata segment]"}'


class Gate(ThreadingHTTPServer):
    """Passes requests with the key on to the server, and notes what it refuses."""

    daemon_threads = True

    def __init__(self, server_url: str, *, rows: int) -> None:
        self.server_url = server_url
        # Documents that one call may write or return.
        self.rows = rows
        self.refused: list[str] = []
        self.calls: Counter[str] = Counter()
        self.running: Counter[tuple[str, str]] = Counter()
        self.most_at_once = 0
        # The next call of these operations is answered as one that met the deletion of its collection.
        self.meeting_a_deletion: set[str] = set()
        self.lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def hosted_chroma(server_url: str, *, rows: int = RECORDS) -> Iterator[Gate]:
    """Make the tenant and the database in the server, and open the gate before it.

    With fewer `rows` in a call, a test needs fewer of them to be above that.
    """
    with httpx.Client(base_url=f"{server_url}/api/v2", trust_env=False) as server:
        server.post("/tenants", json={"name": TENANT})
        server.post(f"/tenants/{TENANT}/databases", json={"name": DATABASE})
    gate = Gate(server_url, rows=rows)
    thread = threading.Thread(target=gate.serve_forever, daemon=True)
    thread.start()
    try:
        yield gate
    finally:
        gate.shutdown()
        thread.join()
        gate.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Gate
    quiet: ClassVar[tuple[str, ...]] = (
        "transfer-encoding",
        "connection",
        "content-length",
        "content-encoding",
    )

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("X-Chroma-Token") != KEY:
            self._refuse(403, "Permission denied: no valid key")
            return
        collection, operation = _named(self.path)
        kind = (collection, "write" if operation in ("upsert", "add", "update", "delete") else "read")
        with self.server.lock:
            self.server.calls[operation] += 1
            self.server.running[kind] += 1
            at_once = self.server.running[kind] if collection else 0
            self.server.most_at_once = max(self.server.most_at_once, at_once)
        try:
            reason = _broken(operation, json.loads(body) if body else {}, self.server.rows)
            if operation in self.server.meeting_a_deletion:
                self.server.meeting_a_deletion.discard(operation)
                self._send(412, MET_A_DELETION)
            elif at_once > CONCURRENT:
                self._refuse(429, f"{at_once} concurrent calls of a collection")
            elif reason:
                self._refuse(422, f"Quota exceeded: {reason}")
            else:
                self._forward(body)
        finally:
            with self.server.lock:
                self.server.running[kind] -= 1

    do_GET = do_POST = do_PUT = do_DELETE = _pass_on

    def _forward(self, body: bytes) -> None:
        headers = {"Content-Type": self.headers.get("Content-Type") or "application/json"}
        answer = httpx.request(
            self.command, self.server.server_url + self.path, content=body, headers=headers, trust_env=False
        )
        self._send(answer.status_code, answer.content)

    def _refuse(self, status: int, reason: str) -> None:
        self.server.refused.append(reason)
        self._send(status, json.dumps({"error": "QuotaExceeded", "message": reason}).encode())

    def _send(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def _broken(operation: str, body: dict[str, Any], rows: int) -> str:
    """The quotas that a request exceeds, if any."""
    ids = body.get("ids") or []
    checks = {
        "records in a write": operation in ("upsert", "add", "update", "delete") and len(ids) > rows,
        "results": (operation == "query" and body["n_results"] > rows)
        or (operation == "get" and (body.get("limit") or len(ids)) > rows),
        "bytes of an id": any(len(id.encode()) > ID_BYTES for id in ids),
        "bytes of a document": any(
            len((d or "").encode()) > DOCUMENT_BYTES for d in body.get("documents") or []
        ),
        "predicates": _predicates(body.get("where")) > PREDICATES,
        "bytes of a name": operation == "collections" and len(body.get("name", "").encode()) > NAME_BYTES,
    }
    broken = [name for name, is_broken in checks.items() if is_broken]
    return ", ".join(
        broken + [reason for one in body.get("metadatas") or [] for reason in _of_metadata(one or {})]
    )


def _of_metadata(metadata: dict[str, Any]) -> Iterator[str]:
    if len(metadata) > KEYS:
        yield "keys of a document's metadata"
    if any(len(key.encode()) > KEY_BYTES for key in metadata):
        yield "bytes of a key"
    if any(len("".join(_texts(value)).encode()) > VALUE_BYTES for value in metadata.values()):
        yield "bytes of a value"


def _texts(value: Any) -> list[str]:
    return [text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str)]


def _predicates(where: Any) -> int:
    if not where:
        return 0
    [(name, value)] = where.items()
    return sum(map(_predicates, value)) if name in ("$and", "$or") else 1


def _named(path: str) -> tuple[str, str]:
    """The collection and the operation that a path names."""
    parts = urlsplit(path).path.split("/")
    if "collections" not in parts:
        return "", parts[-1]
    rest = parts[parts.index("collections") + 1 :]
    return (rest[0], rest[1]) if len(rest) > 1 else ("", "collections")
