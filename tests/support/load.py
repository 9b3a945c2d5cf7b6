"""Clients that send writes to the API at a steady rate, and remember what they were told."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Self

import httpx

# A client that hears nothing for so long calls it a hang.
PATIENCE_SECONDS = 60.0
# A client that was refused comes again after this time, however long Retry-After is: so much is the clock faster.
LONGEST_WAIT_SECONDS = 0.5

# The path and the body of the write with this number.
Request = Callable[[int], tuple[str, dict[str, Any]]]


@dataclass
class Write:
    """A write of the schedule. It is repeated under its Idempotency-Key until it is accepted."""

    number: int
    phase: str
    # Milliseconds until the first answer.
    ms: float = 0.0
    # The HTTP status of each try; 0 for a connection that ended without an answer.
    statuses: list[int] = field(default_factory=list)
    body: dict[str, Any] = field(default_factory=dict)
    hung: bool = False


class Load:
    """Sends `per_second` writes inside the `with`; at its end all are accepted, or `give_up` seconds are over.

    `phase` can be set at any time: the writes that are due from then on belong to it.
    """

    def __init__(
        self, url: str, request: Request, *, per_second: float, clients: int = 16, give_up: float = 120.0
    ) -> None:
        self.phase = ""
        self.writes: list[Write] = []
        self._url = url
        self._request = request
        self._per_second = per_second
        self._give_up = give_up
        self._numbers = count()
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._stopped_at = float("inf")
        self._started = 0.0
        self._threads = [threading.Thread(target=self._send_all, daemon=True) for _ in range(clients)]

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stopped_at = time.monotonic()
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def of(self, phase: str) -> list[Write]:
        return [write for write in self.writes if write.phase == phase]

    @property
    def unaccepted(self) -> list[Write]:
        return [write for write in self.writes if write.statuses[-1:] not in ([201], [202])]

    def _send_all(self) -> None:
        key = f"{id(self)}-{self._started}"
        with httpx.Client(base_url=self._url, timeout=PATIENCE_SECONDS, verify=False) as client:
            while True:
                with self._lock:
                    number = next(self._numbers)
                due = self._started + number / self._per_second
                if self._stopped.wait(max(0.0, due - time.monotonic())):
                    return
                write = Write(number, self.phase)
                self.writes.append(write)
                self._send(client, write, {"Idempotency-Key": f"{key}-{number}"})

    def _send(self, client: httpx.Client, write: Write, headers: dict[str, str]) -> None:
        path, body = self._request(write.number)
        started = time.monotonic()
        while time.monotonic() < self._stopped_at + self._give_up:
            try:
                answer = client.post(path, json=body, headers=headers)
            except httpx.TimeoutException:
                write.hung = True
                write.statuses.append(0)
            except httpx.TransportError:
                write.statuses.append(0)
            else:
                write.statuses.append(answer.status_code)
                if answer.is_success:
                    write.body = answer.json()
            write.ms = write.ms or 1000 * (time.monotonic() - started)
            if write.body or write.statuses[-1] not in (0, 409, 503):
                return
            time.sleep(LONGEST_WAIT_SECONDS)


def percentile(milliseconds: list[float], share: float) -> float:
    """The value below which this share of them is; 0 without any."""
    ordered = sorted(milliseconds)
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 1) if ordered else 0.0
