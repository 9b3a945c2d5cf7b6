"""The dashboard, the alert rules and the pages speak of metrics that exist, and of all of them."""

import json
import re
from pathlib import Path

import pytest
import yaml
from prometheus_client import REGISTRY

from memories import metrics as of_memories
from semantix.observability.metrics import database, metrics
from tests.support.paths import ROOT

OPERATE = ROOT / "docs/how-to/operate"
METRICS = ROOT / "docs/reference/metrics.md"
DASHBOARD = OPERATE / "grafana-dashboard.json"
NAME = re.compile(r"\bsemantix_[a-z_]+")
# Importing them registers what the processes measure.
MEASURED = (metrics, of_memories)


def name(file: Path) -> str:
    return file.name


def exported() -> set[str]:
    """Every series' name, as a scrape writes it."""
    families = [family for family in REGISTRY.collect() if family.name.startswith("semantix_")]
    return {name for family in families for name in series(family.name, family.type)}


def series(name: str, type: str) -> set[str]:
    if type == "counter":
        return {f"{name}_total"}
    return {name, f"{name}_bucket", f"{name}_count", f"{name}_sum"} if type == "histogram" else {name}


@pytest.mark.django_db
class TestNames:
    def everything(self) -> set[str]:
        found = set(exported())
        for collector in (database.OutboxCollector(), database.EmbeddingCacheCollector()):
            for family in collector.collect():
                found |= series(family.name, family.type)
        return found

    @pytest.mark.parametrize(
        "file", [OPERATE / "alerts.yml", DASHBOARD, METRICS, OPERATE / "runbook.md"], ids=name
    )
    def test_only_existing_metrics_are_named(self, file: Path) -> None:
        named = set(NAME.findall(file.read_text()))

        assert named
        assert named <= self.everything()

    @pytest.mark.parametrize("file", [DASHBOARD, METRICS], ids=name)
    def test_every_metric_is_named(self, file: Path) -> None:
        text = file.read_text()

        missing = {name for name in self.everything() if not re.search(rf"\b{base(name)}", text)}
        assert not missing


def base(name: str) -> str:
    return re.sub(r"_(bucket|count|sum|total|errors_total)$", "", name)


def test_every_alert_leads_to_a_section_of_the_runbook() -> None:
    rules = yaml.safe_load((OPERATE / "alerts.yml").read_text())["groups"][0]["rules"]
    page = (OPERATE / "runbook.md").read_text()
    leads = {
        alert
        for row in re.findall(r"^\|.*\| (`.*`) \| \[.*\]\(#.*\) \|$", page, re.MULTILINE)
        for alert in re.findall(r"`(\w+)`", row)
    }

    assert {rule["alert"] for rule in rules} == leads


def test_the_dashboard_is_json_with_a_query_in_each_panel() -> None:
    dashboard = json.loads(DASHBOARD.read_text())

    assert all(target["expr"] for panel in dashboard["panels"] for target in panel["targets"])
