"""pgqueuer: two worker processes with asyncpg, its fastest driver, and LISTEN/NOTIFY.

Once with its default of ten jobs at a time, and once with a hundred.
"""

import asyncio
import os
from collections.abc import Sequence
from datetime import timedelta

import asyncpg
import psycopg
from pgqueuer import PgQueuer
from pgqueuer.adapters.drivers.psycopg import SyncPsycopgDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries, SyncQueries

from benchmarks.relays import starts
from benchmarks.relays.subject import start
from semantix.allinone.process import Child


class Pgqueuer:
    batch = 10

    def prepare(self) -> None:
        asyncio.run(_install())
        self._session = psycopg.connect(os.environ["DATABASE_URL"], autocommit=True)
        self._queries = SyncQueries(SyncPsycopgDriver(self._session))

    def publish(self, number: int) -> None:
        self._queries.enqueue("note", str(number).encode())

    def publish_many(self, numbers: Sequence[int]) -> None:
        count = len(numbers)
        self._queries.enqueue(["note"] * count, [str(number).encode() for number in numbers], [0] * count)

    def unfinished(self) -> int:
        row = self._session.execute("SELECT count(*) FROM pgqueuer").fetchone()
        return int(row[0]) if row else 0

    def worker(self) -> Child:
        return start("benchmarks.relays.work", "pgqueuer", str(self.batch))

    def workers(self) -> list[Child]:
        return [self.worker() for _ in range(2)]


class PgqueuerInHundreds(Pgqueuer):
    batch = 100


async def _connect() -> asyncpg.Connection:
    return await asyncpg.connect(os.environ["DATABASE_URL"])


async def _install() -> None:
    session = await _connect()
    await Queries.from_asyncpg_connection(session).install()
    await session.close()


async def work(batch: str) -> None:
    queuer = PgQueuer.from_asyncpg_connection(await _connect())

    @queuer.entrypoint("note")
    async def note(job: Job) -> None:
        starts.note(int(job.payload or b"0"))

    await queuer.run(dequeue_timeout=timedelta(seconds=30), batch_size=int(batch))
