"""The doctor's examinations, in the order in which they depend on each other."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from django.db import DatabaseError, InterfaceError

from outbox.doctor import backlog, environment, schema
from outbox.doctor.finding import Finding

Examination = Callable[[], Finding]

EXAMINATIONS: Sequence[Examination] = (
    schema.migrations,
    schema.triggers,
    schema.indexes,
    schema.primary_keys,
    schema.vacuum,
    environment.settings,
    environment.lease,
    environment.listen,
    environment.clocks,
    environment.transactions,
    environment.cluster,
    backlog.leases,
    backlog.stream,
    backlog.handlers,
    backlog.circuits,
    backlog.pauses,
    backlog.apps,
    backlog.dead_letters,
    backlog.retention,
)


def _repair(fix: Callable[[], object], examine: Examination) -> Finding:
    try:
        fix()
    except (DatabaseError, InterfaceError) as error:
        finding = examine()
        return replace(finding, actual=f"{finding.actual} (the repair failed: {str(error).strip()})")
    return replace(examine(), fixed=True)


def diagnose(*, fix: bool = False) -> Iterator[Finding]:
    """Run the examinations one after the other.

    `fix`: repair each finding that can be repaired safely, and examine it again.
    """
    for examine in EXAMINATIONS:
        finding = examine()
        if fix and not finding.ok and finding.fix:
            finding = _repair(finding.fix, examine)
        yield finding
        if examine is schema.migrations and not finding.ok:
            return  # the other examinations would fail for want of tables
