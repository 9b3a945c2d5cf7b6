"""Clients of live updates, and what the indexer records for them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from socket import SHUT_RDWR
from typing import Any
from urllib.parse import urlencode

import httpx
from django.db import transaction
from websockets.sync.client import ClientConnection, connect

import outbox
from memories.tenants import Tenant


def store(tenant: Tenant, memory_id: int = 1, *, count: int = 1) -> None:
    """Record what the indexer records when the index has a memory, for `count` ids from `memory_id` on."""
    with transaction.atomic():
        outbox.publish_many(
            outbox.NewEvent(
                type="vector.stored",
                aggregatetype="memory_vector",
                aggregateid=number,
                payload={"memory_id": number, "user_id": tenant.user_id, "project_id": tenant.project_id},
            )
            for number in range(memory_id, memory_id + count)
        )


class Stream:
    """A client of server-sent events. `position`: the id of the last message."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.iter_lines()
        self.position = ""
        # What came before the first heartbeat.
        self.early: list[dict[str, Any]] = []

    def next(self) -> dict[str, Any]:
        """The data of the next event. It skips heartbeats: an open transaction on the server, also one of another
        test's database, holds back what was published after it began."""
        if self.early:
            return self.early.pop(0)
        while (data := self.message()) is None:
            pass
        return data

    def message(self) -> dict[str, Any] | None:
        """The data of the next event, or None for a heartbeat. Raises ConnectionError when the stream ends."""
        data: dict[str, Any] | None = None
        for line in self._lines:
            if line.startswith("id: "):
                self.position = line[4:]
            elif line.startswith("data: "):
                data = json.loads(line[6:])
            elif not line and self.position:
                return data
        raise ConnectionError("the stream ended")


@contextmanager
def listen(
    url: str,
    *,
    after: str = "",
    headers: dict[str, str] | None = None,
    cookies: dict[str, str] | None = None,
    **query: str,
) -> Iterator[Stream]:
    """An open stream of server-sent events. From its first heartbeat on nothing is missed."""
    given = {**(headers or {}), **({"Last-Event-ID": after} if after else {})}
    with (
        httpx.Client(cookies=cookies, timeout=60, verify=False) as client,
        client.stream("GET", f"{url}/memory-logs/events", params=query, headers=given) as response,
    ):
        assert response.status_code == 200, response.read()
        stream = Stream(response)
        while (message := stream.message()) is not None:
            stream.early.append(message)
        yield stream


class Socket:
    """A client of a WebSocket. `position`: the id of the last message."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self.position = ""
        # What came before the first heartbeat.
        self.early: list[dict[str, Any]] = []

    def next(self) -> dict[str, Any]:
        """The next message that is no heartbeat."""
        if self.early:
            return self.early.pop(0)
        while (message := self.message())["type"] == "heartbeat":
            pass
        return message

    def message(self) -> dict[str, Any]:
        """The next message. Raises websockets.exceptions.ConnectionClosed."""
        found: dict[str, Any] = json.loads(self._connection.recv(timeout=60))
        self.position = found["id"]
        return found

    def cut_off(self) -> None:
        """End the connection without a word."""
        self._connection.socket.shutdown(SHUT_RDWR)


def socket_url(url: str, **query: str) -> str:
    return f"{url.replace('http', 'ws')}/ws/memory-logs/events?{urlencode(query)}"


@contextmanager
def attend(url: str, *, headers: dict[str, str] | None = None, **query: str) -> Iterator[Socket]:
    """An open WebSocket."""
    with connect(socket_url(url, **query), additional_headers=headers, open_timeout=60) as connection:
        socket = Socket(connection)
        while (message := socket.message())["type"] != "heartbeat":
            socket.early.append(message)
        yield socket
