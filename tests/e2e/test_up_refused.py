"""`manage.py up` that does not come up: interrupted, or refused with one line that says why."""

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
def test_interrupted_while_starting_it_leaves_nothing(tmp_path: Path, moment: str) -> None:
    with Up(tmp_path / "data") as up:
        up.wait_for_line(moment)
        assert up.stop(signal.SIGTERM) == 0
        assert up.processes() == []
        assert "Traceback" not in up.output


def refused(up: Up) -> str:
    """The one line with which a start gives up."""
    with up:
        assert up.wait_for_end(60) == 1
        assert up.processes() == []
        return up.output.strip().splitlines()[-1]


def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"Port {port} on 127.0.0.1 is in use" in refused(Up(tmp_path / "data", PORT=str(port)))


def test_open_to_the_network_is_refused(tmp_path: Path) -> None:
    up = Up(tmp_path / "data", HOST="0.0.0.0", SEMANTIX_AUTH="open")
    assert "SEMANTIX_AUTH=open would let everybody who reaches 0.0.0.0" in refused(up)


def test_a_data_folder_that_is_a_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert f"Cannot write in {tmp_path}/file" in refused(Up(tmp_path / "file"))


def test_a_data_folder_one_may_not_write_is_said(tmp_path: Path) -> None:
    assert "Cannot write in /proc/data" in refused(Up(tmp_path / "data", DATA_DIR="/proc/data"))


def test_a_database_that_is_not_there_is_said(tmp_path: Path) -> None:
    port = free_port()
    line = refused(Up(tmp_path / "data", DATABASE_URL=f"postgresql://postgres@127.0.0.1:{port}/semantix"))
    assert f"Cannot use Postgres at 127.0.0.1:{port}/semantix" in line


def test_a_postgres_without_pgvector_is_said(tmp_path: Path) -> None:
    without = "&options=-c%20extension_control_path%3D/nowhere"
    line = refused(Up(tmp_path / "data", DATABASE_URL=os.environ["DATABASE_URL"] + without))
    assert "has no pgvector" in line


def test_an_embedding_backend_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    line = refused(Up(tmp_path / "data", EMBEDDING_BACKEND="google"))
    assert "GOOGLE_API_KEY is empty: set it" in line
    assert not (tmp_path / "data").exists()


def test_a_setting_that_the_cluster_would_refuse_is_said_before_anything_is_announced(tmp_path: Path) -> None:
    up = Up(tmp_path / "data", OUTBOX_BATCH_SIZE="-5")
    assert "OUTBOX_BATCH_SIZE is -5" in refused(up)
    assert "Semantix is up" not in up.output
