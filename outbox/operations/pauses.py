"""A person's decisions about event types and dependencies: pause and resume, hold, try now and release.

Each is kept in the database, so it outlives every restart, and each is recorded with the person and the reason.
"""

from datetime import timedelta

from django.db import transaction

from outbox.operations.interventions import record
from outbox.queue import circuits, probes


@transaction.atomic
def pause_type(type: str, *, by: str, reason: str, pause: timedelta | None = None) -> None:
    """Let no event of the type be claimed for `pause`; None: until somebody resumes it."""
    circuits.hold_type(type, pause=pause, reason=_held_by(by, reason))
    record("paused", f"event type {type}", by=by, reason=_with_length(reason, pause))


@transaction.atomic
def resume_type(type: str, *, by: str) -> bool:
    """Let the events of the type be claimed again. Returns whether it was paused."""
    was_paused = circuits.release_type(type)
    if was_paused:
        record("resumed", f"event type {type}", by=by)
    return was_paused


@transaction.atomic
def hold(dependency: str, *, by: str, reason: str, pause: timedelta | None = None) -> None:
    """Let no event call the dependency for `pause`; None: until somebody releases it."""
    circuits.hold(dependency, pause=pause, reason=_held_by(by, reason))
    record("held", f"dependency {dependency}", by=by, reason=_with_length(reason, pause))


@transaction.atomic
def release(dependency: str, *, by: str) -> bool:
    """End a hold and close the circuit. Returns whether there was a hold or an open circuit."""
    was_waiting = circuits.release(dependency)
    if was_waiting:
        record("released", f"dependency {dependency}", by=by)
    return was_waiting


@transaction.atomic
def try_now(dependency: str, *, by: str) -> None:
    """Let the next cluster try the dependency at once."""
    probes.release_probe(dependency)
    record("tried", f"dependency {dependency}", by=by)


def _held_by(by: str, reason: str) -> str:
    return f"by {by}: {reason}" if reason else f"by {by}"


def _with_length(reason: str, pause: timedelta | None) -> str:
    length = f"for {pause}" if pause else "until somebody ends it"
    return f"{reason} ({length})" if reason else length
