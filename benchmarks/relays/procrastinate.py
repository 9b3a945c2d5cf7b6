"""procrastinate: two worker processes with LISTEN/NOTIFY, ten jobs at a time each; finished jobs are deleted."""

import asyncio
import os
from collections.abc import Sequence
from typing import Any

import psycopg
from procrastinate import App, BaseConnector, PsycopgConnector, SyncPsycopgConnector

from benchmarks.relays import starts
from benchmarks.relays.subject import start
from semantix.allinone.process import Child

CONCURRENCY = 10
RESCUE_SECONDS = 1.0


def application(connector: BaseConnector) -> App:
    app = App(connector=connector)

    @app.task(name="note")
    async def note(number: int) -> None:
        starts.note(number)

    return app


class Procrastinate:
    def prepare(self) -> None:
        app = application(SyncPsycopgConnector(conninfo=os.environ["DATABASE_URL"]))
        app.open()
        app.schema_manager.apply_schema()
        self._task = app.tasks["note"]
        self._session = psycopg.connect(os.environ["DATABASE_URL"], autocommit=True)

    def publish(self, number: int) -> None:
        self._task.defer(number=number)

    def publish_many(self, numbers: Sequence[int]) -> None:
        jobs: list[dict[str, Any]] = [{"number": number} for number in numbers]
        self._task.batch_defer(*jobs)

    def unfinished(self) -> int:
        row = self._session.execute(
            "SELECT count(*) FROM procrastinate_jobs WHERE status IN ('todo', 'doing')"
        ).fetchone()
        return int(row[0]) if row else 0

    def worker(self) -> Child:
        return start("benchmarks.relays.work", "procrastinate")

    def workers(self) -> list[Child]:
        return [self.worker() for _ in range(2)]


async def work() -> None:
    connector = PsycopgConnector(conninfo=os.environ["DATABASE_URL"], max_size=CONCURRENCY + 2)
    async with application(connector).open_async() as app:
        rescuer = asyncio.create_task(_rescue(app))
        await app.run_worker_async(concurrency=CONCURRENCY, delete_jobs="successful")
        rescuer.cancel()


async def _rescue(app: App) -> None:
    """Retry the jobs of dead workers, as the documentation has a task for it. It finds them by its default of 30 s."""
    while True:
        for job in await app.job_manager.get_stalled_jobs():
            await app.job_manager.retry_job(job)
        await asyncio.sleep(RESCUE_SECONDS)
