"""`manage.py backup` and `manage.py restore`, on real servers."""

import json
import stat
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from django.db import connection, connections
from django.test import Client

from semantix.allinone import postgres, programs
from semantix.allinone.service import Service
from semantix.recovery import load
from semantix.recovery import programs as recovery
from semantix.recovery.sequences import GAP
from tests.support.chroma_server import own_chroma
from tests.support.keys import memory
from tests.support.postgres_folder import reachable
from tests.support.processes import environment, exit_code, manage

pytestmark = pytest.mark.django_db(transaction=True)

MEMORIES = 3


@pytest.fixture
def stored(client: Client) -> list[int]:
    """The ids of memories in the tests' database, whose events wait."""
    return [
        client.post("/memory-logs", memory("alice", "web"), content_type="application/json").json()["id"]
        for _ in range(MEMORIES)
    ]


@pytest.fixture
def backup(stored: list[int], tmp_path: Path) -> Path:
    file = tmp_path / "backup"
    assert exit_code("backup", str(file)) == 0
    return file


@pytest.fixture(scope="module")
def other_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Another server. It has assigned far fewer transaction ids than that of the tests."""
    folder = reachable(tmp_path_factory.mktemp("other"))
    service = postgres.start(folder / "postgres", log=folder / "log", settings=postgres.NOT_DURABLE)
    yield service
    service.stop()


@pytest.fixture
def elsewhere(other_server: Service) -> Iterator[str]:
    """The URL of an empty database on the other server."""
    name = f"restored_{uuid4().hex}"
    with psycopg.connect(other_server.url, autocommit=True) as session:
        session.execute(f"CREATE DATABASE {name}")
        yield urlsplit(other_server.url)._replace(path=f"/{name}").geturl()
        session.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def index(tmp_path: Path, settings: Any) -> Iterator[dict[str, str]]:
    """The variables that name a Chroma of the test's own."""
    with own_chroma(tmp_path, settings) as server:
        yield {"CHROMA_URL": server.url}


def ask(url: str, query: str) -> list[Any]:
    with psycopg.connect(url) as session:
        return session.execute(query).fetchall()


def execute(url: str, statement: str) -> None:
    with psycopg.connect(url) as session:
        session.execute(statement)


def restore(url: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return manage("restore", *arguments, **{"DATABASE_URL": url, **variables})


def restored(url: str, file: Path, *arguments: str, **variables: str) -> Mapping[str, Any]:
    done = restore(url, str(file), "--json", *arguments, **variables)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


CONTENT = "SELECT id, user_id, task, version, created_at, raw_data::text FROM memory_logs ORDER BY id"


def test_a_backup_restored_on_another_server_is_equal_and_so_is_its_index(
    backup: Path, stored: list[int], elsewhere: str, index: dict[str, str]
) -> None:
    answer = restored(elsewhere, backup, **index)

    assert ask(elsewhere, CONTENT) == ask(environment()["DATABASE_URL"], CONTENT)
    assert answer["memories"] == MEMORIES
    assert answer["index"]["memories"] == MEMORIES
    verified = json.loads(manage("verify_index", "--json", DATABASE_URL=elsewhere, **index).stdout)
    assert (verified["memories"], verified["missing"], verified["orphaned"]) == (MEMORIES, 0, 0)


def test_ids_given_out_after_the_backup_are_not_given_again(
    backup: Path, stored: list[int], elsewhere: str
) -> None:
    restored(elsewhere, backup, "--skip-index")

    for table, largest in (("memory_logs", max(stored)), ("outbox_event", 0)):
        [(last,)] = ask(elsewhere, f"SELECT last_value FROM {table}_id_seq")
        assert last >= largest + GAP


def test_every_table_keeps_its_keys_indexes_and_triggers(backup: Path, elsewhere: str) -> None:
    restored(elsewhere, backup, "--skip-index")

    ours = environment()["DATABASE_URL"]
    for catalogue in (
        "SELECT conrelid::regclass::text, conname FROM pg_constraint WHERE connamespace = 'public'::regnamespace",
        "SELECT tablename::text, indexname::text FROM pg_indexes WHERE schemaname = 'public'",
        "SELECT tgrelid::regclass::text, tgname::text FROM pg_trigger WHERE NOT tgisinternal",
    ):
        assert sorted(ask(elsewhere, catalogue)) == sorted(ask(ours, catalogue))


RECORD = (
    "INSERT INTO outbox_event (aggregatetype, aggregateid, type, payload, status) "
    "VALUES ('memory', '1', 'vector.stored', '{}', 'delivered')"
)


def test_events_of_the_former_server_are_neither_hidden_nor_replayed(
    stored: list[int], elsewhere: str, tmp_path: Path
) -> None:
    ours = environment()["DATABASE_URL"]
    execute(ours, RECORD)
    execute(ours, "UPDATE outbox_event SET xact_id = 1000000000 WHERE type = 'vector.stored'")
    file = tmp_path / "with-stream"
    assert exit_code("backup", str(file)) == 0

    answer = restored(elsewhere, file, "--skip-index")
    execute(elsewhere, RECORD)

    positions = ask(elsewhere, "SELECT xact_id FROM outbox_event WHERE type = 'vector.stored' ORDER BY id")
    assert positions[0] == (0,)
    assert 0 < positions[1][0] < 1_000_000_000
    assert ask(elsewhere, "SELECT name FROM outbox_epoch ORDER BY id DESC LIMIT 1") == [(answer["epoch"],)]


def test_a_restore_replaces_everything_also_what_is_younger_than_the_backup(
    backup: Path, stored: list[int], client: Client
) -> None:
    ours = environment()["DATABASE_URL"]
    client.post("/memory-logs", memory("bob", "web"), content_type="application/json")
    execute(ours, "CREATE TABLE younger AS SELECT 1 AS one")
    disconnect()

    restored(ours, backup, "--yes", "--skip-index")

    assert ask(ours, "SELECT count(*), count(*) FILTER (WHERE user_id = 'bob') FROM memory_logs") == [
        (MEMORIES, 0)
    ]
    assert ask(ours, "SELECT to_regclass('younger')") == [(None,)]


def disconnect() -> None:
    """Close this process's own session."""
    connections.close_all()


def test_it_refuses_while_anything_else_is_connected_and_changes_nothing(
    backup: Path, stored: list[int]
) -> None:
    ours = environment()["DATABASE_URL"]
    disconnect()
    with psycopg.connect(ours, application_name="a client") as session:
        done = restore(ours, str(backup), "--yes", "--skip-index")
        assert session.execute("SELECT count(*) FROM memory_logs").fetchone() == (MEMORIES,)
    assert done.returncode == 1
    assert "1 other session connected to the database" in done.stderr
    assert "a client" in done.stderr
    assert "Nothing was changed" in done.stderr


def test_it_asks_before_it_replaces_memories(backup: Path) -> None:
    disconnect()
    done = restore(environment()["DATABASE_URL"], str(backup), "--skip-index")
    assert done.returncode == 2
    assert f"holds {MEMORIES} memories" in done.stderr
    assert "--yes" in done.stderr


def test_a_backup_that_is_cut_off_changes_nothing(backup: Path, tmp_path: Path) -> None:
    ours = environment()["DATABASE_URL"]
    before = ask(ours, CONTENT)
    cut = tmp_path / "cut"
    cut.write_bytes(backup.read_bytes()[: backup.stat().st_size * 2 // 3])
    disconnect()

    done = restore(ours, str(cut), "--yes", "--skip-index")

    assert done.returncode == 1
    assert "pg_restore failed" in done.stderr
    assert ask(ours, CONTENT) == before
    assert ask(ours, "SELECT count(*) FROM outbox_epoch") == [(0,)]


def test_a_restore_that_is_killed_changes_nothing(stored: list[int]) -> None:
    """psql then reads the end of its input, without the COMMIT that the command sends last."""
    ours = environment()["DATABASE_URL"]
    before = ask(ours, CONTENT)
    disconnect()

    script = f"{load.BEGIN}CREATE TABLE half ();\n"
    subprocess.run(
        [psql(), "--no-psqlrc", "--quiet", f"--dbname={ours}"], input=script, text=True, check=True
    )

    assert ask(ours, CONTENT) == before
    assert ask(ours, "SELECT to_regclass('half')") == [(None,)]


def psql() -> Path:
    return programs.installed() / "psql"


@pytest.mark.parametrize("content", ["not a backup", ""])
def test_another_file_is_refused(tmp_path: Path, elsewhere: str, content: str) -> None:
    file = tmp_path / "file"
    file.write_text(content)
    done = restore(elsewhere, str(file))
    assert done.returncode == 1
    assert "is not a backup" in done.stderr


def test_after_a_restore_by_other_means_the_stream_and_the_ids_continue(
    stored: list[int], elsewhere: str, tmp_path: Path, index: dict[str, str]
) -> None:
    """As with pg_restore by hand, or the snapshot of a managed server: nobody has seen to the stream."""
    ours = environment()["DATABASE_URL"]
    execute(ours, RECORD)
    execute(ours, "UPDATE outbox_event SET xact_id = 1000000000 WHERE type = 'vector.stored'")
    dumped = subprocess.run(
        [str(psql().with_name("pg_dump")), "--format=custom", "--no-owner", ours],
        capture_output=True,
        check=True,
    )
    subprocess.run(
        [str(psql().with_name("pg_restore")), "--no-owner", f"--dbname={elsewhere}"],
        input=dumped.stdout,
        check=True,
    )
    assert "positions of another server" in manage("outbox_doctor", DATABASE_URL=elsewhere).stdout

    done = restore(elsewhere, "--after", "--json", **index)

    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["memories"] == answer["index"]["memories"] == MEMORIES
    assert ask(elsewhere, "SELECT xact_id FROM outbox_event WHERE type = 'vector.stored'") == [(0,)]
    [(last,)] = ask(elsewhere, "SELECT last_value FROM memory_logs_id_seq")
    assert last >= max(stored) + GAP
    findings = json.loads(manage("outbox_doctor", "--json", DATABASE_URL=elsewhere).stdout)["findings"]
    assert {finding["name"]: finding["ok"] for finding in findings}["stream"]


def test_without_an_index_the_database_is_restored_and_the_exit_code_says_so(
    backup: Path, elsewhere: str
) -> None:
    done = restore(elsewhere, str(backup), CHROMA_URL="http://127.0.0.1:1")
    assert done.returncode == 1
    assert "Run rebuild_index" in done.stderr
    assert ask(elsewhere, "SELECT count(*) FROM memory_logs") == [(MEMORIES,)]
    assert ask(elsewhere, "SELECT count(*) FROM outbox_event WHERE type = 'index.doubted'") == [(1,)]


def test_a_backup_is_private_and_replaces_no_file_unasked(stored: list[int], tmp_path: Path) -> None:
    file = tmp_path / "backup"
    answer = json.loads(manage("backup", str(file), "--json").stdout)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert answer["bytes"] == file.stat().st_size > 0
    assert answer["tables"] > 20

    again = manage("backup", str(file))
    assert again.returncode == 2
    assert "--replace" in again.stderr
    assert exit_code("backup", str(file), "--replace") == 0
    assert [path.name for path in tmp_path.glob("backup*")] == ["backup"]


def test_a_backup_without_a_database_says_so_and_leaves_no_file(tmp_path: Path) -> None:
    file = tmp_path / "backup"
    done = manage("backup", str(file), DATABASE_URL="postgresql://nobody@127.0.0.1:1/x")
    assert done.returncode == 1
    assert "The database failed" in done.stderr
    assert list(tmp_path.glob("backup*")) == []


@pytest.mark.parametrize(
    "arguments",
    [["restore"], ["restore", "file", "--after"], ["restore", "/nowhere/file"], ["backup", "/nowhere/file"]],
)
def test_wrong_use_is_exit_code_2(arguments: list[str]) -> None:
    assert exit_code(*arguments) == 2


def test_the_password_is_in_a_private_file_and_not_in_the_arguments(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(connection.settings_dict, "PASSWORD", "it's secret")
    with recovery.environment() as variables:
        service = Path(variables["PGSERVICEFILE"])
        assert stat.S_IMODE(service.stat().st_mode) == 0o600
        assert "password=it's secret" in service.read_text()
        assert not any("secret" in value for value in variables.values())
    assert not service.exists()


def test_an_erasure_that_is_younger_than_the_backup_is_requested_again(
    backup: Path, elsewhere: str, index: dict[str, str]
) -> None:
    restored(elsewhere, backup, **index)
    erased = manage("erase", "--user-id", "alice", "--yes", DATABASE_URL=elsewhere, **index)
    assert erased.returncode == 0, erased.stderr
    requested = "SELECT user_id, requested_at FROM erasures"
    before = ask(elsewhere, requested)

    answer = restored(elsewhere, backup, "--yes", **index)

    assert len(answer["erasures"]) == 1
    assert ask(elsewhere, requested) == before
    waiting = "SELECT count(*) FROM outbox_event WHERE type = 'erasure.requested' AND status = 'pending'"
    assert ask(elsewhere, waiting) == [(1,)]
