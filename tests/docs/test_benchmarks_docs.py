"""docs/reference/benchmarks.md lists every measurement, and no other."""

import re
from pathlib import Path

import pytest

from benchmarks import goals, report, retrieval_tables
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
    assert "| one memory, commit to searchable, p50 | 4.51 ms | ≤ 22 ms | met |" in text
    assert 'x-axis ["semantix", "limit", "peer"]\n    bar [4.51, 2, 9.5]' in text
    assert "## idle\n\nThis measurement failed: `no such file`" in text
    assert "need `--data`: conversation_recall, retrieval." in text


def test_the_goals_say_what_is_met_and_what_the_limit_is() -> None:
    relay = {
        "semantix": {"drain_per_s": 800.0, "p50_ms": 1.1, "p99_ms": 9.0},
        "statements": {"drain_per_s": 1000.0, "p50_ms": 0.1, "p99_ms": 0.2},
        "slow peer": {"drain_per_s": 10.0, "p50_ms": 30.0, "p99_ms": 60.0},
        "fast peer": {"drain_per_s": 20.0, "p50_ms": 1.0, "p99_ms": 6.0},
    }

    sync = {
        subject: {"memories_per_s": per_s}
        for subject, per_s in {"semantix": 99, "semantix_mixed": 40, "limit": 100, "limit_mixed": 80}.items()
    }

    rows = goals.table(
        {
            "relay": [relay],
            "sync": [sync],
            "idle": [{"semantix": {"cpu_percent": 0.5}, "limit": {"cpu_percent": 1}}],
            # One embedder only: the rows of the other are left out.
            "neighbours": [{"static, worst": {"nearest_share": 0.99, "own_share": 1.0}}],
        }
    )

    processor, claim = (f"missed; the limit is {limit}" for limit in (goals.PROCESSOR, goals.CLAIM))
    chroma = f"missed; the limit is {goals.CHROMA}"
    assert rows[4:] == [
        "| stored to indexed | 0.99 of Chroma alone | ≥ 0.95 of Chroma alone | met |",
        f"| stored to indexed, ten tenants | 0.5 of Chroma alone | ≥ 0.9 of Chroma alone | {chroma} |",
        f"| drain of the outbox | 0.8 of the statements alone | ≥ 0.85 of the statements alone | {processor} |",
        "| commit to start, p50 | 1.1 of best peer | ≤ 1.2 of best peer | met |",
        f"| commit to start, p99 | 1.5 of best peer | ≤ 1 of best peer | {claim} |",
        "| idle cluster, of one core | 0.5 % | ≤ 1 % | met |",
        "| share of the ten nearest memories that are found, static | 0.99 | ≥ 0.98 | met |",
        "| share of memories found by their own text, static | 1 | ≥ 1 | met |",
    ]


def test_every_goal_is_of_a_measurement() -> None:
    assert {goal.measurement for goal in goals.GOALS} <= set(names())


def test_a_run_of_some_benchmarks_names_those_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        report.parse(["--only", "idle,nonsense"])

    assert "nonsense: there are api, " in capsys.readouterr().err


def test_the_tables_of_retrieval_name_each_loss(tmp_path: Path) -> None:
    def row(recall: float, mrr: float) -> dict[str, float]:
        return {"recall_at_10": recall, "mrr_at_10": mrr}

    page = tmp_path / "page.md"
    page.write_text(f"Before\n{retrieval_tables.BEGIN}\nold\n{retrieval_tables.END}\nAfter\n")
    retrieval_tables.write(
        page,
        {
            "Mail · plain BM25": row(0.5, 0.4),
            "Mail · lexical": row(0.6, 0.5),
            "Mail · vector · static": row(0.45, 0.4),
            "Mail · hybrid · static": row(0.58, 0.5),
            "Mail · vector · hashing": row(0.4, 0.3),
            "Mail · hybrid · hashing": row(0.6, 0.5),
        },
    )

    text = page.read_text()
    assert text.startswith("Before\n")
    assert text.endswith("\nAfter\n")
    assert "old" not in text
    assert "| Mail | 0.500, 0.400 | 0.600, 0.500 | 0.450, 0.400 | 0.580, 0.500 |" in text
    assert "- Mail: `vector` finds less than plain BM25 (-0.050, +0.000)." in text
    assert "- Mail: `hybrid` finds less than the better of its halves (-0.020, +0.000)." in text
    assert "| set | vector, `hashing` | hybrid, `hashing` |\n|---|---|---|\n| Mail | 0.400, 0.300 |" in text
