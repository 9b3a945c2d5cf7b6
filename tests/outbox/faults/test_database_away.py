"""PostgreSQL restarts under a running cluster. Each test has its own server."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from semantix.allinone import postgres
from semantix.allinone.service import Service
from tests.support.clusters import ROOT, cluster
from tests.support.postgres_folder import reachable
from tests.support.waiting import wait_until


class Database:
    """A PostgreSQL server that a test can stop, start and query."""

    def __init__(self, folder: Path) -> None:
        self._folder = reachable(folder)
        self._service: Service | None = None
        self.start()

    @property
    def url(self) -> str:
        assert self._service
        return self._service.url

    def start(self) -> None:
        log = self._folder / "postgres.log"
        self._service = postgres.start(self._folder / "postgres", log=log, settings=postgres.NOT_DURABLE)

    def stop(self) -> None:
        if self._service:
            self._service.stop()

    def publish(self, type: str = "test.noted", payload: str = "{}") -> int:
        insert = (
            "INSERT INTO outbox_event (aggregatetype, aggregateid, type, payload) "
            "VALUES ('thing', gen_random_uuid()::text, %s, %s) RETURNING id"
        )
        with psycopg.connect(self.url) as session:
            row = session.execute(insert, [type, payload]).fetchone()
        assert row
        return int(row[0])

    def event(self, id: int) -> tuple[str, int]:
        """Its status and attempts."""
        with psycopg.connect(self.url) as session:
            row = session.execute("SELECT status, attempts FROM outbox_event WHERE id = %s", [id]).fetchone()
        assert row
        return row[0], row[1]

    def effects(self) -> int:
        with psycopg.connect(self.url) as session:
            row = session.execute("SELECT count(*) FROM outbox_app_effect").fetchone()
        assert row
        return int(row[0])


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a migrated server. To migrate one takes a while."""
    folder = tmp_path_factory.mktemp("migrated")
    database = Database(folder)
    try:
        environment = os.environ | {"DATABASE_URL": database.url, "LOG_LEVEL": "WARNING"}
        command = [sys.executable, "manage.py", "migrate", "--run-syncdb", "--verbosity=0"]
        subprocess.run(command, cwd=ROOT, env=environment, check=True)
    finally:
        database.stop()
    return folder / "postgres"


@pytest.fixture
def database(migrated: Path, tmp_path: Path) -> Iterator[Database]:
    subprocess.run(["cp", "-a", migrated, tmp_path / "postgres"], check=True)
    database = Database(tmp_path)
    try:
        yield database
    finally:
        database.stop()


def test_a_restart_of_postgres_neither_ends_nor_stalls_the_relay(tmp_path: Path, database: Database) -> None:
    with cluster(tmp_path, database_url=database.url) as running:
        before = database.publish()
        wait_until(lambda: database.event(before) == ("delivered", 1))
        relay = running.relay_pid()
        processes = {process.pid for process in running.processes()}

        database.stop()
        wait_until(lambda: "does not answer" in running.output)
        database.start()
        after = database.publish()
        wait_until(lambda: database.event(after) == ("delivered", 1))

        # django-q2 by itself waits ten seconds, and then begins a new process.
        assert running.relay_pid() == relay
        assert {process.pid for process in running.processes()} == processes
        # It is woken again, too: one published later is not found by polling only.
        wait_until(lambda: _listens(database))


def _listens(database: Database) -> bool:
    with psycopg.connect(database.url) as session:
        row = session.execute(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE application_name = 'outbox relay' AND query LIKE '%outbox_event%'"
        ).fetchone()
    return bool(row and row[0])


def test_an_outcome_during_a_restart_is_recorded_afterwards(tmp_path: Path, database: Database) -> None:
    done = tmp_path / "done"
    with cluster(tmp_path, database_url=database.url) as running:
        in_hand = database.publish("test.waited_for", f'{{"file": "{done}"}}')
        wait_until(lambda: database.effects() == 1)

        database.stop()
        done.touch()
        wait_until(lambda: "recorded again" in running.output)
        database.start()

        wait_until(lambda: database.event(in_hand) == ("delivered", 1))
    assert database.effects() == 1
