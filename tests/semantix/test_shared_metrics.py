"""Metrics of processes that share a folder."""

from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.mmap_dict import MmapedDict, mmap_key

from semantix.observability.metrics.view import measured_registry


def test_an_empty_metrics_file_of_a_new_process_breaks_no_scrape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    measured = MmapedDict(str(tmp_path / "counter_1.db"))
    measured.write_value(mmap_key("eggs_total", "eggs_total", [], [], "Eggs."), 3.0, 0.0)
    measured.close()
    (tmp_path / "counter_2.db").touch()

    assert b"eggs_total 3.0" in generate_latest(measured_registry())
