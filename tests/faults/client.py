"""A client of the REST API that records what it was told."""

import json
import time
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from random import Random
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from memories.tenants import Tenant
from tests.faults.histories import CHANGE, CREATE, DELETE, READ, SEARCH, Operation, Outcome

# How often each operation is chosen.
CHOICES = {CREATE: 20, CHANGE: 35, DELETE: 8, READ: 22, SEARCH: 15}
# More than a history has memories, so that a search may return all of them.
LIMIT = 100
# Seconds for an answer, and for the tries of a create whose answer did not come.
ANSWER_SECONDS, TRY_SECONDS = 30.0, 60.0
REFUSALS = {429, 503}

Answer = tuple[int, Any]


class Memories:
    """The memories of a history that its clients know of: the task last seen of each."""

    def __init__(self, tenant: Tenant) -> None:
        self.tenant = tenant
        self.tasks: dict[int, str] = {}


class Client:
    """One of the clients of a history, with a connection of its own."""

    def __init__(self, url: str, memories: Memories, chance: Random) -> None:
        self.memories, self.chance = memories, chance
        self.told: list[Operation] = []
        self.asked = 0
        self._address = urlsplit(url).netloc
        self._connection: HTTPConnection | None = None

    def work(self, count: int) -> None:
        for _ in range(count):
            self.act(self.choose())
        self.disconnect()

    def choose(self) -> str:
        """The kind of the next request; a create where the tenant has nothing yet."""
        [kind] = self.chance.choices(list(CHOICES), list(CHOICES.values()))
        return kind if self.memories.tasks else CREATE

    def act(self, kind: str) -> None:
        """One request of this kind, about a memory that the clients of the history know of."""
        tasks = self.memories.tasks
        memory = self.chance.choice(list(tasks)) if tasks else 0
        ask = {
            CREATE: self.create,
            CHANGE: self.change,
            DELETE: self.delete,
            READ: self.read,
            SEARCH: self.search,
        }[kind]
        ask(memory)

    def create(self, _memory: int) -> None:
        """Tries with one Idempotency-Key until it is told."""
        task, key = self.task(), uuid4().hex
        body = {**self.memories.tenant._asdict(), "task": task, "agent": "ada"}
        began = time.monotonic()
        while True:
            status, answer = self.ask("POST", "/memory-logs", body, key=key)
            if status == 201 or time.monotonic() > began + TRY_SECONDS:
                break
            time.sleep(0.05)
        memory, version = (answer["id"], answer["version"]) if status == 201 else (0, 0)
        self.note(CREATE, began, status, memory, version, task)
        if memory:
            self.memories.tasks[memory] = task

    def change(self, memory: int) -> None:
        task, began = self.task(), time.monotonic()
        status, answer = self.ask("PATCH", f"/memory-logs/{memory}", {"task": task})
        self.note(CHANGE, began, status, memory, answer.get("version", 0), task)
        if status == 200:
            self.memories.tasks[memory] = task

    def delete(self, memory: int) -> None:
        began = time.monotonic()
        status, _ = self.ask("DELETE", f"/memory-logs/{memory}")
        self.note(DELETE, began, status, memory)

    def read(self, memory: int) -> None:
        began = time.monotonic()
        status, answer = self.ask("GET", f"/memory-logs/{memory}")
        self.note(READ, began, status, memory, answer.get("version", 0), answer.get("task", ""))

    def search(self, memory: int) -> None:
        """For a text that the memory had: the memory must be found by its words unless it is deleted."""
        known, began = set(self.memories.tasks), time.monotonic()
        body = {**self.memories.tenant._asdict(), "query": self.memories.tasks[memory], "limit": LIMIT}
        status, answer = self.ask("POST", "/memory-logs/search", body)
        if status != 200:
            self.note(SEARCH, began, status, memory)
            return
        found = {hit["memory_log_id"]: hit["metadata"] for hit in answer}
        for id, metadata in found.items():
            self.note(SEARCH, began, 200, id, metadata["version"], metadata["task"])
        for id in known - found.keys():
            self.note(SEARCH, began, 404, id)

    def task(self) -> str:
        return f"Fix the login of service {uuid4().hex}"

    def note(
        self, kind: str, began: float, status: int, memory: int, version: int = 0, task: str = ""
    ) -> None:
        outcome = {404: Outcome.ABSENT}.get(status, Outcome.DONE if status < 400 else Outcome.UNKNOWN)
        self.told.append(Operation(kind, began, time.monotonic(), outcome, memory, version, task))

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None, *, key: str = "") -> Answer:
        """The status and the body. The status is 503 where no answer came."""
        self.asked += 1
        headers = {"Content-Type": "application/json"} | ({"Idempotency-Key": key} if key else {})
        content = json.dumps(body).encode() if body is not None else None
        try:
            self._connection = self._connection or HTTPConnection(self._address, timeout=ANSWER_SECONDS)
            self._connection.request(method, path, content, headers)
            response = self._connection.getresponse()
            answer = response.read()
        except (OSError, HTTPException):
            self.disconnect()
            time.sleep(0.05)
            return 503, {}
        if response.status >= 500 and response.status not in REFUSALS:
            raise AssertionError(f"{method} {path}: {response.status} {answer.decode(errors='replace')}")
        return response.status, json.loads(answer) if answer else {}

    def disconnect(self) -> None:
        if self._connection:
            with suppress(OSError):
                self._connection.close()
        self._connection = None
