"""A proxy before Chroma that takes its time over each write: so many seconds for each kilobyte."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import httpx


class SlowChroma:
    """Runs inside the `with`. A write that the client gave up on is carried out all the same, as by Chroma itself."""

    def __init__(self, url: str, *, seconds_per_kilobyte: float) -> None:
        self.seconds_per_kilobyte = seconds_per_kilobyte
        self.in_hand = 0
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            # HTTP/1.0, this class's default: no connection stays open, which the end would wait for.
            def _forward(self) -> None:
                with outer._counted():
                    self._pass_on()

            def _pass_on(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.path.endswith("/upsert"):
                    time.sleep(len(body) / 1000 * outer.seconds_per_kilobyte)
                headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
                answer = httpx.request(
                    self.command, url + self.path, content=body, headers=headers, timeout=60
                )
                try:
                    self.send_response(answer.status_code)
                    self.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
                    self.send_header("Content-Length", str(len(answer.content)))
                    self.end_headers()
                    self.wfile.write(answer.content)
                except OSError:
                    self.close_connection = True  # the client has given up

            do_GET = do_POST = do_PUT = do_DELETE = _forward

            def log_message(self, *_arguments: Any) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = False  # what is late is carried out before the end
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self._lock:
            self.in_hand += 1
        try:
            yield
        finally:
            with self._lock:
                self.in_hand -= 1

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
