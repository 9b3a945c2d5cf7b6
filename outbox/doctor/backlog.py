"""Whether every event is on its way."""

from django.db import connection

from outbox.conf import conf
from outbox.doctor.finding import Finding
from outbox.operations import prune, statistics
from outbox.queue.claim import reclaim_expired
from outbox.registry import handled_types

# The relay rescues every 5 s what lost its worker.
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
        expected="none ran out and was left",
        actual=f"{stuck} events are in the hands of workers that are gone"
        if stuck
        else "none ran out and was left",
        repair="A running cluster frees them: python manage.py qcluster. Or outbox_doctor --fix.",
        fix=_rescue_all,
    )


def _rescue_all() -> None:
    while reclaim_expired():
        pass


def handlers() -> Finding:
    waiting = {type: found.pending for type, found in statistics.backlog().items() if found.pending}
    orphans = {type: count for type, count in waiting.items() if type not in handled_types()}
    return Finding(
        name="handlers",
        ok=not orphans,
        expected="every type that waits has a handler",
        actual="; ".join(f"{count} of {type} have none" for type, count in sorted(orphans.items()))
        or "every type that waits has one",
        repair="Register one with @outbox.handler in the handlers.py of an installed app and restart the cluster, "
        "or discard the events in the admin.",
    )


def circuits() -> Finding:
    found = statistics.open_circuits()
    return Finding(
        name="circuits",
        ok=not found,
        expected="none is open",
        actual="; ".join(f"{c.dependency}: {c.reason}" for c in found) or "none is open",
        repair="Mend the dependency; its events go on by themselves. Close the circuit in the admin to try at once.",
    )


def retention() -> Finding:
    late = prune.prunable(days=conf.RETENTION_DAYS + 1)
    return Finding(
        name="retention",
        ok=not late,
        expected=f"delivered events older than OUTBOX_RETENTION_DAYS ({conf.RETENTION_DAYS}) are deleted",
        actual=f"{late} are a day over it" if late else "none is kept longer",
        repair="python manage.py outbox_prune. Does a cluster run, and is the schedule outbox_prune on?",
        fix=prune.prune,
    )
