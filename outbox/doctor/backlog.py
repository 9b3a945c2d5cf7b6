"""Whether every event is on its way."""

from django.db import connection

from outbox.conf import conf
from outbox.counting import counted
from outbox.doctor.finding import Finding
from outbox.operations import clusters, epoch, problems, prune, statistics
from outbox.queue.lost import reclaim_expired
from outbox.registry import handled_types

# The relay frees expired claims every 5 s.
STUCK = """
SELECT count(*) FROM outbox_event
WHERE status = 'claimed' AND lease_expires_at < clock_timestamp() - interval '15 seconds'
"""


def leases() -> Finding:
    with connection.cursor() as cursor:
        cursor.execute(STUCK)
        stuck = cursor.fetchone()[0]
    return Finding(
        name="leases",
        ok=not stuck,
        expected="no expired lease is left",
        actual=f"{counted(stuck, 'event')} claimed by workers that no longer live"
        if stuck
        else "no expired lease is left",
        repair="A running cluster frees them: python manage.py qcluster. Or run outbox_doctor --fix.",
        fix=_reclaim_all,
    )


def _reclaim_all() -> None:
    while reclaim_expired():
        pass


def stream() -> Finding:
    """Positions of another server: the sign of a restore after which no new epoch was begun."""
    ahead = epoch.is_ahead()
    return Finding(
        name="stream",
        ok=not ahead,
        expected="every recorded event is at a position of this server",
        actual="recorded events are at positions of another server, so readers miss new events or get old ones again"
        if ahead
        else "every recorded event is at a position of this server",
        repair="Stop every cluster and reader of the stream, and run python manage.py outbox_doctor --fix.",
        # It takes the claims of living relays away.
        fix=None if clusters.alive() else epoch.begin_epoch,
    )


def handlers() -> Finding:
    waiting = {type: found.pending for type, found in statistics.backlog().items() if found.pending}
    unhandled = {type: count for type, count in waiting.items() if type not in handled_types()}
    return Finding(
        name="handlers",
        ok=not unhandled,
        expected="every waiting type has a handler",
        actual="; ".join(
            f"{counted(count, 'event')} of {type} without one" for type, count in sorted(unhandled.items())
        )
        or "every waiting type has a handler",
        repair="Register one with @outbox.handler in the handlers.py of an installed app and restart the cluster, "
        "or discard the events in the admin.",
    )


def circuits() -> Finding:
    found = [problem for problem in problems.find() if problem.kind == "circuit"]
    return Finding(
        name="circuits",
        ok=not found,
        expected="none is open",
        actual="; ".join(map(str, found)) or "none is open",
        repair="Repair the dependency: its events are then delivered. To try at once, press Try now at its circuit.",
    )


def pauses() -> Finding:
    found = [problem for problem in problems.find() if problem.kind == "paused"]
    return Finding(
        name="pauses",
        ok=not found,
        expected="no event type is paused",
        actual="; ".join(map(str, found)) or "no event type is paused",
        repair="python manage.py outbox_resume --type TYPE, when its reason is gone.",
    )


def apps() -> Finding:
    """What the apps of the project know of: a provider's key that is missing, a full disk."""
    found = problems.of_apps()
    return Finding(
        name="apps",
        ok=not found,
        expected="the apps tell of no problem",
        actual="; ".join(map(str, found)) or "the apps tell of no problem",
        repair="Each sentence says what to do. After a change of settings restart every process.",
    )


def dead_letters() -> Finding:
    found = [problem for problem in problems.find() if problem.kind == "dead"]
    return Finding(
        name="dead letters",
        ok=not found,
        expected="no event waits for a person",
        actual="; ".join(map(str, found)) or "no event waits for a person",
        repair="Read their errors in the admin or with outbox_status, then retry or discard them there, or with "
        "python manage.py outbox_retry.",
    )


def retention() -> Finding:
    late = prune.prunable(days=conf.RETENTION_DAYS + 1)
    return Finding(
        name="retention",
        ok=not late,
        expected=f"delivered events older than OUTBOX_RETENTION_DAYS ({conf.RETENTION_DAYS}) are deleted",
        actual=f"{late} are at least a day older" if late else "none is older",
        repair="python manage.py outbox_prune. Check that a cluster runs and that the schedule outbox_prune is on.",
        fix=prune.prune,
    )
