"""A mixed load over 80 tenants: 42 creates, 32 searches and 31 changes or deletions a second, for two minutes.

Requests come at random moments of a seeded schedule, whatever the service does; an answer's time counts from its moment
in the schedule. `searchable` is the time from the event of a create, change or deletion until the event that says that
the index has followed. `raw_chroma` is a Chroma server alone, which gets the same calls at the same moments: upserts,
deletions and queries of vectors that are at hand. `cpu_ms` are the costs of one request of each kind, as `costs`
measures them, before the load; the percentages are shares of a core under the load. `limit` has the goals.

`--tenants N` spreads the load over so many tenants. With `--web-servers` or `--clusters` it comes again, over
other tenants, to so many of each. `of_several` is that load; its percentages are sums. `retried` are events that were
handed out more than once, `unconfirmed` changes that the index has not followed, `confirmations` the events that say
that it has, for each such change.
"""

import json
import random
import time
from argparse import Namespace
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path
from threading import Lock, local
from typing import Any, NamedTuple

import numpy as np
import psutil

from benchmarks import costs
from benchmarks.__main__ import Figures
from benchmarks.api import Connection
from benchmarks.processor import Processor, percent
from benchmarks.service import cluster, percentiles, say, stores, until_settled, web_server
from semantix.allinone import chroma

TENANTS, LEAST_OF_A_TENANT = 80, 5
PER_SECOND = {"create": 42.0, "search": 32.0, "change": 21.0, "delete": 10.0}
SEED = 1
# Enough that no request waits for a connection while the service keeps up.
CONNECTIONS = 16
DIMENSIONS = 768
GOAL = {"searchable_p50_ms": 150.0, "searchable_p99_ms": 1_500.0}

# The events that begin and end the way of each kind into the index.
STEPS = {
    "memory_log.stored": "create",
    "memory_log.updated": "change",
    "memory_log.deleted": "delete",
}
DONE = {"vector.stored": {"create", "change"}, "vector.deleted": {"delete"}}


class Call(NamedTuple):
    """A request of the schedule, `at` seconds after its start."""

    at: float
    kind: str
    tenant: int


# Does a call, and returns when it is answered.
Act = Callable[[Call], object]


def run(options: Namespace) -> Figures:
    seconds, requests, a_tenant = (8.0, 20, 12) if options.quick else (120.0, 200, 60)
    tenants = options.tenants or TENANTS
    a_tenant = max(LEAST_OF_A_TENANT, a_tenant * TENANTS // tenants)
    calls = schedule(seconds, tenants)
    with stores(OUTBOX_MAX_BACKLOG="0") as folder:
        with cluster() as workers, web_server() as (url, web):
            from django.conf import settings

            processor = Processor.of_service(web=web.pid, cluster=workers.pid, chroma_url=settings.CHROMA_URL)
            figures = service(url, processor, calls, requests, a_tenant, tenants)
            figures["semantix"]["tenants"] = tenants
            if options.web_servers > 1 or options.clusters > 1:
                figures |= several(
                    options, {"web": web.pid, "cluster": workers.pid}, url, calls, a_tenant, tenants
                )
        figures |= raw_chroma(folder, calls, a_tenant, tenants)
    return figures | {"limit": GOAL}


def schedule(seconds: float, tenants: int = TENANTS) -> list[Call]:
    """The same calls each time, in the order of their moments."""
    chance = random.Random(SEED)
    return sorted(
        Call(at, kind, chance.randrange(tenants))
        for kind, rate in PER_SECOND.items()
        for at in _moments(chance, rate, seconds)
    )


def _moments(chance: random.Random, rate: float, seconds: float) -> Iterator[float]:
    at = chance.expovariate(rate)
    while at < seconds:
        yield at
        at += chance.expovariate(rate)


def service(
    url: str, processor: Processor, calls: list[Call], requests: int, a_tenant: int, tenants: int
) -> dict[str, dict[str, float]]:
    say(f"{tenants} tenants of {a_tenant} memories ...")
    ids = costs.fill(tenants, a_tenant)
    own = 2 * (requests + costs.WARM_UP)
    spent = costs.costs(url, processor, ids[:own], requests, idle_seconds=5, tenants=tenants)
    say(f"{len(calls)} requests in {calls[-1].at:.0f} s ...")
    with ExitStack() as connections:
        act = acting([url], ids[own:], connections)
        first = _newest_event()
        before, started = processor.read(), time.perf_counter()
        times = play(calls, act)
        after, seconds = processor.read(), time.perf_counter() - started
    until_settled()
    fresh = searchable(first)
    figures = {"semantix": _shares(before, after, seconds) | searchable_figures(flat(fresh.values()))}
    for kind in PER_SECOND:
        cpu = {name: value for name, value in spent[kind].items() if name.endswith("cpu_ms")}
        figures[f"semantix, {kind}"] = {
            **_answered(times[kind], seconds),
            **searchable_figures(fresh.get(kind, [])),
            **cpu,
        }
    return figures


def several(
    options: Namespace, pids: dict[str, int], url: str, calls: list[Call], a_tenant: int, tenants: int
) -> dict[str, dict[str, float]]:
    """The figures of the same calls, over other tenants, to so many web servers and clusters. One of each runs."""
    from django.conf import settings

    say(f"{options.web_servers} web servers and {options.clusters} clusters, {tenants} other tenants ...")
    with ExitStack() as stack:
        servers = [stack.enter_context(web_server()) for _ in range(options.web_servers - 1)]
        workers = [stack.enter_context(cluster()) for _ in range(options.clusters - 1)]
        one = Processor.of_service(**pids, chroma_url=settings.CHROMA_URL)
        pids |= {f"web_{number}": child.pid for number, (_, child) in enumerate(servers)}
        pids |= {f"cluster_{number}": child.pid for number, child in enumerate(workers)}
        processor = Processor({**one.parts, **{name: psutil.Process(pid) for name, pid in pids.items()}})
        ids = costs.fill(tenants, a_tenant, first=tenants)
        act = acting([url, *(other for other, _ in servers)], ids, stack)
        first = _newest_event()
        before, started = processor.read(), time.perf_counter()
        times = play([call._replace(tenant=call.tenant + tenants) for call in calls], act)
        after, seconds = processor.read(), time.perf_counter() - started
        until_settled()
        fresh = searchable(first)
    shares = _shares(_summed(before), _summed(after), seconds)
    figures = {"of_several": shares | searchable_figures(flat(fresh.values())) | _doubled(first, fresh)}
    return figures | {f"of_several, {kind}": _answered(times[kind], seconds) for kind in PER_SECOND}


def _summed(seconds: dict[str, float]) -> dict[str, float]:
    """The seconds of processes of the same kind together: `web_0` belongs to `web`."""
    sums: dict[str, float] = defaultdict(float)
    for name, spent in seconds.items():
        sums[name.partition("_")[0]] += spent
    return dict(sums)


def _doubled(first: int, fresh: dict[str, list[float]]) -> dict[str, float]:
    from outbox.models import Event

    events = Event.objects.filter(id__gt=first)
    changes, followed = events.filter(type__in=STEPS).count(), len(flat(fresh.values()))
    return {
        "retried": events.filter(attempts__gt=1).count(),
        "unconfirmed": changes - followed,
        "confirmations": round(events.filter(type__in=DONE).count() / changes, 3),
    }


def acting(urls: list[str], ids: list[int], connections: ExitStack) -> Act:
    """Each thread has a connection of its own, to the web servers in turns.

    No memory is changed twice in a row, or after it was deleted.
    """
    kept, lock, next_url = local(), Lock(), cycle(urls)
    changing, deleting = deque(ids[::2]), deque(ids[1::2])

    def act(call: Call) -> None:
        if not hasattr(kept, "connection"):
            with lock:
                kept.connection = connections.enter_context(Connection(next(next_url)))
        match call.kind:
            case "create":
                answer = kept.connection.ask(costs.create(call.tenant))[1]
                deleting.append(json.loads(answer)["id"])
            case "search":
                kept.connection.ask(costs.search(call.tenant))
            case "change":
                memory_id = changing.popleft()
                kept.connection.ask(costs.change(memory_id))
                changing.append(memory_id)
            case "delete":
                kept.connection.ask(costs.delete(deleting.popleft()))

    return act


def play(calls: list[Call], act: Act) -> dict[str, list[float]]:
    """Do each call at its moment; returns the milliseconds from there until its answer, by kind."""
    times: dict[str, list[float]] = defaultdict(list)
    started = time.perf_counter()

    def do(call: Call) -> None:
        time.sleep(max(0.0, call.at - (time.perf_counter() - started)))
        act(call)
        times[call.kind].append(1000 * (time.perf_counter() - started - call.at))

    # The threads take the calls in their order.
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for done in [pool.submit(do, call) for call in calls]:
            done.result()
    return times


def searchable(first: int) -> dict[str, list[float]]:
    """The milliseconds until the index has followed, by kind, of all events after `first`."""
    from outbox.models import Event

    events = Event.objects.filter(id__gt=first, type__in=[*STEPS, *DONE]).order_by("id")
    begun: dict[str, list[tuple[str, Any]]] = defaultdict(list)
    fresh: dict[str, list[float]] = defaultdict(list)
    for type, memory_id, at in events.values_list("type", "aggregateid", "created_at"):
        if type in STEPS:
            begun[memory_id].append((STEPS[type], at))
            continue
        for kind, since in [step for step in begun[memory_id] if step[0] in DONE[type]]:
            fresh[kind].append((at - since).total_seconds() * 1000)
            begun[memory_id].remove((kind, since))
    return fresh


def raw_chroma(folder: Path, calls: list[Call], a_tenant: int, tenants: int) -> dict[str, dict[str, float]]:
    """The same calls to a Chroma server of its own, without a service. It keeps all collections open."""
    say("The same calls to Chroma alone ...")
    server = chroma.start(folder / "raw", log=folder / "raw.log", open_collections=2 * tenants)
    try:
        from benchmarks.processor import listening_on

        process, ours = listening_on(server.url), psutil.Process()
        act = acting_on_chroma(server.url, a_tenant, tenants)
        before = {"chroma": _cpu(process), "client": _cpu(ours)}
        started = time.perf_counter()
        times = play(calls, act)
        after = {"chroma": _cpu(process), "client": _cpu(ours)}
        seconds = time.perf_counter() - started
    finally:
        server.stop()
    figures = {"raw_chroma": _shares(before, after, seconds)}
    return figures | {f"raw_chroma, {kind}": _answered(times[kind], seconds) for kind in PER_SECOND}


def acting_on_chroma(url: str, a_tenant: int, tenants: int) -> Act:
    from memories.index.client import connect
    from memories.index.collections import SYNC_THRESHOLD

    client = connect(url, timeout=60)
    vectors = np.random.default_rng(SEED).standard_normal((1_000, DIMENSIONS)).astype(np.float32)
    collections = [
        client.create_collection(
            f"tenant-{number}",
            configuration={"hnsw": {"space": "cosine", "sync_threshold": SYNC_THRESHOLD}},
            embedding_function=None,
        )
        for number in range(tenants)
    ]
    ids = {number: deque(f"memory-{n}" for n in range(a_tenant)) for number in range(tenants)}
    for number, collection in enumerate(collections):
        collection.upsert(
            ids=list(ids[number]),
            embeddings=vectors[:a_tenant],
            documents=["Fix the timeout"] * a_tenant,
            metadatas=[{"agent": "coder"}] * a_tenant,
        )

    def act(call: Call) -> None:
        collection, known = collections[call.tenant], ids[call.tenant]
        vector = vectors[int(call.at * 1_000) % len(vectors)][np.newaxis]
        match call.kind:
            case "search":
                collection.query(query_embeddings=vector, n_results=10)
            case "delete":
                collection.delete(ids=[known.popleft()])
            case kind:
                id = f"memory-{call.at}" if kind == "create" else known[0]
                collection.upsert(
                    ids=[id],
                    embeddings=vector,
                    documents=["Fix the timeout"],
                    metadatas=[{"agent": "coder"}],
                )
                if kind == "create":
                    known.append(id)

    return act


def searchable_figures(milliseconds: list[float]) -> dict[str, float]:
    return (
        {f"searchable_{name}": value for name, value in percentiles(milliseconds).items()}
        if milliseconds
        else {}
    )


def flat(lists: Iterable[list[float]]) -> list[float]:
    return [item for one in lists for item in one]


def _answered(milliseconds: list[float], seconds: float) -> dict[str, float]:
    return {"per_s": round(len(milliseconds) / seconds, 1), **percentiles(milliseconds)}


def _shares(before: dict[str, float], after: dict[str, float], seconds: float) -> dict[str, float]:
    shares = percent(before, after, seconds)
    return shares | {"sum_cpu_percent": round(sum(shares.values()), 1)}


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _newest_event() -> int:
    from outbox.models import Event

    return Event.objects.order_by("-id").values_list("id", flat=True).first() or 0
