"""Examinations of the environment: settings, cluster, LISTEN, clocks, old transactions."""

from datetime import datetime

from django.core import checks
from django.db import connection
from django.utils import timezone
from django_q.conf import Conf as Cluster

from outbox.checks import TAG, longest_wait
from outbox.conf import conf
from outbox.doctor.finding import Finding
from outbox.operations import clusters
from outbox.relay.listener import Listener

# The largest difference of two clocks. django-q2's schedules and task locks use the clock of their machine.
CLOCK_SECONDS = 2.0
# No vacuum removes a row version that is younger than the oldest transaction.
OLDEST_TRANSACTION_MINUTES = 15

# What holds a snapshot: a session, a prepared transaction without a session, a replication slot that nobody reads. A
# slot has no time: the age of its transaction says how far back it holds.
HOLDING_BACK = """
SELECT format('process %%s of %%s, for %%s min', pid, usename,
              (extract(epoch FROM clock_timestamp() - xact_start) / 60)::int)
FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
  AND xact_start < clock_timestamp() - make_interval(mins => %(minutes)s)
UNION ALL
SELECT format('prepared transaction %%s of %%s, for %%s min', gid, owner,
              (extract(epoch FROM clock_timestamp() - prepared) / 60)::int)
FROM pg_prepared_xacts
WHERE database = current_database() AND prepared < clock_timestamp() - make_interval(mins => %(minutes)s)
UNION ALL
SELECT format('replication slot %%s, unused, %%s transactions back', slot_name,
              greatest(age(xmin), age(catalog_xmin)))
FROM pg_replication_slots
WHERE NOT active AND coalesce(xmin, catalog_xmin) IS NOT NULL
  AND greatest(age(xmin), age(catalog_xmin)) > %(transactions)s
"""
OLDEST_OF_A_SLOT = 100_000


def settings() -> Finding:
    messages = [f"{message.id}: {message.msg}" for message in checks.run_checks(tags=[TAG])]
    return Finding(
        name="settings",
        ok=not messages,
        expected="the outbox's system checks pass",
        actual="; ".join(messages) or "the system checks pass",
        repair="python manage.py check says what to change",
    )


def lease() -> Finding:
    seconds = longest_wait() if Cluster.TIMEOUT else None
    return Finding(
        name="lease",
        ok=seconds is not None and seconds < conf.LEASE_SECONDS,
        expected=f"longer than the wait in the cluster's queue plus the timeout of a task: {seconds:g} s"
        if seconds
        else "Q_CLUSTER has a timeout, and the lease is longer",
        actual=f"{conf.LEASE_SECONDS:g} s" if seconds else "Q_CLUSTER has no timeout",
        repair="Set OUTBOX_LEASE_SECONDS above that time, or lower Q_CLUSTER's timeout or queue_limit."
        if seconds
        else "Set Q_CLUSTER['timeout'].",
    )


def cluster() -> Finding:
    alive = clusters.alive()
    return Finding(
        name="cluster",
        ok=bool(alive),
        expected="at least one runs",
        actual="; ".join(map(str, alive)) or "no cluster has a recent heartbeat",
        repair="python manage.py qcluster",
    )


def listen() -> Finding:
    wanted = conf.WAKEUP == "listen"
    hears = wanted and _hears()
    return Finding(
        name="LISTEN",
        ok=hears == wanted,
        expected="a NOTIFY arrives" if wanted else f"not used (OUTBOX_WAKEUP={conf.WAKEUP})",
        actual="a NOTIFY arrives" if hears else "no NOTIFY arrived" if wanted else "not used",
        repair="Name a connection past the transaction-mode pooler in OUTBOX_DIRECT_DATABASE (in Semantix: "
        "DATABASE_DIRECT_URL), or set OUTBOX_WAKEUP=poll to save the NOTIFYs. Until then the cluster polls.",
    )


def _hears() -> bool:
    listener = Listener()
    try:
        listener.wait(0)
        return listener.hears
    finally:
        listener.close()


def clocks() -> Finding:
    before = timezone.now()
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        database = cursor.fetchone()[0]
    seconds = _apart(before, database, timezone.now())
    return Finding(
        name="clocks",
        ok=abs(seconds) <= CLOCK_SECONDS,
        expected=f"the clocks of this machine and of the database differ by at most {CLOCK_SECONDS:g} s",
        actual=f"the database's clock is {seconds:+.1f} s off" if seconds else "the two clocks agree",
        repair="Let NTP set the clocks of both machines (timedatectl set-ntp true).",
    )


def _apart(before: datetime, there: datetime, after: datetime) -> float:
    """How far `there` lies outside of the time from `before` to `after`, in seconds."""
    if there < before:
        return (there - before).total_seconds()
    return max((there - after).total_seconds(), 0.0)


def transactions() -> Finding:
    with connection.cursor() as cursor:
        parameters = {"minutes": OLDEST_TRANSACTION_MINUTES, "transactions": OLDEST_OF_A_SLOT}
        cursor.execute(HOLDING_BACK, parameters)
        old = [holder for (holder,) in cursor.fetchall()]
    return Finding(
        name="old transactions",
        ok=not old,
        expected=f"none is older than {OLDEST_TRANSACTION_MINUTES} min, because it stops every vacuum",
        actual="; ".join(old) or f"none is older than {OLDEST_TRANSACTION_MINUTES} min",
        repair="End it: SELECT pg_terminate_backend(process), ROLLBACK PREPARED 'name', "
        "SELECT pg_drop_replication_slot('name'). "
        "Set idle_in_transaction_session_timeout to prevent the next one.",
    )
