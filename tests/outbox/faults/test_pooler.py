"""A cluster behind a real PgBouncer in transaction mode, through which no NOTIFY arrives."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import psycopg
import pytest
from django.db import connection

from outbox.models import Relay
from semantix.allinone.account import server_account
from semantix.allinone.process import Child
from tests.support.clusters import cluster
from tests.support.programs import require
from tests.support.published import NOTED, publish_all, status_of
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

CONFIGURATION = """
[databases]
* = host='{host}' port={port} user=postgres

[pgbouncer]
listen_addr =
listen_port = 6432
unix_socket_dir = {folder}
auth_type = any
pool_mode = transaction
"""


@pytest.fixture
def pooled_url(tmp_path: Path) -> Iterator[str]:
    """The test's database through PgBouncer, on a socket (its path must be short) of its own."""
    program = require("pgbouncer")
    folder = Path(tempfile.mkdtemp(prefix="pooler-"))
    direct = parse_qs(urlsplit(os.environ["DATABASE_URL"]).query)
    configuration = folder / "pgbouncer.ini"
    configuration.write_text(
        CONFIGURATION.format(host=direct["host"][0], port=direct["port"][0], folder=folder)
    )
    account = server_account(folder)  # it refuses to run as root, too
    if account:
        os.chown(folder, account.uid, account.gid)
        os.chown(configuration, account.uid, account.gid)
    child = Child("PgBouncer", [program, str(configuration)], log=tmp_path / "pgbouncer.log", account=account)
    name = connection.settings_dict["NAME"]
    url = f"postgresql://postgres@/{quote(name)}?host={quote(str(folder), safe='')}&port=6432"
    try:
        child.wait_until(lambda: _answers(url), timeout=60)
        yield url
    finally:
        child.stop()
        shutil.rmtree(folder)


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True


def test_behind_a_transaction_mode_pooler_the_relay_logs_it_and_polls(
    tmp_path: Path, pooled_url: str
) -> None:
    with cluster(tmp_path, database_url=pooled_url, DATABASE_TRANSACTION_POOLER="true") as running:
        wait_until(lambda: "transaction-mode pooler" in running.output)
        for _ in range(2):
            events = publish_all(NOTED, range(300))
            wait_until(lambda events=events: set(status_of(*events)) == {"delivered"})
        wait_until(lambda: {relay.wakeup for relay in Relay.objects.all()} == {"poll"})

        assert "does not answer" not in running.output
        assert running.process.poll() is None
