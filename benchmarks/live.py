"""500 live clients of one web process: their memory, and the time until they hear of a vector.

50 tenants have ten clients each. 20 transactions a second record 25 events each, and each event goes to the ten clients
of its tenant. Memory is the web process's: with one client when its buffer of the newest events is full
(`rss_mb_before`), with all clients, after each third of the events, and with as many more clients that never read.
Latencies are from the transaction that records a vector to the client. `limit` is one program that LISTENs and reads
the table itself.
"""

import asyncio
import json
import time
from argparse import Namespace
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import psutil
import psycopg
from websockets.asyncio.client import connect

from benchmarks.__main__ import Figures
from benchmarks.service import percentiles, say, stores, web_server

TENANTS, A_TRANSACTION, TRANSACTIONS_PER_S = 50, 25, 20
# More events than the buffer of a process holds: from then on the buffer takes no more memory.
WARM_UP = 12_000


class Heard:
    """What a group of clients heard; `ready` counts those that are connected."""

    def __init__(self) -> None:
        self.ready = 0
        self.milliseconds: list[float] = []

    def take(self, data: str | bytes) -> None:
        self.milliseconds.append(age_ms(datetime.fromisoformat(json.loads(data)["at"])))


Client = Callable[[str, int, Heard], Coroutine[Any, Any, None]]


def run(options: Namespace) -> Figures:
    clients, events = (50, 3_000) if options.quick else (500, 30_000)
    figures: dict[str, dict[str, float]] = {}
    with stores():
        for name, client in (("sse", by_sse), ("websocket", by_websocket)):
            say(f"{clients} clients by {name}, {events} events ...")
            with web_server(WEB_WORKERS="1") as (url, server):
                process = psutil.Process(server.pid)
                figures[f"semantix, {name}"] = asyncio.run(measure(url, process, client, clients, events))
        say("One reader of the table ...")
        return {**figures, "limit": percentiles(one_reader(events // 10))}


async def measure(
    url: str, process: psutil.Process, client: Client, clients: int, events: int
) -> dict[str, float]:
    figures = {"clients": float(clients)}

    def note(when: str) -> None:
        figures[f"rss_mb_{when}"] = round(process.memory_info().rss / 1e6, 1)

    async with connected(client, url, [0]) as first:
        await asyncio.to_thread(record, WARM_UP, unpaced=True)
        await until(lambda: len(first.milliseconds) >= WARM_UP // TENANTS)
        note("before")
        async with connected(client, url, range(clients)) as heard:
            note("connected")
            figures["open_files"] = process.num_fds()
            grown = figures["rss_mb_connected"] - figures["rss_mb_before"]
            figures["kb_per_client"] = round(1000 * grown / clients, 1)
            started, spent = time.perf_counter(), process.cpu_times()
            for third in (1, 2, 3):
                await asyncio.to_thread(record, events // 3)
                await until_heard(heard, third * events // 3 * clients // TENANTS)
                note(f"after_{third * events // 3}")
            figures["cpu_percent"] = cpu_percent(process, spent, time.perf_counter() - started)
            figures |= percentiles(heard.milliseconds)
            async with connected(mute, url, range(clients)):
                await asyncio.to_thread(record, events // 3)
                note("with_as_many_mute")
    return figures


@asynccontextmanager
async def connected(client: Client, url: str, numbers: Iterable[int]) -> AsyncIterator[Heard]:
    heard = Heard()
    tasks = [asyncio.create_task(client(url, number % TENANTS, heard)) for number in numbers]
    try:
        await until(lambda: heard.ready >= len(tasks), tasks)
        yield heard
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def by_sse(url: str, tenant: int, heard: Heard) -> None:
    reader, _writer = await opened(url, tenant)
    async for line in reader:
        if line.startswith(b"data: "):
            heard.take(line[6:])
        heard.ready += line == b": heartbeat\n"


async def mute(url: str, tenant: int, heard: Heard) -> None:
    """Connect, and read nothing after the first heartbeat."""
    reader, _writer = await opened(url, tenant, limit=512)
    await reader.readuntil(b": heartbeat")
    heard.ready += 1
    await asyncio.Event().wait()


async def opened(url: str, tenant: int, limit: int = 2**16) -> Any:
    host = urlsplit(url)
    reader, writer = await asyncio.open_connection(host.hostname, host.port, limit=limit)
    path = f"/memory-logs/events?user_id=user-{tenant}"
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {host.netloc}\r\n\r\n".encode())
    return reader, writer


async def by_websocket(url: str, tenant: int, heard: Heard) -> None:
    address = f"{url.replace('http', 'ws', 1)}/ws/memory-logs/events?user_id=user-{tenant}"
    async with connect(address, compression=None) as socket:
        await socket.recv()
        heard.ready += 1
        async for message in socket:
            if '"heartbeat"' not in message[:30]:
                heard.take(message)


async def until(so: Callable[[], bool], tasks: Iterable["asyncio.Task[None]"] = ()) -> None:
    """Wait for the condition; raise what a client raised."""
    while not so():
        await asyncio.sleep(0.02)
        for task in tasks:
            if task.done():
                task.result()


async def until_heard(heard: Heard, count: int) -> None:
    await until(lambda: len(heard.milliseconds) >= count)


def record(count: int, *, unpaced: bool = False) -> None:
    """Record `vector.stored` events as the cluster does, tenant after tenant."""
    from django.db import connection, transaction

    import outbox

    due = time.perf_counter()
    for start in range(0, count, A_TRANSACTION):
        with transaction.atomic():
            outbox.publish_many(
                outbox.NewEvent(
                    type="vector.stored",
                    aggregatetype="memory_vector",
                    aggregateid=number,
                    payload={
                        "memory_id": number,
                        "user_id": f"user-{number % TENANTS}",
                        "project_id": "live",
                    },
                )
                for number in range(start, start + A_TRANSACTION)
            )
        due += 0 if unpaced else 1 / TRANSACTIONS_PER_S
        time.sleep(max(0.0, due - time.perf_counter()))
    connection.close()


def one_reader(count: int) -> list[float]:
    """The milliseconds until a program with one loop has each event."""
    from django.db import connection

    from memories.live.reader import TYPES
    from outbox.database.channels import RECORDED
    from outbox.queue.stream import HORIZON, READ, horizon, read_parameters, recorded

    parameters = connection.get_connection_params()
    for name in ("cursor_factory", "context", "prepare_threshold"):
        parameters.pop(name, None)
    writer = Thread(target=record, args=[count])
    ages: list[float] = []
    with psycopg.connect(**parameters, autocommit=True) as reading:
        reading.execute(f"LISTEN {RECORDED}")
        position = horizon(reading.execute(HORIZON).fetchone() or ()).position
        writer.start()
        while len(ages) < count:
            for row in reading.execute(READ, read_parameters(TYPES, position, 500)).fetchall():
                event = recorded(row)
                position = event.position
                ages.append(age_ms(event.created_at))
            for _ in reading.notifies(timeout=0.05, stop_after=1):
                pass
    writer.join()
    return ages


def age_ms(at: datetime) -> float:
    return (datetime.now(UTC) - at).total_seconds() * 1000


def cpu_percent(process: psutil.Process, before: Any, seconds: float) -> float:
    after = process.cpu_times()
    spent: float = after.user + after.system - before.user - before.system
    return round(100 * spent / seconds, 1)
