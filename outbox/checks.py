"""System checks: they refuse settings that cannot work before anything runs."""

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Error, Warning, register
from django.db import DEFAULT_DB_ALIAS, connection, router
from django.utils.module_loading import import_string
from django_q.conf import Conf as Cluster

from outbox.cluster import django_q_version
from outbox.conf import conf

TAG = "outbox"
# One task carries the whole batch, and one timeout covers it.
LARGEST_BATCH = 10_000


def longest_wait() -> float:
    """Seconds from a claim to the end of its last task, if this task and all tasks before it run into the timeout.

    The tasks before it are the running ones (one a worker), those in the cluster's queue, and the other tasks of
    the claim: one a worker, and one for each retried event.
    """
    tasks_of_a_claim = Cluster.WORKERS + conf.RETRY_BATCH_SIZE
    before_the_last = Cluster.WORKERS + (Cluster.QUEUE_LIMIT or 0) + tasks_of_a_claim - 1
    return float((before_the_last // Cluster.WORKERS + 1) * Cluster.TIMEOUT)


@register(TAG)
def the_queue_has_a_limit(**_: Any) -> Sequence[CheckMessage]:
    if Cluster.QUEUE_LIMIT:
        return []
    return [
        Error(
            f"Q_CLUSTER's queue_limit is {Cluster.QUEUE_LIMIT!r}: the relay would claim every waiting event, and no "
            "lease is long enough for that.",
            hint="Leave queue_limit out (its default is the square of workers), or set it to the number of tasks that "
            "may wait for a worker.",
            id="outbox.E008",
        )
    ]


@register(TAG)
def lease_outlasts_the_task(**_: Any) -> Sequence[CheckMessage]:
    if not Cluster.TIMEOUT:
        return [
            Warning(
                "Q_CLUSTER has no timeout: a handler that hangs occupies its worker for ever.",
                hint="Set Q_CLUSTER['timeout'] (seconds) above the time that the slowest handler needs for a batch.",
                id="outbox.W002",
            )
        ]
    if conf.LEASE_SECONDS <= Cluster.TIMEOUT:
        return [
            Error(
                f"OUTBOX_LEASE_SECONDS ({conf.LEASE_SECONDS:g}) is not longer than the timeout of a task "
                f"({Cluster.TIMEOUT:g} s): events would be claimed again while a worker handles them.",
                hint=f"Set it above {longest_wait():g}: the wait in the cluster's queue plus the timeout.",
                id="outbox.E001",
            )
        ]
    if longest_wait() >= conf.LEASE_SECONDS:
        return [
            Warning(
                f"OUTBOX_LEASE_SECONDS ({conf.LEASE_SECONDS:g}) is shorter than a claim can take under load "
                f"({longest_wait():g} s: the wait in the cluster's queue plus the timeout): some events would be "
                "handled twice.",
                hint=f"Set it above {longest_wait():g}, or lower Q_CLUSTER's queue_limit or timeout, or "
                "OUTBOX_RETRY_BATCH_SIZE.",
                id="outbox.W001",
            )
        ]
    return []


@register(TAG)
def retry_outlasts_the_timeout(**_: Any) -> Sequence[CheckMessage]:
    if Cluster.TIMEOUT and Cluster.RETRY <= Cluster.TIMEOUT:
        return [
            Error(
                f"Q_CLUSTER's retry ({Cluster.RETRY:g} s) is not longer than its timeout ({Cluster.TIMEOUT:g} s): "
                "django-q2 would start ordinary tasks again while they still run.",
                hint="Set Q_CLUSTER['retry'] well above Q_CLUSTER['timeout'].",
                id="outbox.E002",
            )
        ]
    return []


@register(TAG)
def database_is_postgresql(**_: Any) -> Sequence[CheckMessage]:
    from outbox.models import Event

    if connection.vendor != "postgresql":
        return [
            Error(
                f"The default database is {connection.vendor}: the outbox's claims and wakeups need PostgreSQL.",
                hint="Use the engine django.db.backends.postgresql for the default database in DATABASES.",
                id="outbox.E004",
            )
        ]
    elsewhere = {router.db_for_read(Event), router.db_for_write(Event)} - {DEFAULT_DB_ALIAS}
    return [
        Error(
            f"The outbox's SQL uses the default database, but a database router sends outbox.Event to {alias!r}.",
            hint="Let the routers in DATABASE_ROUTERS return None or 'default' for the app 'outbox'.",
            id="outbox.E004",
        )
        for alias in sorted(elsewhere)
    ]


@register(TAG)
def the_cluster_relays(**_: Any) -> Sequence[CheckMessage]:
    from outbox.relay.broker import OutboxBroker

    try:
        broker = import_string(Cluster.BROKER_CLASS or "")
    except ImportError:
        broker = None
    if isinstance(broker, type) and issubclass(broker, OutboxBroker):
        return []
    return [
        Error(
            f"Q_CLUSTER's broker_class is {Cluster.BROKER_CLASS!r}: no cluster would deliver the events of the outbox.",
            hint="Set Q_CLUSTER['broker_class'] = 'outbox.relay.broker.OutboxBroker'.",
            id="outbox.E005",
        )
    ]


@register(TAG)
def django_q2_is_tested(**_: Any) -> Sequence[CheckMessage]:
    if django_q_version.is_tested():
        return []
    return [
        Error(
            f"django-q2 {django_q_version.installed()} is installed. The outbox replaces internal parts of it and "
            f"was tested with {django_q_version.tested()} only.",
            hint="Install a tested version: pip install 'django-q2>=1.11,<1.12'. To support another version, run "
            "tests/outbox/unit/test_django_q2_contract.py with it and add it to outbox/cluster/django_q_version.py.",
            id="outbox.E009",
        )
    ]


@register(TAG)
def wakeup_is_known(**_: Any) -> Sequence[CheckMessage]:
    if conf.WAKEUP in ("listen", "poll"):
        return []
    return [
        Error(
            f"OUTBOX_WAKEUP is {conf.WAKEUP!r}, which is not a known value.",
            hint="Set it to 'listen' (PostgreSQL wakes the cluster) or 'poll' (the cluster reads the table regularly).",
            id="outbox.E006",
        )
    ]


@register(TAG)
def batches_are_bounded(**_: Any) -> Sequence[CheckMessage]:
    return [
        Error(
            f"OUTBOX_{name} is {getattr(conf, name)}: it must be from 1 to {LARGEST_BATCH}.",
            hint="One task carries the whole batch, and one timeout covers it.",
            id="outbox.E003",
        )
        for name in ("BATCH_SIZE", "RETRY_BATCH_SIZE")
        if not 1 <= getattr(conf, name) <= LARGEST_BATCH
    ]


# A setting, and its smallest value: a number, or the value of another setting.
MINIMA: Sequence[tuple[str, float | str]] = (
    ("MAX_ATTEMPTS", 1),
    ("POLL_SECONDS", 0.01),
    ("BACKOFF_BASE_SECONDS", 0),
    ("BACKOFF_CAP_SECONDS", "BACKOFF_BASE_SECONDS"),
    ("CIRCUIT_BASE_SECONDS", 0.01),
    ("CIRCUIT_CAP_SECONDS", "CIRCUIT_BASE_SECONDS"),
    ("RETENTION_DAYS", 1),
)


@register(TAG)
def numbers_make_sense(**_: Any) -> Sequence[CheckMessage]:
    return [
        Error(
            f"OUTBOX_{name} is {getattr(conf, name)}: it must be at least "
            + (
                f"OUTBOX_{minimum} ({getattr(conf, minimum)})." if isinstance(minimum, str) else f"{minimum}."
            ),
            hint="See the table of settings in docs/reference/outbox.md.",
            id="outbox.E007",
        )
        for name, minimum in MINIMA
        if getattr(conf, name) < (getattr(conf, minimum) if isinstance(minimum, str) else minimum)
    ]
