"""Chroma, Redis and PostgreSQL fail in every way that a network knows: each write is answered, kept once and delivered.

A web server and a cluster reach each store through a proxy that refuses, resets, stays silent, delays, trickles, and
loses the answer of a write that was carried out. All pauses are a tenth of their defaults, as if the clock were
ten times as fast: a minute counts as ten. The writes of the other nine tenths of Chroma's outage are stored at its end,
all at once. Clients send 100 writes a second, and repeat a refused one under its Idempotency-Key.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.test import override_settings

import outbox
from memories.conversations import flush
from memories.models import MemoryLog
from memories.models.conversation import ConversationGap
from memories.records.services import NewMemory, create_memories
from tests.faults import stores
from tests.faults.trial import Trial
from tests.support.clusters import cluster, url_of_the_tests_database
from tests.support.conversations import turns_of
from tests.support.load import Load, percentile
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until
from tests.support.web_server import WebServer

# Every fifth write is a turn of a conversation.
TURNS, CONVERSATIONS, TENANTS = 5, 20, 10
TENFOLD = {
    "LOG_LEVEL": "WARNING",
    "OUTBOX_CIRCUIT_BASE_SECONDS": "0.1",
    "OUTBOX_CIRCUIT_CAP_SECONDS": "3",
    "OUTBOX_BACKOFF_BASE_SECONDS": "0.1",
    "OUTBOX_BACKOFF_CAP_SECONDS": "60",
    "CHROMA_TIMEOUT_SECONDS": "3",
    "CHROMA_SEARCH_TIMEOUT_SECONDS": "0.2",
    "DATABASE_WAIT_SECONDS": "6",
}
FAULTS: dict[str, Callable[[Proxy], object]] = {
    "refused": Proxy.refuse,
    "reset": Proxy.reset,
    "silent": Proxy.silence,
    "answers lost": Proxy.lose_answers,
    "trickling": lambda proxy: proxy.trickle(20_000),
    "delayed": lambda proxy: proxy.delay(0.2),
}
# Milliseconds by which a p99 may always be worse: a busy machine gives a process its turn late.
GRACE_MS = 20.0


def run(trial: Trial) -> None:
    with proxies(trial) as (proxy, environment):
        with cluster(trial.folder, CLUSTER_WORKERS="2", **environment), WebServer(**environment) as server:
            with Load(server.url, request, per_second=trial.size(100.0, quick=30.0), clients=32) as load:
                undisturbed(trial, load)
                for store in ("chroma", "redis", "postgres"):
                    away(trial, load, store, proxy[store])
            answered(trial, load)
            drained(trial)
        kept(trial, load)


@contextmanager
def proxies(trial: Trial) -> Iterator[tuple[dict[str, Proxy], dict[str, str]]]:
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer(trial.folder, "--appendonly", "yes"))
        stack.enter_context(override_settings(CONVERSATION_REDIS_URL=redis.url))
        urls = {
            "chroma": settings.CHROMA_URL,
            "redis": redis.url,
            "postgres": url_of_the_tests_database(),
        }
        proxy = {store: stack.enter_context(Proxy(url)) for store, url in urls.items()}
        yield (
            proxy,
            {
                "CHROMA_URL": proxy["chroma"].url,
                "CONVERSATION_REDIS_URL": proxy["redis"].url,
                "DATABASE_URL": proxy["postgres"].url,
                **TENFOLD,
            },
        )


def request(number: int) -> tuple[str, dict[str, Any]]:
    owner = {"user_id": f"user-{number % TENANTS}", "project_id": "web"}
    if number % TURNS:
        return "/memory-logs", {**owner, "task": f"Fix bug number {number}", "agent": "coder"}
    conversation = number // TURNS % CONVERSATIONS
    turn = {"role": "user", "content": f"turn {number}"}
    return f"/conversations/chat-{conversation}/turns", {
        **owner,
        "user_id": f"user-{conversation % TENANTS}",
        "turns": [turn],
    }


def undisturbed(trial: Trial, load: Load) -> None:
    load.phase = "warming up"
    wait_until(lambda: any(write.body for write in load.writes))
    time.sleep(trial.size(5.0, quick=0.5))
    load.phase = "undisturbed"
    time.sleep(trial.size(20.0, quick=1.0))


def away(trial: Trial, load: Load, store: str, proxy: Proxy) -> None:
    """Each fault for its share of the outage. Chroma never answers between them."""
    faults = list(FAULTS.items()) if not trial.quick else trial.chance.sample(list(FAULTS.items()), 2)
    seconds = trial.size(60.0 if store == "chroma" else 30.0, quick=1.0) / len(faults)
    load.phase = f"{store} away"
    for name, fail in faults:
        trial.say(f"{store}: {name}")
        fail(proxy)
        time.sleep(seconds)
        if store != "chroma" or fail is Proxy.reset:
            proxy.heal()
    if store == "chroma":
        load.phase = "the other nine minutes"
        the_other_nine_minutes(trial)
    proxy.heal()
    load.phase = f"{store} back"
    wait_until(lambda: any(write.body for write in load.of(f"{store} back")), seconds=120)


def the_other_nine_minutes(trial: Trial) -> None:
    count = trial.size(54_000, quick=200)
    new = (
        NewMemory(user_id=f"user-{n % TENANTS}", project_id="web", task=f"Write page {n}", agent="coder")
        for n in range(count)
    )
    for _ in range(0, count, 1_000):
        create_memories(
            (memory for memory, _ in zip(new, range(1_000), strict=False)), priority=outbox.INTERACTIVE
        )
    trial.counts["written_at_once"] = count


def answered(trial: Trial, load: Load) -> None:
    trial.counts["writes"] = len(load.writes)
    trial.counts["tries_refused"] = sum(len(write.statuses) - 1 for write in load.writes)
    trial.expect(not any(write.hung for write in load.writes), "a client heard nothing for a minute")
    told = Counter(status for write in load.writes for status in write.statuses)
    trial.expect(set(told) <= {0, 201, 202, 409, 503}, f"answers by status: {told}")
    trial.expect(not load.unaccepted, f"{len(load.unaccepted)} writes were never accepted")
    p99 = {}
    for phase in ("undisturbed", "chroma away", "redis away"):
        p99[phase] = percentile([write.ms for write in load.of(phase)], 0.99)
        trial.figures[f"{phase.replace(' ', '_')}_p99_ms"] = p99[phase]
    memories = [write.ms for write in load.of("redis away") if write.number % TURNS]
    trial.figures["redis_away_memories_p99_ms"] = percentile(memories, 0.99)
    slow = 2 * p99["undisturbed"] + GRACE_MS
    trial.expect(
        trial.quick or p99["chroma away"] <= slow,
        f"p99 while Chroma was away is {p99['chroma away']} ms, undisturbed {p99['undisturbed']} ms",
    )
    refused = [write for write in load.of("chroma away") if len(write.statuses) > 1]
    trial.counts["refused_while_chroma_was_away"] = len(refused)


def drained(trial: Trial) -> None:
    """Nobody helps: circuits close and events are delivered by themselves."""
    started = time.monotonic()
    flush.flush(idle=timedelta())
    stores.wait_until_drained(trial, seconds=900)
    trial.figures["drain_s"] = round(time.monotonic() - started, 1)


def kept(trial: Trial, load: Load) -> None:
    numbers = {write.number for write in load.writes if write.number % TURNS}
    tasks = Counter(MemoryLog.objects.filter(task__startswith="Fix bug").values_list("task", flat=True))
    trial.expect(tasks == Counter(f"Fix bug number {n}" for n in numbers), "a memory is lost or stored twice")
    saved = Counter(
        turn["content"]
        for memory in MemoryLog.objects.filter(task__startswith="Conversation")
        for turn in turns_of(memory)
    )
    said = Counter(f"turn {write.number}" for write in load.writes if write.number % TURNS == 0)
    trial.expect(saved == said, f"turns too many: {saved - said}; lost: {said - saved}")
    trial.expect(not ConversationGap.objects.exists(), "a gap was recorded where no turn was lost")
    stores.compare(trial)
