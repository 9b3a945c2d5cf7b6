"""A Chroma server over a folder. Only ever through its server: two processes on one folder lose data."""

import json
import resource
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from semantix.allinone import probe, vacuum
from semantix.allinone.errors import StartError
from semantix.allinone.lock import Lock
from semantix.allinone.process import Child, end_leftovers
from semantix.allinone.service import Service

# Without a bound every collection ever touched stays in memory with four open files: 2,000 take 5.4 GB.
OPEN_COLLECTIONS = 64
FILES_A_COLLECTION = 4
# Its database, connections and libraries.
FILES_BESIDE = 200
STOP_SIGNALS = (signal.SIGTERM,)
COLLECTIONS = "/api/v2/tenants/default_tenant/databases/default_database/collections"
# What it keeps everything in but the vectors.
STORE = "chroma.sqlite3"


@dataclass(kw_only=True)
class ChromaServer(Service):
    """A server and its folder. It does not notice that the folder goes: it answers from the deleted files, fails
    at what it had not opened yet and refuses every write, until it is started again."""

    folder: Path
    # Which file it has open; None where it was gone before anybody looked.
    store: tuple[int, int] | None

    def has_lost_its_folder(self) -> bool:
        """Whether the folder was deleted, emptied or replaced under it."""
        return self.store is None or _identity(self.folder) != self.store

    def trouble(self) -> str | None:
        if self.has_lost_its_folder():
            return f"{self.folder} was deleted or replaced while Chroma ran over it"
        return super().trouble()

    def restart(self) -> None:
        """Over what is there now, or an empty folder."""
        super().restart()
        self.store = _identity(self.folder)


def start(
    folder: Path,
    *,
    log: Path,
    port: int | None = None,
    open_collections: int = OPEN_COLLECTIONS,
    timeout: float = 60.0,
    stopping: Callable[[], bool] = lambda: False,
) -> ChromaServer:
    """Start the server over `folder` on a loopback port, a free one unless it is given.

    Raises StartError, and StartInterrupted once `stopping()` is true; nothing is left running then.
    """
    _require_files(open_collections)
    folder = folder.resolve()
    lock = Lock(folder.with_name(f"{folder.name}.lock"), f"The index folder {folder}")
    config = folder.with_name(f"{folder.name}.yaml")
    listening = port or free_port()
    url = f"http://127.0.0.1:{listening}"

    def launch() -> Child:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            log.parent.mkdir(parents=True, exist_ok=True)
            config.write_text(json.dumps(server_config(folder, listening, open_collections), indent=2))
            if vacuum.erased_marker(folder).exists():
                vacuum.vacuum(folder, program())
            argv = [*program(), "run", str(config)]
            child = Child("Chroma", argv, log=log, stop_signals=STOP_SIGNALS, background=True)
        except OSError as error:
            raise StartError(
                f"Cannot keep an index in {folder}: {error.strerror} ({error.filename})"
            ) from None
        child.wait_until(lambda: answers(url), timeout=timeout, stopping=stopping)
        return child

    try:
        end_leftovers(lambda process: str(config) in process.cmdline(), STOP_SIGNALS[0])
        child = launch()
    except BaseException:
        lock.release()
        raise
    return ChromaServer(
        url=url, child=child, launch=launch, lock=lock, folder=folder, store=_identity(folder)
    )


def server_config(folder: Path, port: int, open_collections: int) -> dict[str, object]:
    """What `chroma run FILE` reads; JSON is YAML too."""
    # One shard: of the default 64 each would hold one collection, and two busy ones could push each other out.
    open_indexes = {"memory": {"capacity": open_collections, "shards": 1}}
    return {
        "listen_address": "127.0.0.1",
        "port": port,
        "persist_path": str(folder),
        "segment_manager": {"hnsw_index_pool_cache_config": open_indexes},
    }


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        found = (folder / STORE).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def answers(url: str) -> bool:
    """Whether it answers a real query: its health check says yes also when it can open no collection."""
    return probe.answers(f"{url}{COLLECTIONS}?limit=1")


def _require_files(open_collections: int) -> None:
    """Out of file descriptors it would say that it is healthy, and fail every query of the next collection."""
    _soft, hard = resource.getrlimit(
        resource.RLIMIT_NOFILE
    )  # the child raises its soft limit to the hard one
    needed = open_collections * FILES_A_COLLECTION + FILES_BESIDE
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise StartError(
            f"Chroma needs {needed} open files, and this account may have {hard}: raise the hard limit "
            "(ulimit -Hn, or LimitNOFILE= of the service)."
        )


def program() -> list[str]:
    """The arguments that start Chroma's command line."""
    # What the script `chroma` runs in the end, without importing the client first: that takes most of a second, and
    # twice the server's memory. By the interpreter, not that script: it breaks in a moved environment.
    return [sys.executable, "-c", "import sys; from chromadb_rust_bindings import cli; cli(sys.argv)"]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
