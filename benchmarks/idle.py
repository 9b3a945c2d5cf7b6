"""What a cluster costs that has nothing to do: processor time and memory of its processes, for a minute.

`cpu_percent` is the share of one core, of all processes of the cluster together and of each of them. PostgreSQL with
its background processes is counted apart. `limit` is the promised bound.
"""

import time
from argparse import Namespace
from collections.abc import Sequence

import psutil

from benchmarks.__main__ import Figures
from benchmarks.service import cluster, say, stores

LIMIT_PERCENT = 2.0
# The work that a start causes is over by then.
SETTLING_SECONDS = 15.0


def run(options: Namespace) -> Figures:
    seconds = 10 if options.quick else 60
    with stores(), cluster() as child:
        time.sleep(SETTLING_SECONDS)
        processes = _roles(child.pid)
        postgres = _postgres()
        say(f"Nothing to do for {seconds} s ...")
        before = {name: _spent([process]) for name, process in processes.items()}
        postgres_before = _spent(postgres)
        time.sleep(seconds)
        spent = {name: _spent([process]) - before[name] for name, process in processes.items()}
        postgres_spent = _spent(postgres) - postgres_before
        memory = {name: process.memory_info().rss / 1e6 for name, process in processes.items()}
    figures = {
        "cpu_percent": _percent(sum(spent.values()), seconds),
        "postgres_cpu_percent": _percent(postgres_spent, seconds),
        "rss_mb": round(sum(memory.values()), 1),
        **{f"{name}_cpu_percent": _percent(used, seconds) for name, used in spent.items()},
        **{f"{name}_rss_mb": round(size, 1) for name, size in memory.items()},
    }
    return {"semantix": figures, "limit": {"cpu_percent": LIMIT_PERCENT}}


def _roles(pid: int) -> dict[str, psutil.Process]:
    """The processes of the cluster by role: django-q2 starts the workers first and the pusher last."""
    main = psutil.Process(pid)
    [sentinel] = main.children()
    *workers, monitor, relay = sorted(sentinel.children(), key=lambda process: process.pid)
    numbered = {f"worker_{number}": worker for number, worker in enumerate(workers, start=1)}
    return {"main": main, "sentinel": sentinel, **numbered, "monitor": monitor, "relay": relay}


def _postgres() -> list[psutil.Process]:
    """The server and all its processes, except the one that serves this measurement."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        ours = psutil.Process(cursor.fetchone()[0])
    server = ours.parent()
    assert server is not None
    return [server, *(process for process in server.children() if process.pid != ours.pid)]


def _spent(processes: Sequence[psutil.Process]) -> float:
    """Seconds of processor time so far; a process that has ended counts as nothing."""
    total = 0.0
    for process in processes:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


def _percent(seconds: float, of: float) -> float:
    return round(100 * seconds / of, 2)
