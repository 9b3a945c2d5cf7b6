"""Whether what the outbox runs in is as it must be: the settings, the cluster, the connection, the clocks."""

from datetime import datetime

from django.core import checks
from django.db import connection
from django.utils import timezone
from django_q.conf import Conf as Cluster

from outbox.checks import TAG, longest_wait
from outbox.conf import conf
from outbox.doctor.finding import Finding
from outbox.relay.listener import Listener

# Its relay says so every 5 s, but not while it waits for a place in the queue, which can take a task's timeout.
BEAT_SECONDS = 15.0
# django-q2's schedules and task locks go by the clock of the machine they run on.
CLOCK_SECONDS = 2.0
# A transaction as old holds back every vacuum since it began.
OLDEST_TRANSACTION_MINUTES = 15

ALIVE = """
SELECT host, pid, wakeup, extract(epoch FROM clock_timestamp() - seen_at)::int FROM outbox_relay
WHERE seen_at > clock_timestamp() - make_interval(secs => %s) ORDER BY host, pid
"""

HOLDING_BACK = """
SELECT pid, usename, (extract(epoch FROM clock_timestamp() - xact_start) / 60)::int FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
  AND xact_start < clock_timestamp() - make_interval(mins => %s)
"""


def settings() -> Finding:
    messages = [f"{message.id}: {message.msg}" for message in checks.run_checks(tags=[TAG])]
    return Finding(
        name="settings",
        ok=not messages,
        expected="the system checks of the outbox pass",
        actual="; ".join(messages) or "the system checks pass",
        repair="python manage.py check says what to set instead",
    )


def lease() -> Finding:
    seconds = longest_wait() if Cluster.TIMEOUT else None
    return Finding(
        name="lease",
        ok=seconds is not None and seconds < conf.LEASE_SECONDS,
        expected="longer than the wait in the cluster's queue and the timeout of a task"
        + (f": {seconds:g} s" if seconds else ", which there is none of"),
        actual=f"{conf.LEASE_SECONDS:g} s",
        repair="Set OUTBOX_LEASE_SECONDS above it, or lower Q_CLUSTER's timeout or queue_limit.",
    )


def cluster() -> Finding:
    with connection.cursor() as cursor:
        cursor.execute(ALIVE, [BEAT_SECONDS + (Cluster.TIMEOUT or 0)])
        alive = cursor.fetchall()
    return Finding(
        name="cluster",
        ok=bool(alive),
        expected="at least one runs",
        actual="; ".join(
            f"{host}:{pid}, wakeup by {wakeup}, seen {seconds} s ago" for host, pid, wakeup, seconds in alive
        )
        or "none was heard of",
        repair="python manage.py qcluster",
    )


def listen() -> Finding:
    wanted = conf.WAKEUP == "listen"
    hears = wanted and _hears()
    return Finding(
        name="LISTEN",
        ok=hears == wanted,
        expected="a NOTIFY arrives" if wanted else f"not used (OUTBOX_WAKEUP={conf.WAKEUP})",
        actual="a NOTIFY arrives" if hears else "none arrived" if wanted else "not used",
        repair="Give the cluster a direct connection instead of one through a transaction-mode pooler, or set "
        "OUTBOX_WAKEUP=poll to save the NOTIFYs. Until then it polls.",
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
        expected=f"this machine's and the database's are at most {CLOCK_SECONDS:g} s apart",
        actual=f"the database's is {seconds:+.1f} s off"
        if seconds
        else "this machine's and the database's agree",
        repair="Have both machines' clocks set by NTP (timedatectl set-ntp true).",
    )


def _apart(before: datetime, there: datetime, after: datetime) -> float:
    """How far `there` is outside of the moment between the two, in seconds."""
    if there < before:
        return (there - before).total_seconds()
    return max((there - after).total_seconds(), 0.0)


def transactions() -> Finding:
    with connection.cursor() as cursor:
        cursor.execute(HOLDING_BACK, [OLDEST_TRANSACTION_MINUTES])
        old = [f"process {pid} of {user}, for {minutes} min" for pid, user, minutes in cursor.fetchall()]
    return Finding(
        name="old transactions",
        ok=not old,
        expected=f"none is older than {OLDEST_TRANSACTION_MINUTES} min: it would hold back every vacuum",
        actual="; ".join(old) or f"none is older than {OLDEST_TRANSACTION_MINUTES} min",
        repair="End it: SELECT pg_terminate_backend(process). "
        "idle_in_transaction_session_timeout keeps it from coming back.",
    )
