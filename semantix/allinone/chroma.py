"""A Chroma server over a folder. Always use the server: two processes that open one folder lose data."""

import json
import resource
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semantix.allinone import chroma_database, probe, vacuum
from semantix.allinone.errors import StartError
from semantix.allinone.lock import Lock
from semantix.allinone.process import Child, end_leftovers
from semantix.allinone.service import Service

# Without a limit every collection ever used stays in memory with four open files: 2,000 collections take 5.4 GB.
OPEN_COLLECTIONS = 64
FILES_PER_COLLECTION = 4
# For its database, connections and libraries.
OTHER_FILES = 200
NAME = "Chroma"
STOP_SIGNALS = (signal.SIGTERM,)
COLLECTIONS = "/api/v2/tenants/default_tenant/databases/default_database/collections"
STORE = chroma_database.STORE


@dataclass(kw_only=True)
class ChromaServer(Service):
    """A server and its folder.

    Chroma does not notice that its folder was deleted: it answers from the deleted files, fails on files that it had
    not opened, and refuses every write until it restarts. So the folder is watched here.
    """

    folder: Path
    # Device and inode of the store that the server has open; None where the store was already gone.
    store: tuple[int, int] | None = None

    def has_lost_its_folder(self) -> bool:
        """Whether the folder was deleted, emptied or replaced while the server ran."""
        return self.store is None or _identity(self.folder) != self.store

    def trouble(self) -> str | None:
        if self.child and self.has_lost_its_folder():
            return f"{self.folder} was deleted or replaced while Chroma was using it"
        return super().trouble()

    def restart(self) -> None:
        """Start over the folder's present content, or over an empty folder."""
        super().restart()
        self.store = _identity(self.folder)


def start(folder: Path, **options: Any) -> ChromaServer:
    """Start the server over `folder`; the options are those of `prepare`.

    Raises StartError, or StartInterrupted where a stop is requested; in both cases nothing is left running.
    """
    server = prepare(folder, **options)
    try:
        server.restart()
    except BaseException:
        server.stop()
        raise
    return server


def prepare(
    folder: Path,
    *,
    log: Path,
    port: int | None = None,
    open_collections: int = OPEN_COLLECTIONS,
    timeout: float = 60.0,
    stopping: Callable[[], bool] = lambda: False,
) -> ChromaServer:
    """A server for `folder` that is not started yet, with its address on loopback: `port`, or a free one.

    A start takes at most `timeout` seconds, and raises StartInterrupted once `stopping()` is true.
    """
    folder = folder.resolve()
    config = folder.with_name(f"{folder.name}.yaml")
    listening = port or free_port()

    def launch() -> Child:
        _require_files(open_collections)
        _take_over(server, config)
        try:
            chroma_database.keep_write_ahead_log(folder)
            log.parent.mkdir(parents=True, exist_ok=True)
            config.write_text(json.dumps(server_config(folder, listening, open_collections), indent=2))
            if vacuum.erased_marker(folder).exists():
                vacuum.vacuum(folder, program())
            argv = [*program(), "run", str(config)]
            # Not in the background: a write that waits for a processor holds the lock of the database.
            child = Child(NAME, argv, log=log, stop_signals=STOP_SIGNALS)
        except OSError as error:
            raise StartError(
                f"Cannot keep an index in {folder}: {error.strerror} ({error.filename})"
            ) from None
        child.wait_until(lambda: answers(server.url), timeout=timeout, stopping=stopping)
        chroma_database.create_indexes(folder)
        return child

    url = f"http://127.0.0.1:{listening}"
    server = ChromaServer(name=NAME, url=url, launch=launch, folder=folder)
    return server


def _take_over(server: ChromaServer, config: Path) -> None:
    """Take the folder's lock, and end a server that a killed start left over there. Raises StartError."""
    if server.lock is None:
        folder = server.folder
        server.lock = Lock(folder.with_name(f"{folder.name}.lock"), f"The index folder {folder}")
        end_leftovers(lambda process: str(config) in process.cmdline(), STOP_SIGNALS[0])


def server_config(folder: Path, port: int, open_collections: int) -> dict[str, object]:
    """The content of the file for `chroma run FILE`. (JSON is valid YAML.)"""
    # One shard. With the default of 64 each shard would hold one collection, and two busy collections of one shard
    # would evict each other.
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
    """Whether the server answers a real query. Its own health check passes even when it can open no collection."""
    return probe.answers(f"{url}{COLLECTIONS}?limit=1")


def _require_files(open_collections: int) -> None:
    """Raise StartError where the limit of open files is too low.

    Without file descriptors Chroma still reports that it is healthy, and fails every query of the next collection.
    """
    # The child raises its soft limit to the hard limit.
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = open_collections * FILES_PER_COLLECTION + OTHER_FILES
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise StartError(
            f"Chroma needs {needed} open files, and this account may open {hard}. Raise the hard limit "
            "(ulimit -Hn, or LimitNOFILE= of the service)."
        )


def program() -> list[str]:
    """The arguments that start Chroma's command line."""
    # The `chroma` script ends in this call. Calling it directly does not import the client, which would take most of
    # a second and twice the server's memory. It also works in a moved environment, where the script does not.
    return [sys.executable, "-c", "import sys; from chromadb_rust_bindings import cli; cli(sys.argv)"]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
