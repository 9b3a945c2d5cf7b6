"""Seconds from a kill until everything is delivered, for each kind of process: Semantix and peers.

A backlog waits, each event is two milliseconds of work, and a tenth of it is handled when the process is killed
(SIGKILL). What ends is started again at once, as a service manager does. `none` is the same without a kill. `machine`:
of two clusters, one freezes and its connections stay open. All use one Postgres as shipped, a database for each run.
The peers run with their default times: pgqueuer 30 s, procrastinate 30 s with a task that retries the jobs of dead
workers, django-q2 60 s. A figure is missing if it took longer than two minutes.
"""

from argparse import Namespace
from collections.abc import Mapping
from statistics import median

from benchmarks.relay import database_of_its_own, measure
from benchmarks.relays import starts
from benchmarks.service import database, say

OWN_KINDS = ("none", "worker", "relay", "monitor", "sentinel", "cluster", "machine")
PEERS = ("pgqueuer", "procrastinate", "django-q2")
PEER_KINDS = ("none", "worker", "cluster")
WORK_SECONDS = "0.002"


def run(options: Namespace) -> Mapping[str, Mapping[str, float]]:
    rounds, backlog = (1, 500) if options.quick else (3, 2_000)
    # Of a peer, a quick run measures the death of one worker only: it takes a minute each.
    peer_kinds = ("worker",) if options.quick else PEER_KINDS
    kinds = {"semantix": OWN_KINDS} | dict.fromkeys(PEERS, peer_kinds)
    seconds: dict[str, dict[str, list[float]]] = {}
    with database() as (folder, url):
        for number in range(rounds):
            for name, kind in ((name, kind) for name, its_kinds in kinds.items() for kind in its_kinds):
                say(f"Round {number + 1} of {rounds}: {name}, {kind} ...")
                own = database_of_its_own(url, f"{name}-{kind}-{number}")
                took = measure("kills", own, folder, name, kind, backlog, **{starts.WORK: WORK_SECONDS})
                if took is None:
                    say("  not delivered within two minutes")
                else:
                    seconds.setdefault(name, {}).setdefault(f"{kind}_s", []).append(took)
    return {name: {metric: median(values) for metric, values in by.items()} for name, by in seconds.items()}
