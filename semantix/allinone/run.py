"""Start the whole service, watch it, stop it."""

import logging
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from django.conf import settings
from django.core.checks import run_checks
from django.db import Error, connections

from memories.index.capacity import open_collections
from memories.index.client import get_client
from memories.indexing import repair
from outbox import Unavailable
from semantix.allinone import chroma, database, measurements, postgres, probe, web
from semantix.allinone.access import access
from semantix.allinone.account import server_account
from semantix.allinone.announcement import announcement
from semantix.allinone.data_folder import PRIVATE_UMASK, make_private, place_for_postgres
from semantix.allinone.errors import StartError, StartInterrupted
from semantix.allinone.interruption import Interruption
from semantix.allinone.lock import Lock
from semantix.allinone.private_files import secret_key, write_private, write_services
from semantix.allinone.process import Child
from semantix.allinone.service import Program
from semantix.allinone.service_group import ServiceGroup
from semantix.web.parts import Part, to_json

logger = logging.getLogger(__name__)

Say = Callable[[str], None]


def run(say: Say) -> None:
    """Start everything, announce the addresses, watch until interrupted, stop everything.

    Raises StartError, after stopping everything, where the service could not take a memory: Postgres or the web server
    does not start, or a setting is wrong. All else is started again and again while the service runs.
    """
    interruption = Interruption()
    with suppress(OSError):  # the lock reports it; the folders above the data folder get ordinary modes
        settings.DATA_DIR.parent.mkdir(parents=True, exist_ok=True)
    os.umask(PRIVATE_UMASK)
    lock = Lock(settings.DATA_DIR / "up.lock", f"The data folder {settings.DATA_DIR}")
    group = ServiceGroup(say, report=_report)
    try:
        settings.PARTS_FILE.unlink(missing_ok=True)
        make_private(settings.DATA_DIR, server_account(settings.DATA_DIR / "postgres"))
        _start(group, interruption, say)
        group.watch(interruption)
    except StartInterrupted:
        pass
    finally:
        group.stop()
        for file in (settings.SERVICES_ENV, settings.PARTS_FILE):
            file.unlink(missing_ok=True)
        measurements.remove(settings.DATA_DIR)
        lock.release()
    say("Stopped.")


def _report(parts: Sequence[Part]) -> None:
    """Tell the web server which parts fail. A full disk takes this file, and must not end the parts that run."""
    try:
        write_private(settings.PARTS_FILE, to_json(parts))
    except OSError as error:
        logger.warning("The state of the parts cannot be written (%s).", error)


def _start(group: ServiceGroup, interruption: Interruption, say: Say) -> None:
    auth = access(settings.HOST, settings.SEMANTIX_AUTH if "SEMANTIX_AUTH" in settings.GIVEN else None)
    web.require_free_port(settings.HOST, settings.PORT)
    services = _start_stores(group, interruption, say)
    with interruption.at_once():
        database.migrate(say)
        database.tell_problems_of_locale(say)
        _refuse_wrong_settings(say)
    write_services(settings.SERVICES_ENV, services)
    environment = {**os.environ, **services, "SEMANTIX_AUTH": auth, **measurements.prepare(settings.DATA_DIR)}
    url = _start_django(group, environment, interruption, say)
    group.require_needed()
    with interruption.at_once():
        say(announcement(url, auth, database.first_admin_password()))


def _start_stores(group: ServiceGroup, interruption: Interruption, say: Say) -> dict[str, str]:
    """Start Postgres and Chroma, unless the settings name other servers. Returns the settings that name ours."""
    services = {}
    if "DATABASE_URL" not in settings.GIVEN:
        say(f"Starting Postgres over {settings.DATA_DIR / 'postgres'} ...")
        folder = place_for_postgres(settings.DATA_DIR / "postgres", say)
        store = postgres.start(folder, log=_log("postgres"), stopping=interruption)
        group.add(store)
        services["DATABASE_URL"] = store.url
        database.use(store.url)
    if "CHROMA_URL" not in settings.GIVEN:
        say(f"Starting Chroma over {settings.CHROMADB_PATH} ...")
        index = chroma.prepare(
            settings.CHROMADB_PATH,
            log=_log("chroma"),
            open_collections=open_collections(),
            stopping=interruption,
        )
        group.start(index, restarted=lambda: _refill(say))
        services["CHROMA_URL"] = index.url
    elif trouble := _trouble_of_chroma():
        say(f"Chroma does not answer ({trouble}). Memories will wait for it; PostgreSQL answers searches.")
    if "SECRET_KEY" not in settings.GIVEN:
        services["SECRET_KEY"] = secret_key(settings.DATA_DIR / "secret_key")
    return services


def _trouble_of_chroma() -> str | None:
    """Why the server of CHROMA_URL does not answer this project's client; None if it does."""
    try:
        get_client()
    except Unavailable as unavailable:
        return str(unavailable)
    return None


def _refill(say: Say) -> None:
    """Publish the events that make the cluster refill the index. Without the database, the schedule finds the loss."""
    with suppress(Error):
        repair.request_check()
        say("The cluster refills the index from Postgres. Meanwhile Postgres answers searches.")
    connections.close_all()


def _refuse_wrong_settings(say: Say) -> None:
    """Raise StartError for a setting that the cluster would refuse later, after everything else has started."""
    for message in run_checks():
        words = f"{message.msg} {message.hint or ''} ({message.id})"
        if message.is_serious():
            raise StartError(words)
        say(f"Warning: {words}")


def _start_django(
    group: ServiceGroup, environment: dict[str, str], interruption: Interruption, say: Say
) -> str:
    """Start the cluster and the web server. Returns the web server's address once it answers."""
    say("Starting the cluster and the web server ...")
    group.start(_cluster(environment, say))
    web_server = _web_server(environment, interruption)
    web_server.restart()
    group.add(web_server)
    return web.base_url(settings.HOST, settings.PORT)


def _cluster(environment: dict[str, str], say: Say) -> Program:
    argv = [
        sys.executable,
        str(settings.BASE_DIR / "manage.py"),
        "qcluster",
        "--skip-checks",  # they have just run
    ]

    def launch() -> Child:
        if "DATABASE_URL" not in settings.GIVEN:
            database.forget_lost_workers(say)
        # Requests come first: embedding and indexing get the processor time that is left.
        return Child("Cluster", argv, env=environment, cwd=settings.BASE_DIR, background=True)

    return Program(name="Cluster", launch=launch)


def _web_server(environment: dict[str, str], interruption: Interruption) -> Program:
    argv = web.command(settings.HOST, settings.PORT)
    alive = f"{web.base_url(settings.HOST, settings.PORT)}/health/live"

    def launch() -> Child:
        child = Child("Web server", argv, env=environment, cwd=settings.BASE_DIR)
        child.wait_until(lambda: probe.answers(alive), timeout=60, stopping=interruption)
        return child

    return Program(name="Web server", launch=launch)


def _log(name: str) -> Path:
    return Path(settings.DATA_DIR, "logs", f"{name}.log")
