"""Starts of `manage.py up` that are interrupted, or refused with one line that gives the reason."""

import os
import signal
import socket
from pathlib import Path

import pytest

from tests.support.free_port import free_port
from tests.support.running import Up


@pytest.mark.parametrize(
    "moment", ["Starting Postgres", "Starting Chroma", "Migrating", "Starting the cluster"]
)
def test_an_interrupted_start_leaves_no_process(tmp_path: Path, moment: str) -> None:
    with Up(tmp_path / "data") as up:
        up.wait_for_line(moment)
        assert up.stop(signal.SIGTERM) == 0
        assert up.processes() == []
        assert "Traceback" not in up.output


def refused(up: Up) -> str:
    """The last line of a start that fails."""
    with up:
        assert up.wait_for_end(60) == 1
        assert up.processes() == []
        return up.output.strip().splitlines()[-1]


def test_a_port_in_use_is_reported(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"Port {port} on 127.0.0.1 is in use" in refused(Up(tmp_path / "data", PORT=str(port)))


def test_open_to_the_network_is_refused(tmp_path: Path) -> None:
    up = Up(tmp_path / "data", HOST="0.0.0.0", SEMANTIX_AUTH="open")
    assert "SEMANTIX_AUTH=open would let everybody who reaches 0.0.0.0" in refused(up)


def test_a_data_folder_that_is_a_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert f"Cannot write in {tmp_path}/file" in refused(Up(tmp_path / "file"))


def test_an_unwritable_data_folder_is_reported(tmp_path: Path) -> None:
    assert "Cannot write in /proc/data" in refused(Up(tmp_path / "data", DATA_DIR="/proc/data"))


def test_an_unreachable_database_is_reported(tmp_path: Path) -> None:
    port = free_port()
    line = refused(Up(tmp_path / "data", DATABASE_URL=f"postgresql://postgres@127.0.0.1:{port}/semantix"))
    assert f"Cannot use Postgres at 127.0.0.1:{port}/semantix" in line


def test_a_postgres_without_pgvector_is_reported(tmp_path: Path) -> None:
    without = "&options=-c%20extension_control_path%3D/nowhere"
    line = refused(Up(tmp_path / "data", DATABASE_URL=os.environ["DATABASE_URL"] + without))
    assert "has no pgvector" in line


def test_a_misconfigured_embedding_backend_is_reported(tmp_path: Path) -> None:
    line = refused(Up(tmp_path / "data", EMBEDDING_BACKEND="google"))
    assert "GOOGLE_API_KEY is empty: set it" in line
    assert not (tmp_path / "data").exists()


def test_a_setting_that_the_cluster_would_refuse_is_reported_before_the_announcement(tmp_path: Path) -> None:
    up = Up(tmp_path / "data", OUTBOX_BATCH_SIZE="-5")
    assert "OUTBOX_BATCH_SIZE is -5" in refused(up)
    assert "Semantix is up" not in up.output
