"""The drain while an idle transaction holds a snapshot for minutes, so that no vacuum removes a dead row.

Each update of an event leaves a dead row and dead index entries. A queue that reads over them becomes slower with every
event that passes. Each subject drains ten backlogs one after the other, in two databases in turns: in one of them an
idle transaction of another program was begun before. `drain_ratio` is the drain of the last three backlogs with the
transaction, divided by that without one; `held_s` is the age of the transaction at the end. Peers that delete finished
jobs leave dead rows as well.
"""

import json
import os
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from urllib.parse import quote

import psycopg

from benchmarks.__main__ import Figures
from benchmarks.relays import starts
from benchmarks.service import ROOT, database, say

# The events of one backlog of each subject: some seconds of work.
SUBJECTS = {"semantix": 10_000, "pgqueuer-100": 10_000, "procrastinate": 1_000}
GOAL = 0.8
# Of the backlogs at the end, the median counts.
LAST = 3
HOLD = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class"


def run(options: Namespace) -> Figures:
    # The drain of a smaller backlog takes some hundredths of a second, which tells nothing.
    rounds, share = (4, 2) if options.quick else (10, 1)
    figures: dict[str, dict[str, float]] = {}
    with database() as (folder, url):
        for name, events in SUBJECTS.items():
            backlog = events // share
            say(f"{name}: {rounds} backlogs of {backlog:,} in each database ...")
            figures[name] = _measure(name, url, folder, rounds, backlog)
    return figures | {"limit": {"drain_ratio": GOAL}}


def _measure(name: str, url: str, folder: Path, rounds: int, backlog: int) -> dict[str, float]:
    with ExitStack() as stack:
        free, held = (
            stack.enter_context(_draining(name, url, folder, backlog, f"{name}-{kind}"))
            for kind in ("free", "held")
        )
        session = stack.enter_context(psycopg.connect(held.url, autocommit=True))
        session.execute(HOLD)
        for _ in range(rounds):
            free.drain()
            held.drain()
        row = session.execute("SELECT extract(epoch FROM clock_timestamp() - now())").fetchone()
    per_s = {"drain_per_s": median(free.per_s[-LAST:]), "held_drain_per_s": median(held.per_s[-LAST:])}
    ratio = per_s["held_drain_per_s"] / per_s["drain_per_s"]
    return {
        **{metric: round(value, 1) for metric, value in per_s.items()},
        "drain_ratio": round(ratio, 2),
        "held_s": round(float(row[0]) if row else 0.0, 1),
    }


class Draining:
    """A subject in a process and a database of its own, which drains a backlog when it is told to."""

    def __init__(self, process: "subprocess.Popen[str]", url: str) -> None:
        self._process = process
        self.url = url
        self.per_s: list[float] = []

    def drain(self) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write("drain\n")
        self._process.stdin.flush()
        self.per_s.append(float(json.loads(self._process.stdout.readline())["drain_per_s"]))
        say(f"  {self.per_s[-1]:,.0f}/s")


@contextmanager
def _draining(name: str, url: str, folder: Path, backlog: int, own: str) -> Iterator[Draining]:
    with psycopg.connect(url, autocommit=True) as session:
        session.execute(f'CREATE DATABASE "{own}"')
    own_url = url.replace("/semantix?", f"/{quote(own)}?")
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "benchmarks.relays.settings",
        "ENV_FILE": os.devnull,
        "DATA_DIR": str(folder),
        "DATABASE_URL": own_url,
        "SECRET_KEY": "only-for-measuring",
        "LOG_LEVEL": "WARNING",
        starts.VARIABLE: str(folder / f"starts-{own}"),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.relays.measure", name, str(backlog)],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield Draining(process, own_url)
        finally:
            process.communicate(timeout=60)
