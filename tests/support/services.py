"""Real Postgres and Chroma for the tests, in a throw-away folder. Loaded before Django reads its settings.

Workers of pytest-xdist share the Postgres, where each has its own database. Each has its own Chroma, because some
tests remove every collection that their database does not know.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from semantix.allinone import chroma, postgres
from tests.support.free_port import free_port
from tests.support.paths import ROOT

# A folder in memory. The stores take about 2 GB: ROOM is what must be free there, ROOM_BESIDE what must stay free.
MEMORY = Path("/dev/shm")
ROOM, ROOM_BESIDE = 5 * 2**30, 4 * 2**30


# A wrapper runs before every other implementation, so before pytest-django's, which imports the settings.
@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None]:
    stack = ExitStack()
    early_config.add_cleanup(stack.close)
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if not worker:
        forget_the_developers_settings()
        start_postgres(stack)
    if worker or not early_config.known_args_namespace.numprocesses:
        start_chroma(stack, f"chromadb{worker}")
    return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Put tmp_path into our folder.

    pytest closes its usual folder to other accounts. When the tests run as root, Postgres runs as another account.
    """
    if config.option.basetemp is None:
        config.option.basetemp = Path(os.environ["DATA_DIR"]) / "tmp"


def forget_the_developers_settings() -> None:
    """Remove every setting that this shell or a .env file makes, so that the tests run on the defaults."""
    os.environ["ENV_FILE"] = os.devnull
    for name in re.findall(r"^#? ?([A-Z][A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE):
        if name != "ENV_FILE":
            os.environ.pop(name, None)
    # Hundreds of processes that the tests start would each compile the whole project.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def start_postgres(stack: ExitStack, *, durable: bool = False) -> Path:
    """Start a server over a throw-away folder, and name both in the environment. Returns the folder.

    A `durable` server waits for the disk, as the service's own does.
    """
    data = Path(tempfile.mkdtemp(prefix="semantix-tests-", dir=None if durable else scratch()))
    stack.callback(shutil.rmtree, data, ignore_errors=True)
    data.chmod(0o711)  # servers of tests run as other accounts
    settings = None if durable else postgres.NOT_DURABLE
    database = postgres.start(data / "postgres", log=data / "postgres.log", settings=settings)
    stack.callback(database.stop)
    os.environ |= {
        "DATA_DIR": str(data),
        # A busy machine is no mute server: what the default of 3 s does is tested where it is the subject.
        "DATABASE_URL": f"{database.url}&connect_timeout=30",
        "SECRET_KEY": "only-for-the-tests",
        "SEMANTIX_AUTH": "open",
        # The same processes on every machine.
        "WEB_WORKERS": "1",
        "CLUSTER_WORKERS": "2",
    }
    return data


def scratch() -> Path | None:
    """The parent of the throw-away folder; None for the system's usual place.

    It is in memory where there is enough, because Chroma waits for the disk at each write.
    """
    try:
        free = shutil.disk_usage(MEMORY).free
    except OSError:
        return None
    plenty = free > ROOM and psutil.virtual_memory().available > ROOM + ROOM_BESIDE
    return MEMORY if plenty and os.access(MEMORY, os.W_OK) else None


def start_chroma(stack: ExitStack, folder: str) -> None:
    data = Path(os.environ["DATA_DIR"])
    index = chroma.start(data / folder, log=data / f"{folder}.log", port=free_port())
    stack.callback(index.stop)
    os.environ["CHROMA_URL"] = index.url
