"""docs/reference/benchmarks.md lists every measurement, and no other."""

import re

import pytest

from benchmarks import report
from benchmarks.__main__ import description, names, parse
from tests.support.paths import ROOT


def test_every_benchmark_is_listed_and_no_other() -> None:
    page = (ROOT / "docs/reference/benchmarks.md").read_text()

    assert sorted(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == names()


def test_help_describes_every_benchmark(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--help"])

    told = dict(re.findall(r"^  (\w+) {2,}(\S.*)$", capsys.readouterr().out, re.MULTILINE))
    assert {name: told.get(name) for name in names()} == {name: description(name) for name in names()}
    assert all(re.fullmatch(r"\S.{20,}\.", description(name)) for name in names())


def test_the_page_of_all_benchmarks_has_medians_spread_and_machine() -> None:
    runs = [
        {"semantix": {"p50_ms": p50, "p99_ms": 300.4}, "limit": {"p50_ms": 2.0}, "peer": {"p50_ms": 9.5}}
        for p50 in (4.0, 5.0, 4.51)
    ]

    text = report.page({"freshness": runs}, {"idle": "no such file"}, report.parse(["--quick"]))

    assert "small and rough (`--quick`) runs, 3 of each" in text
    assert "| Python | 3." in text
    assert "| semantix | 4.51 (4 – 5) | 300 |" in text
    assert "| limit | 2 |  |" in text
    assert 'x-axis ["semantix", "limit", "peer"]\n    bar [4.51, 2, 9.5]' in text
    assert "## idle\n\nThis measurement failed: `no such file`" in text
    assert "need `--data`: conversation_recall, retrieval." in text


def test_a_run_of_some_benchmarks_names_those_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        report.parse(["--only", "idle,nonsense"])

    assert "nonsense: there are api, " in capsys.readouterr().err
