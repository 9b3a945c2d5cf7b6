"""/metrics of a cluster that shares no folder with a web server."""

from pathlib import Path

import httpx
import psutil
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
    settings = {"CLUSTER_METRICS_PORT": str(port), "PROMETHEUS_MULTIPROC_DIR": str(measured)}
    with cluster(tmp_path, **settings) as running:
        wait_until(lambda: addresses(port))
        assert addresses(port) == {"127.0.0.1"}
        event = publish("test.noted")
        wait_until(lambda: status_of(event) == ["delivered"])
        wait_until(
            lambda: DELIVERED in httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=60, verify=False).text
        )

        running.ask_to_stop()

        assert running.wait_for_end() == 0


def addresses(port: int) -> set[str]:
    """The addresses on which some process listens at this port."""
    return {
        each.laddr.ip
        for each in psutil.net_connections("tcp")
        if each.status == psutil.CONN_LISTEN and each.laddr.port == port
    }


def test_with_a_token_it_listens_on_all_addresses_and_asks_for_it(tmp_path: Path) -> None:
    port = free_port()
    with cluster(tmp_path, CLUSTER_METRICS_PORT=str(port), METRICS_TOKEN="secret"):
        wait_until(lambda: addresses(port))
        assert addresses(port) == {"0.0.0.0"}
        url = f"http://127.0.0.1:{port}"
        assert httpx.get(f"{url}/metrics", timeout=60).status_code == 401
        token = {"Authorization": "Bearer secret"}
        assert "semantix_outbox_attempts" in httpx.get(f"{url}/metrics", headers=token, timeout=60).text
        assert httpx.get(f"{url}/health/live", timeout=60).status_code == 200
