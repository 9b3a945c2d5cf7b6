"""Chats in three ways: a memory for each turn, turns buffered in Redis, turns buffered in PostgreSQL.

All chats run at once, and each sends its next turn when the last one is acknowledged. `turns_per_s` and the latencies
are those of the acknowledgement. The costs of a turn are counted from the first turn until all turns are saved,
embedded and indexed. The transactions of an idle cluster in the same time are subtracted (`idle_transactions_per_s`).
`limit` is the same requests to a page that does nothing.
"""

import asyncio
import os
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import httpx

from benchmarks.__main__ import Figures
from benchmarks.service import ROOT, cluster, percentiles, redis, say, stores, until_indexed, web

TENANT = {"user_id": "benchmark", "project_id": "chats"}
SAID = "Turn {turn} of chat {chat}: the parcel with the blue lamp came late, and the lamp is fine."


class Way(NamedTuple):
    """How a turn is sent. Without `path` a request does nothing."""

    path: str = ""
    body: Callable[[str, int], dict[str, Any]] = lambda chat, turn: {}
    settings: Mapping[str, str] = {}


def a_memory(chat: str, turn: int) -> dict[str, Any]:
    content = SAID.format(chat=chat, turn=turn)
    return {**TENANT, "task": chat, "agent": "user", "raw_data": {"summary": content, "turn": turn}}


def a_turn(chat: str, turn: int) -> dict[str, Any]:
    return {**TENANT, "role": "user", "content": SAID.format(chat=chat, turn=turn)}


def run(options: Namespace) -> Figures:
    chats, turns = (20, 10) if options.quick else (200, 50)
    with redis() as redis_url, stores():
        ways = {
            "outbox_per_turn": Way("/memory-logs", a_memory),
            "redis_buffer": Way("/conversations/{chat}/turns", a_turn, {"CONVERSATION_REDIS_URL": redis_url}),
            "postgres_buffer": Way("/conversations/{chat}/turns", a_turn),
        }
        return {name: measure(name, way, chats, turns) for name, way in ways.items()} | {
            "limit": measure("limit", Way(), chats, turns)
        }


def measure(name: str, way: Way, chats: int, turns: int) -> dict[str, float]:
    say(f"{name}: {chats} chats of {turns} turns ...")
    with environment(way.settings), web() as url, cluster():
        asyncio.run(talk(url, way, 5, 5, f"warm-up {name}"))
        finish(way)
        idle = idle_transactions_per_s()
        before, started = counters(), time.perf_counter()
        times = asyncio.run(talk(url, way, chats, turns, name))
        acknowledged = time.perf_counter()
        finish(way)
        searchable = time.perf_counter()
        after, ended = counters(), time.perf_counter()
    figures = {"turns_per_s": chats * turns / (acknowledged - started), **percentiles(times)}
    if way.path:
        figures["searchable_after_s"] = round(searchable - acknowledged, 2)
        costs = {cost: after[cost] - before[cost] for cost in after}
        costs["postgres_transactions"] = max(0.0, costs["postgres_transactions"] - idle * (ended - started))
        figures |= {f"{cost}_per_turn": spent / (chats * turns) for cost, spent in costs.items()}
        figures["idle_transactions_per_s"] = idle
    return figures


def idle_transactions_per_s(seconds: float = 5.0) -> float:
    before, started = counters(), time.perf_counter()
    time.sleep(seconds)
    spent = counters()["postgres_transactions"] - before["postgres_transactions"]
    return spent / (time.perf_counter() - started)


async def talk(url: str, way: Way, chats: int, turns: int, name: str) -> list[float]:
    """Run all chats at once; returns the milliseconds until the answer of each turn."""
    limits = httpx.Limits(max_connections=chats, max_keepalive_connections=chats)
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=60) as client:
        spent = await asyncio.gather(
            *(chat(client, way, f"{name} {number}", turns) for number in range(chats))
        )
    return [milliseconds for its in spent for milliseconds in its]


async def chat(client: httpx.AsyncClient, way: Way, name: str, turns: int) -> list[float]:
    spent = []
    for turn in range(turns):
        started = time.perf_counter()
        await sent(client, way, name, turn)
        spent.append((time.perf_counter() - started) * 1000)
    return spent


async def sent(client: httpx.AsyncClient, way: Way, chat: str, turn: int) -> None:
    """Send a turn, and again if the connection broke: a server under too much load closes waiting connections."""
    while True:
        try:
            if way.path:
                answer = await client.post(way.path.format(chat=chat), json=way.body(chat, turn))
            else:
                answer = await client.get("/health/live")
        except httpx.TransportError as error:
            say(f"{error!r}; sent again")
            continue
        answer.raise_for_status()
        return


def finish(way: Way) -> None:
    """Save the buffered turns, and wait until the index holds everything."""
    if way.body is a_turn:
        flush()
    until_indexed()


def flush() -> None:
    """Save all buffered turns."""
    command = [sys.executable, "manage.py", "flush_conversations", "--idle-minutes", "0"]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


# PostgreSQL's statistics are up to a second late.
STATISTICS_DELAY_S = 1.5
COUNTERS = """
SELECT (SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()),
       pg_current_wal_lsn() - '0/0'::pg_lsn,
       (SELECT count(*) FROM outbox_event WHERE type = 'embedding.generated'),
       (SELECT count(*) FROM outbox_event WHERE type = 'vector.stored')
"""


def counters() -> dict[str, float]:
    from django.db import connection

    time.sleep(STATISTICS_DELAY_S)
    with connection.cursor() as cursor:
        cursor.execute(COUNTERS)
        names = ("postgres_transactions", "wal_bytes", "embeddings", "chroma_writes")
        return dict(zip(names, map(float, cursor.fetchone()), strict=True))


@contextmanager
def environment(settings: Mapping[str, str]) -> Iterator[None]:
    """The environment of the processes that are started inside."""
    os.environ |= settings
    try:
        yield
    finally:
        for name in settings:
            os.environ.pop(name, None)
