"""`rebuild_index` is killed again and again while writers write: the last one that may end leaves the stores equal."""

import subprocess
import sys
import threading
import time
from contextlib import suppress
from random import Random
from typing import Self

from django.db import connection

from memories.indexing import migrate, rebuild
from memories.models import MemoryLog
from memories.records.services import NewMemory, create_memories, delete_memory, update_memory
from memories.tenants import Tenant
from tests.faults import stores
from tests.faults.trial import Trial
from tests.support.clusters import cluster
from tests.support.processes import ROOT, environment
from tests.support.waiting import wait_until

TENANTS = [Tenant(f"user-{number}", "web") for number in range(6)]
# The longest time that a rebuild may run before it is killed. Many are killed at their first steps.
LONGEST_SECONDS = 1.5
LAST_SECONDS = 300
# The schedule that has workers go on with abandoned collections runs once a minute. Here it runs after so many kills.
SCHEDULE_RUNS = 0.5
OPTIONS: tuple[tuple[str, ...], ...] = ((), ("--recreate",))


def run(trial: Trial) -> None:
    kills, each = trial.size(20, quick=1), trial.size(1_000, quick=20)
    for tenant in TENANTS:
        create_memories(new(tenant, f"Fix bug {number}") for number in range(each))
    with cluster(trial.folder, CLUSTER_WORKERS="2", LOG_LEVEL="WARNING"):
        stores.wait_until_drained(trial)
        with Writers(trial) as writers:
            for _ in range(kills):
                kill_a_rebuild(trial)
            started = time.monotonic()
            ended = end_of(rebuilding(*trial.chance.choice(OPTIONS)))
            trial.figures["last_rebuild_s"] = round(time.monotonic() - started, 1)
        trial.expect(
            ended == 0, f"the last rebuild ended with exit code {ended} (-9: after {LAST_SECONDS} s)"
        )
        stores.wait_until_drained(trial, seconds=300)
    trial.counts |= {"rebuilds_killed": kills, "writes": writers.count}
    trial.expect(not writers.errors, f"a writer failed: {writers.errors}")
    stores.compare(trial)


def new(tenant: Tenant, task: str) -> NewMemory:
    return NewMemory(**tenant._asdict(), task=task, agent="ada")


def rebuilding(*options: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "manage.py", "rebuild_index", *options],
        cwd=ROOT,
        env=environment() | {"LOG_LEVEL": "WARNING"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def end_of(process: "subprocess.Popen[bytes]") -> int:
    """Its exit code. It is killed when it takes too long."""
    with suppress(subprocess.TimeoutExpired):
        return process.wait(LAST_SECONDS)
    process.kill()
    return process.wait()


def kill_a_rebuild(trial: Trial) -> None:
    process = rebuilding(*trial.chance.choice(OPTIONS))
    wait_until(lambda: rebuild.is_running() or process.poll() is not None)
    time.sleep(trial.chance.uniform(0, LONGEST_SECONDS))
    process.kill()
    process.wait()
    # A server process that waits for Chroma or a lock does not see at once that its client is gone.
    wait_until(lambda: not rebuild.is_running())
    if trial.chance.random() < SCHEDULE_RUNS:
        migrate.migrate_models()


class Writers:
    """Create, change and delete memories of all tenants inside the `with`."""

    def __init__(self, trial: Trial) -> None:
        self.count = 0
        self.errors: list[Exception] = []
        self._stopped = threading.Event()
        self._pause = 0.1
        self._chances = [Random(trial.chance.random()) for _ in range(2)]
        self._threads = [threading.Thread(target=self._write, args=[chance]) for chance in self._chances]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _write(self, chance: Random) -> None:
        try:
            while not self._stopped.wait(self._pause):
                self._write_one(chance)
                self.count += 1
        except Exception as error:
            self.errors.append(error)
        finally:
            connection.close()

    def _write_one(self, chance: Random) -> None:
        tenant = chance.choice(TENANTS)
        if chance.random() < 0.4:
            create_memories([new(tenant, f"Write page {chance.random()}")])
            return
        ids = list(MemoryLog.objects.filter(user_id=tenant.user_id).values_list("id", flat=True)[:500])
        try:
            if chance.random() < 0.6:
                update_memory(chance.choice(ids), {"task": f"Bake bread {chance.random()}"})
            else:
                delete_memory(chance.choice(ids))
        except MemoryLog.DoesNotExist:
            pass  # the other writer was faster
