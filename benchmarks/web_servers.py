"""The web servers that could carry the API, with kept and with new connections, and the pipeline running.

uvicorn is the server that is shipped. gunicorn has no live updates and no WebSockets; it is measured if it is installed
(`pip install gunicorn`).
"""

import sys
from argparse import Namespace
from collections.abc import Iterator
from importlib.util import find_spec

from benchmarks.__main__ import Figures
from benchmarks.api import closed, create, get, reconnecting, served
from benchmarks.service import cluster, percentiles, say, stores
from semantix.allinone.web import command

ADDRESS = ["--host", "127.0.0.1", "--port", "0"]
UVICORN = [sys.executable, "-m", "uvicorn", *ADDRESS, "--lifespan", "off", "--log-level", "warning"]
GUNICORN = [
    *(sys.executable, "-m", "gunicorn", "--bind", "127.0.0.1:0", "--log-level", "warning"),
    *("--worker-class", "gthread", "--keep-alive", "60", "semantix.wsgi:application"),
]


def run(options: Namespace) -> Figures:
    seconds = 1.0 if options.quick else 5.0
    with stores(), cluster():
        return {
            name: measured(name, command, environment, seconds) for name, command, environment in servers()
        }


def servers() -> Iterator[tuple[str, list[str], dict[str, str]]]:
    """Yield the name, command and environment of each server."""
    shipped = command("127.0.0.1", 0)
    bare = [*UVICORN, "semantix.asgi:application"]
    for threads in (2, 4, 8, 16):
        yield f"uvicorn, {threads} threads", shipped, {"WEB_WORKERS": "1", "WEB_THREADS": str(threads)}
    yield "uvicorn without our limits, 8 threads", bare, {}
    yield "uvicorn, 2 workers of 4 threads", [*bare, "--workers", "2"], {"WEB_THREADS": "4"}
    yield "uvicorn, h11 and asyncio, 8 threads", [*bare, "--http", "h11", "--loop", "asyncio"], {}
    # A connection that a thread kept outlives the thread until garbage collection: Postgres runs out of connections.
    own = {"DATABASE_CONN_MAX_AGE": "0"}
    yield "uvicorn, Django's own ASGI", [*UVICORN, "semantix.asgi:event_loop"], own
    if find_spec("gunicorn"):
        for threads in (4, 8):
            yield f"gunicorn gthread, {threads} threads", [*GUNICORN, "--threads", str(threads)], {}
        yield "gunicorn gthread, 2 workers of 4", [*GUNICORN, "--threads", "4", "--workers", "2"], {}


def measured(name: str, command: list[str], environment: dict[str, str], seconds: float) -> dict[str, float]:
    say(f"{name} ...")
    figures: dict[str, float] = {}
    with served(command, **environment) as url:
        closed(url, create, 0.5)
        for kind, ask, load in (
            ("create", create, closed),
            ("get", get(), closed),
            ("new_connection_create", create, reconnecting),
        ):
            spent, per_s = load(url, ask, seconds)
            of_all = percentiles(spent)
            figures |= {f"{kind}_{each}": of_all[each] for each in ("p50_ms", "p99_ms")}
            figures[f"{kind}_per_s"] = round(per_s, 1)
    say(f"  {figures}")
    return figures
