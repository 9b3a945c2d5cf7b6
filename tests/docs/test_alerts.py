"""Prometheus' own tools take the alert rules, each alert fires for its symptom, and every query finds real metrics."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from django.test import Client

from outbox.models import Status
from outbox.testing import drain
from tests.support.events import stored
from tests.support.free_port import free_port
from tests.support.keys import memory
from tests.support.paths import ROOT
from tests.support.processes import environment
from tests.support.programs import require
from tests.support.waiting import wait_until
from tests.support.web_server import WebServer

RULES = ROOT / "docs/how-to/operate/alerts.yml"
DASHBOARD = ROOT / "docs/how-to/operate/grafana-dashboard.json"

# By alert: series that fire it, as promtool writes them (a value a minute), and the same series of a healthy service.
SYMPTOMS: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "SemantixNoCluster": (
        {'semantix_outbox_relay_seen_seconds{host="a",pid="1"}': "70+60x20"},
        {'semantix_outbox_relay_seen_seconds{host="a",pid="1"}': "1x20"},
    ),
    "SemantixBacklogOld": (
        {"semantix_outbox_oldest_pending_seconds": "400+60x20"},
        {"semantix_outbox_oldest_pending_seconds": "2x20"},
    ),
    "SemantixBacklogDeep": (
        {'semantix_outbox_events{status="pending",event_type="memory_log.stored"}': "20001x20"},
        {'semantix_outbox_events{status="pending",event_type="memory_log.stored"}': "100x20"},
    ),
    "SemantixDeadLetters": (
        {'semantix_outbox_events{status="dead",event_type="memory_log.stored"}': "1x20"},
        {'semantix_outbox_events{status="dead",event_type="memory_log.stored"}': "0x20"},
    ),
    "SemantixCircuitOpen": (
        {'semantix_outbox_circuit_open{dependency="chroma"}': "1x20"},
        {'semantix_outbox_circuit_open{dependency="chroma"}': "0x20"},
    ),
    "SemantixFailures": (
        {
            'semantix_outbox_attempts_total{outcome="failed"}': "0+6x40",
            'semantix_outbox_attempts_total{outcome="delivered"}': "0+60x40",
        },
        {
            'semantix_outbox_attempts_total{outcome="failed"}': "0x40",
            'semantix_outbox_attempts_total{outcome="delivered"}': "0+60x40",
        },
    ),
    "SemantixSlowDelivery": (
        {
            'semantix_outbox_delivery_seconds_bucket{le="30"}': "0+1x40",
            'semantix_outbox_delivery_seconds_bucket{le="60"}': "0+60x40",
            'semantix_outbox_delivery_seconds_bucket{le="+Inf"}': "0+60x40",
        },
        {
            'semantix_outbox_delivery_seconds_bucket{le="30"}': "0+60x40",
            'semantix_outbox_delivery_seconds_bucket{le="+Inf"}': "0+60x40",
        },
    ),
    "SemantixServerErrors": (
        {'semantix_http_requests_total{status="503"}': "0+60x20"},
        {'semantix_http_requests_total{status="200"}': "0+60x20"},
    ),
}
WELL = {'semantix_outbox_relay_seen_seconds{host="well",pid="2"}': "1x40"}


def rules() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
    return found


def promtool(*arguments: str) -> None:
    run = subprocess.run([require("promtool"), *arguments], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_promtool_accepts_the_rules() -> None:
    promtool("check", "rules", str(RULES))


def test_every_alert_has_its_symptom_here() -> None:
    assert {rule["alert"] for rule in rules()} == SYMPTOMS.keys()


def test_each_alert_fires_for_its_symptom_and_stays_quiet_without_it(tmp_path: Path) -> None:
    cases = [
        _case(name, series, fires=fires)
        for name, both in SYMPTOMS.items()
        for series, fires in zip(both, (True, False), strict=True)
    ]
    file = tmp_path / "cases.yml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": cases}))

    promtool("test", "rules", str(file))


def _case(alert: str, series: dict[str, str], *, fires: bool) -> dict[str, Any]:
    """A count of firing alerts instead of their labels and texts."""
    others = {} if alert == "SemantixNoCluster" else WELL
    wanted = [{"labels": "{}", "value": 1}] if fires else []
    return {
        "name": f"{alert} {'fires' if fires else 'is quiet'}",
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in (series | others).items()],
        "promql_expr_test": [
            {
                "expr": f'count(ALERTS{{alertname="{alert}",alertstate="firing"}})',
                "eval_time": "20m",
                "exp_samples": wanted,
            }
        ],
    }


@pytest.fixture
def prometheus(tmp_path: Path, transactional_db: None) -> Iterator[httpx.Client]:
    """Prometheus with the rules, which scrapes a web server that has had some requests."""
    program = require("prometheus")
    client = Client()
    for _ in range(3):
        client.post("/memory-logs", memory("ada", "demo"), content_type="application/json")
    drain()
    stored("test.noted", Status.DEAD, attempts=8)
    port = free_port()
    with WebServer(**environment() | {"SEMANTIX_AUTH": "open"}) as server:
        config = tmp_path / "prometheus.yml"
        scrape = {
            "job_name": "semantix",
            "static_configs": [{"targets": [server.url.removeprefix("http://")]}],
        }
        config.write_text(
            yaml.safe_dump(
                {
                    "global": {"scrape_interval": "500ms", "evaluation_interval": "1s"},
                    "rule_files": [str(RULES)],
                    "scrape_configs": [scrape],
                }
            )
        )
        process = subprocess.Popen(
            [
                program,
                f"--config.file={config}",
                f"--storage.tsdb.path={tmp_path / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, verify=False) as asking:
                wait_until(lambda: _is_ready(asking))
                wait_until(lambda: _scrapes(asking, server.url) >= 3)
                yield asking
        finally:
            process.terminate()
            process.wait()


def _is_ready(asking: httpx.Client) -> bool:
    """Prometheus listens before it has read its files, and answers 503 until then."""
    try:
        return asking.get("/-/ready").is_success
    except httpx.TransportError:
        return False


def _scrapes(asking: httpx.Client, url: str) -> int:
    """How often the service was scraped. Each time it also answers a request, so that counters grow."""
    httpx.get(f"{url}/memory-logs", verify=False)
    found = asking.get("/api/v1/query", params={"query": "count_over_time(up[1m])"}).json()
    return int(found["data"]["result"][0]["value"][1]) if found["data"]["result"] else 0


def test_prometheus_runs_every_query_and_alerts_for_a_dead_letter_and_a_missing_cluster(
    prometheus: httpx.Client,
) -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    queries = [target["expr"] for panel in panels for target in panel["targets"]]
    queries += [rule["expr"] for rule in rules()]

    answers = {query: _ask(prometheus, query) for query in queries}

    assert {
        query: answer["error"] for query, answer in answers.items() if answer["status"] != "success"
    } == {}
    for query in (
        'sum by (event_type) (semantix_outbox_events{status="dead"})',
        "sum by (status) (rate(semantix_http_requests_total[5m]))",
        "histogram_quantile(0.95, sum by (le, route) (rate(semantix_http_request_seconds_bucket[5m])))",
    ):
        assert answers[query]["data"]["result"], query
    wait_until(lambda: {"SemantixDeadLetters", "SemantixNoCluster"} <= _alerts(prometheus))


def _alerts(prometheus: httpx.Client) -> set[str]:
    """The names of the alerts that fire, or will when they have lasted long enough."""
    found = prometheus.get("/api/v1/alerts").json()["data"]["alerts"]
    return {alert["labels"]["alertname"] for alert in found}


def _ask(prometheus: httpx.Client, query: str) -> Any:
    return prometheus.get("/api/v1/query", params={"query": query, "time": time.time()}).json()
