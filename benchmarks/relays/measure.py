"""Measure one round of one subject in a process and a database of its own; print the figures as JSON.

`python -m benchmarks.relays.measure SUBJECT BACKLOG SINGLES`, with DATABASE_URL in the environment. Without SINGLES it
drains a backlog for each line of its standard input, and prints a line of JSON for each.
"""

import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from benchmarks.relays import starts
from benchmarks.relays.subject import Subject
from benchmarks.service import percentiles

SUBJECTS = {
    "semantix": "semantix.Semantix",
    "statements": "statements.Statements",
    "procrastinate": "procrastinate.Procrastinate",
    "pgqueuer": "pgqueuer.Pgqueuer",
    "pgqueuer-100": "pgqueuer.PgqueuerInHundreds",
    "django-q2": "django_q2.DjangoQ2",
}
# Mean seconds between two single events, exponentially distributed as requests are.
GAP_SECONDS = 0.02
# The first events of a process take longer. Nobody chooses a queue by them.
WARM_UP = 50


def main(name: str, backlog: int, singles: int = 0) -> None:
    module, cls = SUBJECTS[name].split(".")
    subject: Subject = getattr(import_module(f"benchmarks.relays.{module}"), cls)()
    subject.prepare()
    log = Path(os.environ[starts.VARIABLE])
    if singles:
        figures = {"drain_per_s": drain(subject, log, backlog), **latency(subject, log, singles)}
        print(json.dumps(figures))
        return
    for number, _ in enumerate(sys.stdin):
        print(json.dumps({"drain_per_s": drain(subject, log, backlog, number * backlog)}), flush=True)


def drain(subject: Subject, log: Path, count: int, first: int = 0) -> float:
    """Events a second, from the first handler's start until the last event is settled."""
    subject.publish_many(range(first, first + count))
    log.write_bytes(b"")
    with working(subject) as alive:
        # The rest is not counted before: counting costs each subject another time.
        wait_for(lambda: starts.count(log) >= count, alive)
        wait_for(lambda: subject.unfinished() == 0, alive)
        ended = time.time_ns()
    noted = starts.read(log)
    assert len(noted) == count, f"{count - len(noted)} events never reached their handler"
    return count / (ended - min(noted.values())) * 1e9


def latency(subject: Subject, log: Path, count: int) -> dict[str, float]:
    """The milliseconds from the commit of a single event until its handler starts, without a backlog."""
    log.write_bytes(b"")
    committed: dict[int, int] = {}
    chance = random.Random(1)
    with working(subject) as alive:
        for number in range(-WARM_UP, 0):
            subject.publish(number)
        wait_for(lambda: len(starts.read(log)) == WARM_UP, alive)
        for number in range(count):
            time.sleep(chance.expovariate(1 / GAP_SECONDS))
            subject.publish(number)
            committed[number] = time.time_ns()
        wait_for(lambda: len(starts.read(log)) == WARM_UP + count, alive)
    noted = starts.read(log)
    return percentiles([max(0, noted[n] - committed[n]) / 1e6 for n in range(count)])


@contextmanager
def working(subject: Subject) -> Iterator[Callable[[], bool]]:
    """Run the subject's workers; yields a function that says whether all are alive."""
    children = subject.workers()
    try:
        yield lambda: all(child.is_alive() for child in children)
    finally:
        for child in children:
            child.stop(10)


def wait_for(done: Callable[[], bool], alive: Callable[[], bool], seconds: float = 600) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert alive(), "a worker ended"
        assert time.monotonic() < deadline, f"not done within {seconds} s"
        time.sleep(0.01)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
