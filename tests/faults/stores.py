"""What is true at the end of every experiment with memories: nothing waits, nothing is dead, the stores are equal."""

from dataclasses import asdict
from typing import Any

from django.db.models import QuerySet

from memories.event_types import INDEX_RECHECK_AGGREGATE, RECHECK_AGGREGATE
from memories.indexing.verify import Verifier
from memories.models import MemoryLog
from memories.tenants import Scope
from outbox.models import Event, Status
from outbox.models import open_events as all_open_events
from tests.faults.trial import Trial
from tests.support.waiting import wait_until

FAULTS = ("missing", "stale", "orphaned", "pending", "repairs")


def open_events() -> QuerySet[Event]:
    """Events that wait or are claimed, without those that look at an index entry again later."""
    return all_open_events().exclude(aggregatetype__in=(RECHECK_AGGREGATE, INDEX_RECHECK_AGGREGATE))


def wait_until_drained(trial: Trial, *, seconds: float = 120.0) -> None:
    """Until no event is open."""
    try:
        wait_until(lambda: not open_events().exists(), seconds=seconds)
    except AssertionError:
        left = list(open_events().values_list("id", "type", "status", "attempts", "available_at")[:5])
        trial.expect(
            False, f"{open_events().count()} events still wait after {seconds:.0f} s, such as {left}"
        )


class Comparison(Verifier):
    """Also tells what the index holds of each memory that differs."""

    def __init__(self) -> None:
        super().__init__(vectors=True)
        self.differences: list[str] = []

    def _count(self, held: dict[str, Any] | None, row: MemoryLog) -> None:
        super()._count(held, row)
        version = held["version"] if held else None
        self.differences.append(f"memory {row.id} has version {row.version}, its document {version}")


def compare(trial: Trial) -> None:
    """Compare the stores row by row with all vectors, and look for dead events."""
    dead = Event.objects.filter(status=Status.DEAD)
    trial.expect(not dead.exists(), f"{dead.count()} events are dead, such as {dead.first()}")
    verifier = Comparison()
    for tenant in Scope().tenants():
        verifier.tenant(tenant)
    report = asdict(verifier.report)
    trial.counts["memories"] = report["memories"]
    faults = {name: report[name] for name in FAULTS if report[name]}
    trial.expect(
        not faults and not report["failed"],
        f"the stores differ: {faults} {report['failed']} {verifier.differences[:5]}",
    )
