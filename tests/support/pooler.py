"""A real PgBouncer in transaction mode before the database of the tests.

It takes whoever connects for the superuser, so it listens only on loopback and on the cables of tests.support.machine.
"""

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, quote, urlsplit

import psycopg
from django.db import connection

from semantix.allinone.account import server_account
from semantix.allinone.process import Child
from tests.support.free_port import free_port
from tests.support.programs import require

CONFIGURATION = """
[databases]
* = {server} user=postgres

[pgbouncer]
listen_addr = {addresses}
listen_port = {port}
unix_socket_dir = {folder}
auth_type = any
pool_mode = transaction
max_client_conn = 1000
default_pool_size = {sessions}
stats_users = postgres
"""


@dataclass
class Pooler:
    """Runs inside the `with`. It listens on a socket, and at `addresses`. `sessions`: with PostgreSQL, at most."""

    log: Path
    sessions: int = 20
    addresses: Sequence[str] = ()
    port: int = field(default_factory=free_port)

    def url(self, address: str) -> str:
        """The test's database through it, at one of the addresses."""
        return f"postgresql://postgres@{address}:{self.port}/{quote(connection.settings_dict['NAME'])}"

    @property
    def socket_url(self) -> str:
        """The same through the socket."""
        return self._url_of(connection.settings_dict["NAME"])

    def clients(self) -> int:
        """Connections of clients at this moment, without the one that asks."""
        with psycopg.connect(self._url_of("pgbouncer"), autocommit=True) as session:
            return len(session.execute("SHOW CLIENTS").fetchall()) - 1

    def _url_of(self, database: str) -> str:
        folder = quote(str(self._folder), safe="")
        return f"postgresql://postgres@/{quote(database)}?host={folder}&port={self.port}"

    def __enter__(self) -> Self:
        program = require("pgbouncer")
        # The path of a socket must be short.
        self._folder = Path(tempfile.mkdtemp(prefix="pooler-"))
        configuration = self._folder / "pgbouncer.ini"
        configuration.write_text(self._configuration())
        account = server_account(self._folder)  # it refuses to run as root, too
        if account:
            os.chown(self._folder, account.uid, account.gid)
            os.chown(configuration, account.uid, account.gid)
        self._child = Child("PgBouncer", [program, str(configuration)], log=self.log, account=account)
        self._child.wait_until(self._answers, timeout=60)
        return self

    def __exit__(self, *_error: object) -> None:
        self._child.stop()
        shutil.rmtree(self._folder)

    def _configuration(self) -> str:
        direct = parse_qs(urlsplit(os.environ["DATABASE_URL"]).query)
        return CONFIGURATION.format(
            server=f"host='{direct['host'][0]}' port={direct['port'][0]}",
            addresses=",".join(self.addresses),
            port=self.port,
            folder=self._folder,
            sessions=self.sessions,
        )

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.socket_url).close()
        except psycopg.OperationalError:
            return False
        return True
