"""The erasure of a tenant of 100,000 memories, and what the searches and writes of others take meanwhile.

The tenant has the versions, terms and events of its memories, and a collection of its vectors. Other tenants create and
search at random moments of a seeded schedule, and the erased tenant itself goes on writing: what was stored before the
request must be gone at the end, and what came later must be there. `before` is a time without an erasure. `semantix` is
the erasure, with the ratios of the times during it to those before. `in postgresql` and `in the index` are the times
during its steps there. `limit` is the goal for the ratios.

The memories are stored in batches, and the cluster embeds and indexes them, as in any service. This takes longer than
the erasure. `--memories` chooses another size.
"""

import json
import random
import time
from argparse import Namespace
from contextlib import ExitStack
from threading import Lock, Thread, local
from typing import Any

from benchmarks import costs
from benchmarks.__main__ import Figures
from benchmarks.api import Connection
from benchmarks.mixed import Act, Call, play
from benchmarks.service import cluster, percentiles, say, stores, until_settled, web

ERASED = {"user_id": "erased", "project_id": "benchmark"}
MEMORIES, BATCH = 100_000, 1_000
OTHERS, A_TENANT = 20, 25
PER_SECOND = {"create": 10.0, "search": 10.0, "own": 2.0}
SEED = 1
WINDOW = 5.0
GOAL = 2.0


def run(options: Namespace) -> Figures:
    memories, seconds = (3_000, 5.0) if options.quick else (MEMORIES, 30.0)
    memories = options.memories or memories
    # Writes to Chroma take longer while two processors fill a collection of 100,000 vectors.
    with (
        stores(OUTBOX_MAX_BACKLOG="0", CHROMA_TIMEOUT_SECONDS="60"),
        cluster(),
        web() as url,
        ExitStack() as connections,
    ):
        say(f"{OTHERS} tenants of {A_TENANT} memories ...")
        costs.fill(OTHERS, A_TENANT)
        _fill(memories)
        act, later = _acting(url, connections)
        log = Log(act)
        play(_schedule(WINDOW), act)  # connections are opened, statements are planned
        say(f"{seconds:.0f} s without an erasure ...")
        before = play(_schedule(seconds), act)
        say("The erasure ...")
        during, receipt, spent = _erase(url, log, later)
        until_settled()
        _check(receipt, memories, later)
    return {
        "semantix": {
            "erasure_s": round(spent, 1),
            "memories_per_s": round(memories / spent, 1),
            **_ratios(before, during),
        },
        **{f"before, {kind}": percentiles(before[kind]) for kind in ("create", "search")},
        **{f"during, {kind}": percentiles(during[kind]) for kind in ("create", "search")},
        **log.figures(),
        "limit": {f"{kind}_{name}_ratio": GOAL for kind in ("create", "search") for name in ("p50", "p95")},
    }


def _fill(memories: int) -> None:
    """A tenant with memories that the cluster has embedded and indexed."""
    from django.db import connection

    from memories.records.services import NewMemory, create_memories

    say(f"Storing and indexing {memories:,} memories ...")
    for start in range(0, memories, BATCH):
        size = min(BATCH, memories - start)
        create_memories(NewMemory(**costs.memory(0) | ERASED) for _ in range(size))
    until_settled()
    with connection.cursor() as cursor:
        for table in ("memory_logs", "memory_versions", "memory_terms", "outbox_event"):
            cursor.execute(f"VACUUM ANALYZE {table}")
        # Otherwise PostgreSQL would write the new rows to the disk during the measurement.
        cursor.execute("CHECKPOINT")


def _acting(url: str, connections: ExitStack) -> tuple[Act, dict[int, float]]:
    """What does a call, and the memories that the erased tenant stores meanwhile, with the moment of each request."""
    kept, lock, stored = local(), Lock(), dict[int, float]()

    def act(call: Call) -> None:
        if not hasattr(kept, "connection"):
            with lock:
                kept.connection = connections.enter_context(Connection(url))
        if call.kind == "search":
            kept.connection.ask(costs.search(call.tenant))
        elif call.kind == "create":
            kept.connection.ask(costs.create(call.tenant))
        else:
            sent = time.perf_counter()
            content = json.dumps(costs.memory(0) | ERASED).encode()
            stored[json.loads(kept.connection.ask(("POST", "/memory-logs", content))[1])["id"]] = sent

    return act, stored


def _schedule(seconds: float) -> list[Call]:
    chance = random.Random(SEED)
    calls = []
    for kind, rate in PER_SECOND.items():
        at = chance.expovariate(rate)
        while at < seconds:
            calls.append(Call(at, kind, chance.randrange(OTHERS)))
            at += chance.expovariate(rate)
    return sorted(calls)


class Log:
    """Does the calls, and keeps the milliseconds of each by the part of the erasure during which it began."""

    def __init__(self, act: Act) -> None:
        self.part = "in postgresql"
        self._act = act
        self._times: dict[str, list[float]] = {}

    def act(self, call: Call) -> None:
        part, started = self.part, time.perf_counter()
        self._act(call)
        self._times.setdefault(f"{part}, {call.kind}", []).append(1000 * (time.perf_counter() - started))

    def figures(self) -> dict[str, dict[str, float]]:
        return {name: percentiles(self._times[name]) for name in sorted(self._times) if "own" not in name}


def _erase(
    url: str, log: Log, later: dict[int, float]
) -> tuple[dict[str, list[float]], dict[str, Any], float]:
    """The times of the others, the receipt, and the seconds from the request until it is done."""
    found: dict[str, Any] = {}

    def follow() -> None:
        with Connection(url) as connection:
            started = time.perf_counter()
            asked = connection.ask(("POST", "/erasures", json.dumps(ERASED).encode()))[1]
            found["accepted"] = time.perf_counter()
            receipt = json.loads(asked)
            while receipt["status"] not in ("done", "failed"):
                time.sleep(0.25)
                log.part = f"in {_part_of(receipt['id'])}"
                receipt = json.loads(connection.ask(("GET", f"/erasures/{receipt['id']}", b""))[1])
            found["spent"], found["receipt"] = time.perf_counter() - started, receipt

    times: dict[str, list[float]] = {}
    thread = Thread(target=follow)
    thread.start()
    while thread.is_alive():
        for kind, spent in play(_schedule(WINDOW), log.act).items():
            times.setdefault(kind, []).extend(spent)
    thread.join()
    for id, sent in list(later.items()):
        if sent < found["accepted"]:  # stored before the request was acknowledged: it may be gone
            del later[id]
    return times, found["receipt"], found["spent"]


def _part_of(erasure_id: int) -> str:
    from memories.models import Erasure

    erasure = Erasure.objects.get(pk=erasure_id)
    return "postgresql" if erasure.step or erasure.began_at is None else "the index"


def _check(receipt: dict[str, Any], memories: int, later: dict[int, float]) -> None:
    """The erasure is verified, it removed all memories, and what came after the request is there."""
    from memories.models import MemoryLog

    assert receipt["verified"], receipt
    assert receipt["counts"]["postgresql"]["memories"] >= memories, receipt["counts"]
    there = set(MemoryLog.objects.filter(**ERASED).values_list("id", flat=True))
    assert later.keys() <= there, "a memory that was stored after the request is gone"


def _ratios(before: dict[str, list[float]], during: dict[str, list[float]]) -> dict[str, float]:
    return {
        f"{kind}_{name}_ratio": round(
            percentiles(during[kind])[f"{name}_ms"] / percentiles(before[kind])[f"{name}_ms"], 2
        )
        for kind in ("create", "search")
        for name in ("p50", "p95", "p99")
    }
