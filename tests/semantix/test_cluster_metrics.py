"""/metrics of a cluster that shares no folder with a web server."""

from pathlib import Path

import httpx
import pytest

from tests.support.clusters import cluster
from tests.support.free_port import free_port
from tests.support.published import publish, status_of
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

DELIVERED = 'semantix_outbox_attempts_total{event_type="test.noted",outcome="delivered"} 1.0'


def test_a_cluster_reports_its_workers_metrics_and_stops_on_request(tmp_path: Path) -> None:
    measured, port = tmp_path / "measured", free_port()
    measured.mkdir()
    with cluster(tmp_path, CLUSTER_METRICS_PORT=str(port), PROMETHEUS_MULTIPROC_DIR=str(measured)) as running:
        event = publish("test.noted")
        wait_until(lambda: status_of(event) == ["delivered"])
        wait_until(
            lambda: DELIVERED in httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=60, verify=False).text
        )

        running.ask_to_stop()

        assert running.wait_for_end() == 0
