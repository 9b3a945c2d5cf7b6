"""Memories, tenants and searches in numbers. No number is read from more than MOST rows."""

from dataclasses import dataclass
from typing import Any

from django.db import connection

from outbox.operations.progress import Progress, running_jobs
from semantix.observability.metrics.view import measured_registry

MOST = 10_000
COUNT = f"SELECT count(*) FROM (SELECT FROM {{table}} WHERE {{which}} LIMIT {MOST} + 1) AS counted"
ESTIMATE = "SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = %s::regclass"
# The condition of the partial index memory_logs_unindexed.
UNINDEXED = "indexed_version IS NULL OR NOT (indexed_version = version AND indexed_version IS NOT NULL)"


@dataclass(frozen=True)
class Number:
    name: str
    value: str
    note: str = ""


def numbers() -> list[Number]:
    """The numbers of the overview, and the progress of each long job."""
    return [
        Number("Memories", _estimated("memory_logs")),
        Number("Not in the index yet", _counted("memory_logs", UNINDEXED)),
        Number("Tenants", _counted("memory_index_generations", "state = 'active'"), "with an index"),
        Number("Searches", f"{_searches():,}", "since the service started"),
        *(Number(f"Progress: {name}", _percent(job), _done(job)) for name, job in running_jobs().items()),
    ]


def _counted(table: str, which: str) -> str:
    """A count up to MOST."""
    [(count,)] = _rows(COUNT.format(table=table, which=which))
    return f"{count:,}" if count <= MOST else f"more than {MOST:,}"


def _estimated(table: str) -> str:
    """An exact count of a small table; the planner's estimate of a large one, about 1 % off."""
    [(count,)] = _rows(COUNT.format(table=table, which="true"))
    if count <= MOST:
        return f"{count:,}"
    [(estimate,)] = _rows(ESTIMATE, [table])
    return f"about {max(count, estimate):,}"


def _searches() -> int:
    """Counted by all processes that share PROMETHEUS_MULTIPROC_DIR."""
    return sum(
        int(sample.value)
        for metric in measured_registry().collect()
        for sample in metric.samples
        if sample.name == "semantix_searches_total"
    )


def _percent(job: Progress) -> str:
    return f"{100 * job.done // max(1, job.total)} %"


def _done(job: Progress) -> str:
    return f"{job.done:,} of {job.total:,}: {job.description}"


def _rows(sql: str, parameters: list[str] | None = None) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())
