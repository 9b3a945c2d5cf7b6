"""Eight clients record what they are told while processes die: no acknowledged write is lost, nothing deleted is back.

A history is 200 requests of eight clients to the memories of one tenant: creates, changes, deletions, reads, searches.
Several histories run at the same time, so that one that waits for a stopped process holds up no other. Meanwhile the
web server, workers, the relay and the monitor are killed, Chroma stands still for a moment, and sessions in PostgreSQL
are cut. Then each answer is held against all others and against both stores: an acknowledged write is there, versions
follow the order of the requests, no read and no search shows an older version than somebody was told before, and no
deleted memory is back.
"""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from random import Random

from django.conf import settings
from django.db import connection

from benchmarks.processor import listening_on
from memories.models import MemoryLog
from tests.faults import stores
from tests.faults.client import Client, Memories
from tests.faults.fleet import Fleet
from tests.faults.histories import CREATE, Operation, Outcome, anomalies
from tests.faults.trial import Trial
from tests.support.clusters import url_of_the_tests_database
from tests.support.tenants import new_tenant
from tests.support.web_server import WebServer

CLIENTS, OPERATIONS = 8, 200
AT_ONCE = 4
# Seconds between two faults, on the average.
PAUSE_SECONDS = 2.0
TROUBLES = {"worker": 6, "relay": 4, "monitor": 2, "web server": 1, "sessions": 4, "chroma": 4}
# Every second session of the service; not those of the experiment itself.
OURS = "SET application_name = 'experiment'"
CUT = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND application_name <> 'experiment' AND random() < 0.5
"""

# The memories of a history, and what its clients were told.
Told = tuple[Memories, list[Operation]]


def run(trial: Trial) -> None:
    environment = {
        "DATABASE_URL": url_of_the_tests_database(),
        "OUTBOX_MAX_BACKLOG": "0",
        "LOG_LEVEL": "WARNING",
    }
    told: list[Told] = []
    with connection.cursor() as cursor:
        cursor.execute(OURS)
    with (
        Fleet(trial.folder, 1, CLUSTER_WORKERS=str(trial.size(2, quick=1))) as fleet,
        WebServer(**environment) as web,
    ):
        trouble = Trouble(fleet, web, Random(f"trouble {trial.seed}"))
        started = time.monotonic()
        with trouble, ThreadPoolExecutor(AT_ONCE) as pool:
            numbers = iter(range(trial.size(1_000, quick=2)))
            for done in [pool.submit(tell, trial, web.url, numbers, told) for _ in range(AT_ONCE)]:
                done.result()
        trial.figures["operations_per_s"] = round(len(told) * OPERATIONS / (time.monotonic() - started), 1)
        fleet.wait_until_ready()
        stores.wait_until_drained(trial)
    report(trial, told, trouble)


def tell(trial: Trial, url: str, numbers: Iterator[int], told: list[Told]) -> None:
    """Add one history after the other until all numbers are taken or the time is over."""
    started = time.monotonic()
    with ThreadPoolExecutor(CLIENTS) as pool:
        while time.monotonic() < started + 60 * trial.minutes and (number := next(numbers, None)) is not None:
            told.append(history(url, Random(f"history {trial.seed} {number}"), pool))
            if len(told) % 50 == 0:
                trial.say(f"{len(told)} histories after {time.monotonic() - started:.0f} s")


def history(url: str, chance: Random, pool: ThreadPoolExecutor) -> Told:
    memories = Memories(new_tenant())
    clients = [Client(url, memories, Random(chance.random())) for _ in range(CLIENTS)]
    for done in [pool.submit(client.work, OPERATIONS // CLIENTS) for client in clients]:
        done.result()
    return memories, [operation for client in clients for operation in client.told]


def report(trial: Trial, told: list[Told], trouble: "Trouble") -> None:
    trial.counts |= {"histories": len(told), "operations": len(told) * OPERATIONS}
    outcomes = Counter(operation.outcome for _, operations in told for operation in operations)
    trial.counts["unanswered"] = outcomes[Outcome.UNKNOWN]
    trial.counts |= {f"faults: {kind}": count for kind, count in sorted(trouble.done.items())}
    for memories, operations in told:
        rows = MemoryLog.objects.filter(user_id=memories.tenant.user_id)
        state = {id: (version, task) for id, version, task in rows.values_list("id", "version", "task")}
        for anomaly in anomalies(operations, state):
            trial.expect(False, anomaly)
        creates = [task for _, task in state.values() if task in created(operations)]
        trial.expect(len(creates) == len(set(creates)), "a create was done twice")
    stores.compare(trial)


def created(operations: list[Operation]) -> set[str]:
    return {operation.task for operation in operations if operation.kind == CREATE}


class Trouble(threading.Thread):
    """Makes faults until the end of the `with`."""

    def __init__(self, fleet: Fleet, web: WebServer, chance: Random) -> None:
        super().__init__(name="trouble")
        self.fleet, self.web, self.chance = fleet, web, chance
        self.done: Counter[str] = Counter()
        self._over = threading.Event()

    def __enter__(self) -> None:
        self.start()

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        try:
            while not self._over.wait(self.chance.expovariate(1 / PAUSE_SECONDS)):
                [kind] = self.chance.choices(list(TROUBLES), list(TROUBLES.values()))
                self.make(kind)
                self.done[kind] += 1
        finally:
            connection.close()

    def make(self, kind: str) -> None:
        if kind == "web server":
            self.web.kill_and_restart()
        elif kind == "chroma":
            self.freeze_chroma(self.chance.uniform(0.1, 3.0))
        elif kind == "sessions":
            with connection.cursor() as cursor:
                cursor.execute(OURS)
                cursor.execute(CUT)
        else:
            self.fleet.tend()
            for member in self.fleet.ready():
                member.kill_a(kind, self.chance)

    def freeze_chroma(self, seconds: float) -> None:
        server = listening_on(settings.CHROMA_URL)
        os.kill(server.pid, signal.SIGSTOP)
        try:
            self._over.wait(seconds)
        finally:
            os.kill(server.pid, signal.SIGCONT)
