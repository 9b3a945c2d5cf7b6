"""Kill one kind of process of a subject amid a backlog, and print the seconds until everything is delivered.

`python -m benchmarks.relays.kills SUBJECT KIND BACKLOG`, with DATABASE_URL in the environment. What ends is started
again at once, as a service manager does. Prints null if it is not delivered within LIMIT_SECONDS.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from importlib import import_module
from itertools import count
from pathlib import Path

import psutil
import psycopg

from benchmarks.relays import starts
from benchmarks.relays.measure import SUBJECTS
from benchmarks.relays.subject import Subject
from semantix.allinone.process import Child

LIMIT_SECONDS = 120.0
# The share of the backlog that is handled before the kill.
BEFORE = 0.1


def main(name: str, kind: str, backlog: int) -> None:
    module, cls = SUBJECTS[name].split(".")
    subject: Subject = getattr(import_module(f"benchmarks.relays.{module}"), cls)()
    subject.prepare()
    log = Path(os.environ[starts.VARIABLE])
    log.write_bytes(b"")
    subject.publish_many(range(backlog))
    print(json.dumps(recover(subject, kind, log, backlog)))


def recover(subject: Subject, kind: str, log: Path, backlog: int) -> float | None:
    """Seconds from the kill until no event is unfinished."""
    children = subject.workers()
    published = count(backlog, backlog)

    def publish_more() -> None:
        first = next(published)
        subject.publish_many(range(first, first + backlog))

    if kind == "machine":
        children.append(subject.worker())
    try:
        _wait(lambda: starts.count(log) >= backlog * BEFORE, 60)
        if kind == "machine":
            _machine(children, publish_more)
        else:
            KINDS[kind](children)
        killed = time.monotonic()

        def is_delivered() -> bool:
            for place, child in enumerate(children):
                if not child.is_alive():
                    child.stop(0)
                    children[place] = subject.worker()
            return subject.unfinished() == 0

        return round(time.monotonic() - killed, 2) if _wait(is_delivered, LIMIT_SECONDS) else None
    finally:
        for child in children:
            # Also one that is frozen.
            child.stop(0)


def _nothing(children: list[Child]) -> None:
    """The same backlog without a kill."""


def _worker(children: list[Child]) -> None:
    """A worker of a cluster; of a subject without clusters one of its programs."""
    processes = _of_cluster(children[0])
    os.kill(processes[0].pid if processes else children[0].pid, signal.SIGKILL)


def _relay(children: list[Child]) -> None:
    _of_cluster(children[0])[-1].kill()


def _monitor(children: list[Child]) -> None:
    _of_cluster(children[0])[-2].kill()


def _sentinel(children: list[Child]) -> None:
    sentinel = _sentinel_of(children[0])
    assert sentinel
    sentinel.kill()


def _everything(children: list[Child]) -> None:
    for child in children:
        os.killpg(child.pid, signal.SIGKILL)


def _machine(children: list[Child], publish_more: Callable[[], None]) -> None:
    """Of two clusters, one freezes that has claimed events. The database does not hear that its machine is gone."""
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as session:
        claiming: list[int] = []

        def is_claiming() -> bool:
            claiming.extend(pid for (pid,) in session.execute(CLAIMING))
            return bool(claiming)

        # A small backlog may be delivered before anybody looks.
        while not _wait(is_claiming, 1):
            publish_more()
    relay = psutil.Process(claiming[0])
    main = {process.pid for process in relay.parents()}
    frozen = next(child for child in children if child.pid in main)
    os.killpg(frozen.pid, signal.SIGSTOP)


CLAIMING = """
SELECT r.pid FROM outbox_relay r JOIN outbox_event e ON e.relay = r.id WHERE e.status = 'claimed'
  AND r.session_pid IS NOT NULL
GROUP BY r.pid ORDER BY count(*) DESC
"""
KINDS: dict[str, Callable[[list[Child]], None]] = {
    "none": _nothing,
    "worker": _worker,
    "relay": _relay,
    "monitor": _monitor,
    "sentinel": _sentinel,
    "cluster": _everything,
}


def _sentinel_of(child: Child) -> psutil.Process | None:
    found = [process for process in psutil.Process(child.pid).children() if process.children()]
    return found[0] if found else None


def _of_cluster(child: Child) -> list[psutil.Process]:
    """The processes that the sentinel of a django-q2 cluster started: the workers, the monitor, and last the relay."""
    sentinel = _sentinel_of(child)
    return sorted(sentinel.children(), key=psutil.Process.create_time) if sentinel else []


def _wait(done: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
