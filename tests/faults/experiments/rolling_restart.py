"""Web servers, clusters, Chroma and Redis are restarted one after the other: no request fails, nothing is lost.

HAProxy stands before two web servers, and there are three clusters. Clients write memories and turns, search, and call
the MCP server through it all the time, each request once. One follows the live stream, resumes it when its server ends,
and hears of each memory.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import timedelta
from functools import partial
from typing import Any, Self

import httpx
from django.test import override_settings

from memories.conversations import flush
from memories.models import MemoryLog
from tests.faults import stores
from tests.faults.trial import Trial
from tests.support.balancer import Balancer, balancer
from tests.support.chroma_server import ChromaServer
from tests.support.clusters import Cluster, cluster, url_of_the_tests_database
from tests.support.live import listen
from tests.support.load import Load
from tests.support.mcp import calling
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until
from tests.support.web_server import WebServer

TENANT = {"user_id": "ada", "project_id": "ship"}
# Every fifth write is a turn of a conversation.
TURNS = 5


def run(trial: Trial) -> None:
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer(trial.folder, "--appendonly", "yes"))
        chroma = ChromaServer(trial.folder / "chromadb")
        stack.callback(chroma.stop)
        named = override_settings(CONVERSATION_REDIS_URL=redis.url, CHROMA_URL=chroma.url)
        stack.enter_context(named)
        environment = {
            "DATABASE_URL": url_of_the_tests_database(),
            "CONVERSATION_REDIS_URL": redis.url,
            "CHROMA_URL": chroma.url,
            "CLUSTER_WORKERS": "1",
            "LIVE_HEARTBEAT_SECONDS": "1",
            "LOG_LEVEL": "WARNING",
        }
        web = [stack.enter_context(WebServer(**environment)) for _ in range(2)]
        front = stack.enter_context(balancer(trial.folder, [server.port for server in web]))
        clusters = trial.size(3, quick=2)
        workers = [stack.enter_context(cluster(trial.folder, **environment)) for _ in range(clusters)]
        restarts: dict[str, Callable[[], object]] = {
            **{f"web server {n}": server.stop_and_restart for n, server in enumerate(web)},
            **{
                f"cluster {n}": partial(restart, stack, trial, running, environment)
                for n, running in enumerate(workers)
            },
            "Chroma": lambda: (chroma.stop(), chroma.start()),
            "Redis": lambda: (redis.stop(), redis.start()),
        }
        under_load(trial, front, restarts)


def restart(stack: ExitStack, trial: Trial, running: Cluster, environment: dict[str, str]) -> None:
    running.ask_to_stop()
    running.wait_for_end()
    stack.enter_context(cluster(trial.folder, **environment))


def under_load(trial: Trial, front: Balancer, restarts: dict[str, Callable[[], object]]) -> None:
    with Asker(front.url) as asker, Listener(front.url) as listener:
        with Load(front.url, request, per_second=trial.size(20.0, quick=10.0), clients=8) as load:
            wait_until(lambda: any(write.body for write in load.writes) and asker.answers)
            for name, do in restarts.items():
                trial.say(f"restarting {name}")
                load.phase = asker.phase = name
                do()
                wait_until(front.sends_to_all)
                time.sleep(trial.size(5.0, quick=0.2))
        flush.flush(idle=timedelta())
        stores.wait_until_drained(trial)
        written = [write.body["id"] for write in load.writes if write.number % TURNS]
        with suppress(AssertionError):
            wait_until(lambda: set(written) <= listener.heard, seconds=30)
    trial.counts |= {
        "restarts": len(restarts),
        "writes": len(load.writes),
        "asked": sum(asker.answers.values()),
    }
    trial.counts["streams"] = listener.streams
    repeated = Counter((write.phase, *write.statuses) for write in load.writes if len(write.statuses) > 1)
    trial.expect(not repeated, f"writes that were answered with an error, by restart: {dict(repeated)}")
    trial.expect(not load.unaccepted, f"{len(load.unaccepted)} writes were never accepted")
    trial.expect(not asker.failures, f"searches and MCP calls that failed: {asker.failures[:5]}")
    unheard = set(written) - listener.heard
    trial.expect(not unheard, f"the live stream told nothing of {len(unheard)} memories")
    stored = MemoryLog.objects.filter(task__startswith="Fix bug").count()
    trial.expect(stored == len(written), f"{len(written)} memories were accepted and {stored} are stored")
    stores.compare(trial)


def request(number: int) -> tuple[str, dict[str, Any]]:
    if number % TURNS:
        return "/memory-logs", {**TENANT, "task": f"Fix bug number {number}", "agent": "coder"}
    turn = {"role": "user", "content": f"turn {number}"}
    return f"/conversations/chat-{number % 4}/turns", {**TENANT, "turns": [turn]}


class Asker:
    """Searches and calls an MCP tool in turns, inside the `with`."""

    def __init__(self, url: str) -> None:
        self.phase = ""
        self.answers: Counter[str] = Counter()
        self.failures: list[str] = []
        self._url = url
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._ask_all, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _ask_all(self) -> None:
        mcp = f"/mcp/{TENANT['user_id']}/{TENANT['project_id']}"
        asked = (
            ("search", "/memory-logs/search", {**TENANT, "query": "which bug was fixed", "limit": 3}),
            ("mcp", mcp, calling("search_memories", query="which bug was fixed")),
        )
        headers = {"Accept": "application/json, text/event-stream"}
        with httpx.Client(base_url=self._url, timeout=60, verify=False, headers=headers) as client:
            while not self._stopped.wait(0.05):
                for name, path, body in asked:
                    self._ask(client, name, path, body)

    def _ask(self, client: httpx.Client, name: str, path: str, body: dict[str, Any]) -> None:
        try:
            answer = client.post(path, json=body)
        except httpx.TransportError as error:
            self.failures.append(f"{name} during {self.phase}: {error!r}")
            return
        self.answers[name] += 1
        if answer.status_code != httpx.codes.OK or '"isError":true' in answer.text.replace(" ", ""):
            self.failures.append(f"{name} during {self.phase}: {answer.status_code} {answer.text[:200]}")


class Listener:
    """Follows the live stream inside the `with`, and resumes it. `heard`: the ids of the memories in the index."""

    def __init__(self, url: str) -> None:
        self.heard: set[int] = set()
        self.streams = 0
        self._position = ""
        self._url = url
        self._stopped = False
        self._thread = threading.Thread(target=self._follow_all, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        # Nothing is missed from here on.
        wait_until(lambda: self.streams)
        return self

    def __exit__(self, *_error: object) -> None:
        self._stopped = True
        self._thread.join()

    def _follow_all(self) -> None:
        while not self._stopped:
            with suppress(httpx.TransportError, ConnectionError, AssertionError):
                self._follow()
            time.sleep(0.05)

    def _follow(self) -> None:
        with listen(self._url, after=self._position, **TENANT) as stream:
            self.streams += 1
            for update in stream.early:
                self.heard.add(update["memory_id"])
            while not self._stopped:
                # None: a heartbeat.
                if update := stream.message():
                    self.heard.add(update["memory_id"])
                self._position = stream.position
