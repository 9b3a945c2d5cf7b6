"""The servers that a backup or a restore needs: those of the settings, or the embedded ones."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings
from django.db import connections

from semantix.allinone import chroma, database, postgres
from semantix.allinone.account import server_account
from semantix.allinone.data_folder import PRIVATE_UMASK, make_private, place_for_postgres
from semantix.allinone.errors import StartError
from semantix.allinone.lock import Lock

Say = Callable[[str], None]


def up_lock() -> Lock:
    """The lock of the data folder. Raises StartError while `manage.py up` runs."""
    return Lock(settings.DATA_DIR / "up.lock", f"The data folder {settings.DATA_DIR}")


@contextmanager
def running_database(say: Say) -> Iterator[None]:
    """The database of the settings, or of a running `up`; where none runs, the embedded one, started for the block."""
    if "DATABASE_URL" in settings.GIVEN:
        yield
        return
    try:
        lock = up_lock()
    except StartError:  # it runs
        yield
        return
    with _embedded_database(lock, say):
        yield


@contextmanager
def database_without_up(say: Say) -> Iterator[None]:
    """The database of the settings, or the embedded one, started for the block.

    Raises StartError while `manage.py up` runs over it, and keeps it from being started meanwhile.
    """
    if "DATABASE_URL" in settings.GIVEN:
        yield
        return
    with _embedded_database(up_lock(), say):
        yield


@contextmanager
def _embedded_database(lock: Lock, say: Say) -> Iterator[None]:
    try:
        os.umask(PRIVATE_UMASK)
        make_private(settings.DATA_DIR, server_account(settings.DATA_DIR / "postgres"))
        folder = place_for_postgres(settings.DATA_DIR / "postgres", say)
        say(f"Starting Postgres over {folder} ...")
        server = postgres.start(folder, log=_log("postgres"))
        try:
            database.use(server.url)
            yield
        finally:
            connections.close_all()
            server.stop()
    finally:
        lock.release()


@contextmanager
def empty_index(say: Say) -> Iterator[None]:
    """The Chroma of the settings as it is; or the embedded one, emptied and started for the block.

    The embedded index holds documents of memories that the backup does not have; a new folder is free of them.
    """
    if "CHROMA_URL" in settings.GIVEN:
        yield
        return
    folder = settings.CHROMADB_PATH
    say(f"Starting Chroma over an empty {folder} ...")
    if (folder / chroma.STORE).exists():  # never a folder that only bears the name
        shutil.rmtree(folder)
    server = chroma.start(folder, log=_log("chroma"))
    try:
        settings.CHROMA_URL = server.url
        yield
    finally:
        server.stop()


def _log(name: str) -> Path:
    return Path(settings.DATA_DIR, "logs", f"{name}.log")
