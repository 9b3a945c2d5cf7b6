"""A cluster behind a real PgBouncer in transaction mode, through which no NOTIFY arrives."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from outbox.models import Relay
from tests.support.clusters import cluster, url_of_the_tests_database
from tests.support.pooler import Pooler
from tests.support.processes import manage
from tests.support.published import NOTED, publish_all, status_of
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

POOLED = {"DATABASE_TRANSACTION_POOLER": "true"}


@pytest.fixture
def pooled_url(tmp_path: Path) -> Iterator[str]:
    """The test's database through PgBouncer."""
    with Pooler(tmp_path / "pgbouncer.log") as pooler:
        yield pooler.socket_url


def test_behind_a_transaction_mode_pooler_the_relay_logs_it_and_polls(
    tmp_path: Path, pooled_url: str
) -> None:
    with ThreadPoolExecutor() as other, cluster(tmp_path, database_url=pooled_url, **POOLED) as running:
        doctor = other.submit(manage, "outbox_doctor", "--json", DATABASE_URL=pooled_url, **POOLED)
        wait_until(lambda: "transaction-mode pooler" in running.output)
        for _ in range(2):
            events = publish_all(NOTED, range(300))
            wait_until(lambda events=events: set(status_of(*events)) == {"delivered"})
        wait_until(lambda: {relay.wakeup for relay in Relay.objects.all()} == {"poll"})

        assert "does not answer" not in running.output
        assert running.process.poll() is None

        findings = json.loads(doctor.result().stdout)["findings"]
        [listen] = [finding for finding in findings if finding["name"] == "LISTEN"]
        assert not listen["ok"]
        assert "DATABASE_DIRECT_URL" in listen["repair"]


def test_a_relay_with_a_direct_connection_past_the_pooler_listens(tmp_path: Path, pooled_url: str) -> None:
    direct = url_of_the_tests_database()
    with cluster(tmp_path, database_url=pooled_url, DATABASE_DIRECT_URL=direct, **POOLED) as running:
        wait_until(lambda: {relay.wakeup for relay in Relay.objects.all()} == {"listen"})
        events = publish_all(NOTED, range(300))
        wait_until(lambda: set(status_of(*events)) == {"delivered"})

        assert "transaction-mode pooler" not in running.output
