"""What needs a session goes past a transaction-mode pooler, or does without one."""

import os
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import environ
import pytest
from django.conf import settings
from django.core.checks import run_checks
from django.db import connection

from memories.indexing import rebuild
from tests.support.clusters import url_of_the_tests_database
from tests.support.pooler import Pooler
from tests.support.processes import manage
from tests.support.waiting import wait_until

UNREACHABLE = "postgresql://nobody@127.0.0.1:1/nothing"


@pytest.fixture
def only_a_pooler(transactional_db: None, tmp_path: Path) -> Iterator[None]:
    """The direct connection goes through a pooler, too."""
    with Pooler(tmp_path / "pgbouncer.log", sessions=2) as pooler:
        pooled = environ.Env.db_url_config(pooler.socket_url) | {"DISABLE_SERVER_SIDE_CURSORS": True}
        # Django's connection is open and stays as it is. Copies of it go through the pooler.
        connection.ensure_connection()
        with patch.dict(connection.settings_dict, pooled | {"ENGINE": "semantix.database"}):
            yield


def test_the_lock_of_a_rebuild_holds_through_a_pooler(only_a_pooler: None) -> None:
    """Through a shared session a second rebuild would get the lock of the first."""
    for _ in range(2):
        with rebuild.exclusive():
            assert rebuild.is_running()
            with pytest.raises(rebuild.RebuildRunning), rebuild.exclusive():
                pass
        wait_until(lambda: not rebuild.is_running())


@pytest.mark.django_db(transaction=True)
def test_migrations_go_past_the_pooler() -> None:
    run = manage("migrate", DATABASE_URL=UNREACHABLE, DATABASE_DIRECT_URL=url_of_the_tests_database())

    assert run.returncode == 0, run.stderr
    assert "No migrations to apply" in run.stdout


def test_a_pooler_without_a_way_past_it_is_reported() -> None:
    with patch.dict(settings.DATABASES["default"], DISABLE_SERVER_SIDE_CURSORS=True):
        found = [message.id for message in run_checks(include_deployment_checks=True)]
        assert "semantix.W002" in found


def test_a_direct_address_alone_is_refused() -> None:
    run = manage("check", DATABASE_URL="", DATABASE_DIRECT_URL=UNREACHABLE, DATA_DIR=os.devnull)

    assert run.returncode == 1
    assert run.stderr.startswith("Wrong setting: DATABASE_DIRECT_URL: it names the database of DATABASE_URL")
