"""The goals of the measurements, as the first table of docs/reference/performance.md."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import NamedTuple

from benchmarks.__main__ import Figures

# The figures of each round, by measurement.
Rounds = Mapping[str, Sequence[Figures]]


class Goal(NamedTuple):
    """A bound of one figure. `of`: the subject whose figure the bound is a multiple of; by default it is absolute.

    `limit`: what stands in the way where the goal is missed.
    """

    text: str
    measurement: str
    subject: str
    metric: str
    bound: float
    at_least: bool = False
    of: str = ""
    limit: str = ""


PROCESSOR = "the processor: PostgreSQL, Chroma and Python share the cores"
THREADS = "the web server: the threads of one Python process take turns"
CLAIM = "the claim, which keeps twelve indexes, and the way to a worker process; a peer's handler runs where it claims"
DISK = "the disk: the answer waits for PostgreSQL's log"
# What a figure is compared with, in plain words.
PLAIN = {"limit": "Chroma alone", "limit_mixed": "Chroma alone", "statements": "the statements alone"}
CHROMA = "Chroma, which writes with one core: at the start it waits for embeddings, at the end the workers wait for it"
START = "the start of the process, and Chroma, which writes with one core"

GOALS = [
    Goal(
        "mixed load, commit to searchable, p50",
        "mixed",
        "semantix",
        "searchable_p50_ms",
        150,
        limit=PROCESSOR,
    ),
    Goal(
        "mixed load, commit to searchable, p99",
        "mixed",
        "semantix",
        "searchable_p99_ms",
        1_500,
        limit=PROCESSOR,
    ),
    Goal("processor of a create", "costs", "create", "sum_cpu_ms", 10, limit=PROCESSOR),
    Goal("processor of a change of the task", "costs", "change", "sum_cpu_ms", 15, limit=PROCESSOR),
    Goal("processor of a deletion", "costs", "delete", "sum_cpu_ms", 9, limit=PROCESSOR),
    Goal("processor of a hybrid search", "costs", "search", "sum_cpu_ms", 9, limit=PROCESSOR),
    Goal("hybrid search, one at a time, p50", "costs", "search", "p50_ms", 7, limit=PROCESSOR),
    Goal(
        "hybrid searches over 8 connections",
        "api",
        "semantix",
        "search_per_s",
        200,
        at_least=True,
        limit=THREADS,
    ),
    Goal("one memory, commit to searchable, p50", "freshness", "semantix", "p50_ms", 22, limit=PROCESSOR),
    Goal("create, one at a time, p50", "costs", "create", "p50_ms", 3, limit=DISK),
    Goal(
        "stored to indexed",
        "sync",
        "semantix",
        "memories_per_s",
        0.95,
        at_least=True,
        of="limit",
        limit=CHROMA,
    ),
    Goal(
        "stored to indexed, ten tenants",
        "sync",
        "semantix_mixed",
        "memories_per_s",
        0.9,
        at_least=True,
        of="limit_mixed",
        limit=CHROMA,
    ),
    Goal("rebuild", "rebuild", "semantix", "memories_per_s", 0.9, at_least=True, of="limit", limit=START),
    Goal(
        "drain of the outbox",
        "relay",
        "semantix",
        "drain_per_s",
        0.85,
        at_least=True,
        of="statements",
        limit=PROCESSOR,
    ),
    Goal("commit to start, p50", "relay", "semantix", "p50_ms", 1.2, of="best peer", limit=CLAIM),
    Goal("commit to start, p99", "relay", "semantix", "p99_ms", 1.0, of="best peer", limit=CLAIM),
    Goal("claim, slowest table size by fastest", "growth", "semantix", "worst_by_best_ratio", 1.5),
    Goal("idle cluster, of one core", "idle", "semantix", "cpu_percent", 1),
    Goal("drain beside a held snapshot", "held_snapshot", "semantix", "drain_ratio", 0.8, at_least=True),
    *(
        Goal(f"{text}, {embedder}", "neighbours", f"{embedder}, worst", metric, bound, at_least=True)
        for embedder in ("static", "minilm")
        for text, metric, bound in (
            ("share of the ten nearest memories that are found", "nearest_share", 0.98),
            ("share of memories found by their own text", "own_share", 1),
        )
    ),
    *(
        Goal(f"{kind} of others during an erasure, {name}", "erasure", "semantix", f"{kind}_{name}_ratio", 2)
        for kind in ("create", "search")
        for name in ("p50", "p95")
    ),
]
# Those of `relay` that are neither the service nor its statements.
NO_PEERS = {"semantix", "statements"}


def table(rounds: Rounds) -> list[str]:
    """A row for each goal that was measured: the figure, the bound, and whether it is met or what the limit is."""
    rows = [
        _row(goal, runs)
        for goal in GOALS
        if (runs := [run for run in rounds.get(goal.measurement, ()) if goal.subject in run])
    ]
    head = ["| goal | measured | bound | |", "|---|---|---|---|"]
    return ["## Goals", "", *head, *rows] if rows else []


def _row(goal: Goal, runs: Sequence[Figures]) -> str:
    measured = median(run[goal.subject][goal.metric] for run in runs)
    if goal.of:
        measured /= median(_compared(goal, run) for run in runs)
    is_met = measured >= goal.bound if goal.at_least else measured <= goal.bound
    sign, unit = "≥" if goal.at_least else "≤", _unit(goal)
    answer = "met" if is_met else f"missed; the limit is {goal.limit}" if goal.limit else "missed"
    return f"| {goal.text} | {measured:.3g} {unit} | {sign} {goal.bound:g} {unit} | {answer} |".replace(
        "  ", " "
    )


def _compared(goal: Goal, run: Figures) -> float:
    if goal.of != "best peer":
        return run[goal.of][goal.metric]
    return min(figures[goal.metric] for subject, figures in run.items() if subject not in NO_PEERS)


def _unit(goal: Goal) -> str:
    if goal.of:
        return f"of {PLAIN.get(goal.of, goal.of)}"
    suffixes = {"_ms": "ms", "_per_s": "a second", "_percent": "%", "_ratio": "times"}
    return next((unit for suffix, unit in suffixes.items() if goal.metric.endswith(suffix)), "")
