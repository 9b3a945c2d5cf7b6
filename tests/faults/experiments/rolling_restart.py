"""Web servers, clusters, Chroma and Redis are restarted one after the other: no request fails, nothing is lost.

HAProxy stands before two web servers, and there are three clusters, on three machines. The machines are network
namespaces with addresses of their own where this process may make them. PgBouncer in transaction mode stands before
PostgreSQL for everything but the relays. Clients write memories and turns, search, and call the MCP server through it
all the time, each request once. One follows the live stream, resumes it when its server ends, and hears of each memory.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, suppress
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple, Self

import httpx
from django.db import connection
from django.test import override_settings

from memories.conversations import flush
from memories.models import MemoryLog
from outbox.models import Relay
from tests.faults import stores
from tests.faults.trial import Trial
from tests.support.balancer import Balancer, balancer
from tests.support.chroma_server import ChromaServer
from tests.support.clusters import Cluster, cluster, url_of_the_tests_database
from tests.support.live import listen
from tests.support.load import Load
from tests.support.machine import Machine, machine
from tests.support.mcp import calling
from tests.support.pooler import Pooler
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until
from tests.support.web_server import WebServer

TENANT = {"user_id": "ada", "project_id": "ship"}
# Every fifth write is a turn of a conversation.
TURNS = 5
# Of the pooler with PostgreSQL, for all machines together.
SESSIONS = 8
# The pooler's sessions come from no program by name; the others are those that go past it.
SESSIONS_BY_NAME = """
SELECT CASE WHEN application_name LIKE 'outbox %' THEN 'direct_sessions' ELSE 'pooled_sessions' END, count(*)
FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
GROUP BY 1
"""


def run(trial: Trial) -> None:
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer(trial.folder, "--appendonly", "yes"))
        chroma = ChromaServer(trial.folder / "chromadb")
        stack.callback(chroma.stop)
        named = override_settings(CONVERSATION_REDIS_URL=redis.url, CHROMA_URL=chroma.url)
        stack.enter_context(named)
        direct = url_of_the_tests_database()
        machines = [stack.enter_context(machine(direct)) for _ in range(trial.size(3, quick=2))]
        gateways = sorted({each.gateway for each in machines})
        pool = Pooler(trial.folder / "pgbouncer.log", sessions=SESSIONS, addresses=gateways)
        pooler = stack.enter_context(pool)
        places = [Place(each, environment(stack, each, pooler, redis, chroma)) for each in machines]
        web = [stack.enter_context(place.web_server()) for place in places[:2]]
        front = stack.enter_context(balancer(trial.folder, [server.address for server in web]))
        workers = [stack.enter_context(place.cluster(trial)) for place in places]
        trial.counts["network_namespaces"] = sum(bool(place.machine.argv) for place in places)
        restarts: dict[str, Callable[[], object]] = {
            **{f"web server {n}": server.stop_and_restart for n, server in enumerate(web)},
            **{
                f"cluster {n}": partial(restart, stack, trial, place, running)
                for n, (place, running) in enumerate(zip(places, workers, strict=True))
            },
            "Chroma": lambda: (chroma.stop(), chroma.start()),
            "Redis": lambda: (redis.stop(), redis.start()),
        }
        under_load(trial, front, restarts)
        look_at_sessions(trial, pooler)


class Place(NamedTuple):
    """A machine for a cluster, and perhaps a web server."""

    machine: Machine
    environment: dict[str, str]

    def web_server(self) -> WebServer:
        return WebServer(argv=self.machine.argv, address=self.machine.address, **self.environment)

    def cluster(self, trial: Trial) -> AbstractContextManager[Cluster]:
        url = self.environment["DATABASE_URL"]
        others = {name: value for name, value in self.environment.items() if name != "DATABASE_URL"}
        return cluster(trial.folder, database_url=url, argv=self.machine.argv, **others)


def environment(
    stack: ExitStack, place: Machine, pooler: Pooler, redis: RedisServer, chroma: ChromaServer
) -> dict[str, str]:
    """What a process on that machine has to know. Chroma and Redis are reached at the machine's gateway, too."""
    index = stack.enter_context(Proxy(chroma.url, host=place.gateway))
    buffer = stack.enter_context(Proxy(redis.url, host=place.gateway))
    return {
        "DATABASE_URL": pooler.url(place.gateway),
        "DATABASE_TRANSACTION_POOLER": "true",
        "DATABASE_DIRECT_URL": place.database_url,
        "CONVERSATION_REDIS_URL": f"{buffer.url}/0",
        "CHROMA_URL": index.url,
        "ALLOWED_HOSTS": f"127.0.0.1,{place.address}",
        "CLUSTER_WORKERS": "1",
        "LIVE_HEARTBEAT_SECONDS": "1",
        "LOG_LEVEL": "WARNING",
    }


def restart(stack: ExitStack, trial: Trial, place: Place, running: Cluster) -> None:
    running.ask_to_stop()
    running.wait_for_end()
    stack.enter_context(place.cluster(trial))


def look_at_sessions(trial: Trial, pooler: Pooler) -> None:
    """Every relay LISTENs past the pooler, and the pooler needs few sessions for many clients."""
    ended_or_listening = Relay.objects.exclude(wakeup="listen").filter(ended_at=None)
    trial.expect(not ended_or_listening.exists(), "a relay polls, although it has a direct connection")
    trial.counts["clients_of_the_pooler"] = pooler.clients()
    with connection.cursor() as cursor:
        cursor.execute(SESSIONS_BY_NAME)
        trial.counts |= dict(cursor.fetchall())


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
