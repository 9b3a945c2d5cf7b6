"""Four clients load the whole service without any fault, with 64, 200 and 1,000 tenants: both stores end equal.

All tenants are new, so their collections are searched before Chroma has written them to its folder. The last part has
200 tenants and a Chroma that keeps 64 collections open, so that it closes collections that are being written. No
request may fail, no collection may be taken for damaged, and all vectors must be equal in the end without a repair.
"""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from random import Random

import psutil
from django.conf import settings

from benchmarks.processor import listening_on
from memories.index import capacity
from outbox.models import Event
from tests.faults import stores
from tests.faults.client import Client, Memories
from tests.faults.fleet import Fleet
from tests.faults.histories import CREATE, Outcome
from tests.faults.trial import Trial
from tests.support.chroma_server import ChromaServer, own_chroma
from tests.support.clusters import url_of_the_tests_database
from tests.support.emptying import empty_the_tables
from tests.support.tenants import new_tenant
from tests.support.web_server import WebServer

CLIENTS = 4
# Seconds of each part.
SECONDS = 150.0
LOST_VECTORS = "vectors of a write"


def run(trial: Trial) -> None:
    if trial.quick:
        part(trial, tenants=8, seconds=1.5, room=4)
        return
    fitting = capacity.open_collections()
    for tenants, room in ((64, fitting), (200, fitting), (1_000, fitting), (200, 64)):
        part(trial, tenants=tenants, seconds=SECONDS, room=room)


def part(trial: Trial, *, tenants: int, seconds: float, room: int) -> None:
    """Load the service with new tenants and a new Chroma that keeps `room` collections open; compare the stores."""
    name = f"{tenants} tenants, room for {room}"
    trial.say(f"{name} for {seconds:.0f} s")
    folder = trial.folder / name.replace(" ", "-")
    folder.mkdir()
    # The tenants of an earlier part had another Chroma. The verification would fill their collections again.
    empty_the_tables(None)
    with service(trial, folder, room) as (url, parts):
        of_tenants = [Memories(new_tenant()) for _ in range(tenants)]
        clients = load(trial, url, of_tenants, seconds / 2)
        before = resident(parts)
        clients += load(trial, url, of_tenants, seconds / 2)
        stores.wait_until_drained(trial)
        report(trial, name, clients)
        for of, megabytes in resident(parts).items():
            # In the second half: at first a process loads what it needs.
            trial.figures[f"{name}: {of}_grown_mb"] = round(megabytes - before[of], 1)
        refilled = Event.objects.filter(type="index.fill").count()
        trial.expect(refilled == 0, f"{name}: {refilled} collections were taken for damaged")
        stores.compare(trial)
    trial.counts[f"{name}: memories"] = trial.counts.pop("memories")
    again = sum(path.read_text().count(LOST_VECTORS) for path in folder.glob("*.log"))
    trial.counts[f"{name}: writes read back and repeated"] = again


@contextmanager
def service(trial: Trial, folder: object, room: int) -> Iterator[tuple[str, dict[str, psutil.Process]]]:
    """The address of the web server, and the processes whose memory counts."""
    with ExitStack() as stack:
        chroma: ChromaServer = stack.enter_context(own_chroma(folder, settings, room))
        environment = {
            "CHROMA_URL": chroma.url,
            "CHROMA_OPEN_COLLECTIONS": str(room),
            "LOG_LEVEL": "WARNING",
            "CLUSTER_WORKERS": str(trial.size(2, quick=1)),
        }
        stack.enter_context(Fleet(folder, 1, **environment))
        web = stack.enter_context(WebServer(DATABASE_URL=url_of_the_tests_database(), **environment))
        yield web.url, {"web": listening_on(web.url), "chroma": listening_on(chroma.url)}


def resident(parts: dict[str, psutil.Process]) -> dict[str, float]:
    """The resident memory of each process, in MB."""
    return {name: process.memory_info().rss / 2**20 for name, process in parts.items()}


def load(trial: Trial, url: str, of_tenants: list[Memories], seconds: float) -> list[Client]:
    """Requests of a few clients, each without a pause, to the tenants by chance."""
    end = time.monotonic() + seconds

    def work(seed: float) -> Client:
        chance = Random(seed)
        client = Client(url, of_tenants[0], chance)
        while time.monotonic() < end:
            client.memories = chance.choice(of_tenants)
            client.act(client.choose())
        client.disconnect()
        return client

    with ThreadPoolExecutor(CLIENTS) as pool:
        return list(pool.map(work, [trial.chance.random() for _ in range(CLIENTS)]))


def report(trial: Trial, name: str, clients: list[Client]) -> None:
    told = [operation for client in clients for operation in client.told]
    unanswered = [operation for operation in told if operation.outcome is Outcome.UNKNOWN]
    trial.counts[f"{name}: requests"] = sum(client.asked for client in clients)
    trial.counts[f"{name}: creates"] = sum(operation.kind == CREATE for operation in told)
    trial.expect(not unanswered, f"{name}: {len(unanswered)} requests failed, such as {unanswered[:1]}")
