"""The app's settings. Each is the Django setting of the same name with the prefix OUTBOX_, or the default below."""

from dataclasses import dataclass
from typing import Any, Literal

from django.conf import settings


@dataclass(frozen=True)
class Defaults:
    # listen: a trigger sends a NOTIFY, the relay LISTENs and polls as well. poll: inserts pay for no NOTIFY.
    WAKEUP: Literal["listen", "poll"] = "listen"
    POLL_SECONDS: float = 1.0
    # The alias in DATABASES for connections that hold a session: LISTEN and heartbeats. Behind a transaction-mode
    # pooler it names the database past the pooler.
    DIRECT_DATABASE: str = "default"
    # The most events in one task.
    BATCH_SIZE: int = 100
    # The most failed events in one claim, and the most groups of suspects. Each is a task of its own. The number is
    # small because the last of these tasks waits for all others.
    RETRY_BATCH_SIZE: int = 2
    MAX_ATTEMPTS: int = 8
    # Full jitter: random() * min(cap, base * 2^(attempt - 1)) seconds.
    BACKOFF_BASE_SECONDS: float = 1.0
    BACKOFF_CAP_SECONDS: float = 600.0
    # A circuit's pause: it doubles from base to cap while the dependency stays unavailable.
    CIRCUIT_BASE_SECONDS: float = 1.0
    CIRCUIT_CAP_SECONDS: float = 30.0
    LEASE_SECONDS: float = 300.0
    RETENTION_DAYS: int = 30
    # Dotted paths of the functions that workers may run as ordinary django-q2 tasks or hooks, besides those of
    # registered schedules. "*": any function.
    ALLOWED_TASKS: tuple[str, ...] = ()
    # `backpressure.refuse_if_too_deep()` refuses while more events than this wait. 0: it never refuses.
    MAX_BACKLOG: int = 50_000
    # A key of the payloads, whose values share the backlog: while it is too deep, only those with more than their share
    # are refused. Empty: all are.
    BACKLOG_GROUP: str = ""
    # The second line of a command's error message when the database does not answer.
    DATABASE_HINT: str = "Does the server run, and is DATABASES right?"


class Conf:
    """`conf.BATCH_SIZE` reads `settings.OUTBOX_BATCH_SIZE` at each access, so that tests can override it."""

    def __getattr__(self, name: str) -> Any:
        return getattr(settings, f"OUTBOX_{name}", getattr(Defaults, name))


conf: Any = Conf()
