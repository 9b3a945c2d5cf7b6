"""Looking at everything, in the order in which one thing needs another."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from django.db import DatabaseError

from outbox.doctor import backlog, environment, schema
from outbox.doctor.finding import Finding

Examination = Callable[[], Finding]

EXAMINATIONS: Sequence[Examination] = (
    schema.migrations,
    schema.triggers,
    schema.indexes,
    schema.vacuum,
    environment.settings,
    environment.lease,
    environment.listen,
    environment.clocks,
    environment.transactions,
    environment.cluster,
    backlog.leases,
    backlog.handlers,
    backlog.circuits,
    backlog.retention,
)


def _mend(fix: Callable[[], object], examine: Examination) -> Finding:
    try:
        fix()
    except DatabaseError as error:
        finding = examine()
        return replace(finding, actual=f"{finding.actual} (mending it failed: {str(error).strip()})")
    return replace(examine(), fixed=True)


def diagnose(*, fix: bool = False) -> Iterator[Finding]:
    """WorkHint at one thing after the other; with `fix`, mend what a program may mend and look again."""
    for examine in EXAMINATIONS:
        finding = examine()
        if fix and not finding.ok and finding.fix:
            finding = _mend(finding.fix, examine)
        yield finding
        if examine is schema.migrations and not finding.ok:
            return  # the others would stumble over missing tables
