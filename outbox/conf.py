"""The app's settings: a Django setting of the same name with the prefix OUTBOX_, or the default here."""

from dataclasses import dataclass
from typing import Any, Literal

from django.conf import settings


@dataclass(frozen=True)
class Defaults:
    # listen: a trigger NOTIFYs and the relay LISTENs, polling beneath. poll: inserts pay no NOTIFY.
    WAKEUP: Literal["listen", "poll"] = "listen"
    POLL_SECONDS: float = 1.0
    # Events claimed at once and delivered as one task.
    BATCH_SIZE: int = 100
    # Failed before: claimed this many at a time and delivered each as a task of its own, so that an event
    # that kills its worker takes no neighbour with it. Few: the last of them waits for those before it.
    RETRY_BATCH_SIZE: int = 2
    MAX_ATTEMPTS: int = 8
    # Full jitter: random() * min(cap, base * 2^(attempt - 1)) seconds.
    BACKOFF_BASE_SECONDS: float = 1.0
    BACKOFF_CAP_SECONDS: float = 600.0
    # A circuit's pause: doubles from base to cap while the dependency stays away.
    CIRCUIT_BASE_SECONDS: float = 1.0
    CIRCUIT_CAP_SECONDS: float = 30.0
    LEASE_SECONDS: float = 300.0
    RETENTION_DAYS: int = 30
    # Above so many events that wait, `backlog.refuse_if_too_deep()` refuses. 0: never.
    MAX_BACKLOG: int = 50_000
    # What a command says below the error when the database does not answer.
    DATABASE_HINT: str = "Does the server run, and is DATABASES right?"


class Conf:
    """`conf.BATCH_SIZE` is `settings.OUTBOX_BATCH_SIZE` where set, read when asked so that tests may override."""

    def __getattr__(self, name: str) -> Any:
        return getattr(settings, f"OUTBOX_{name}", getattr(Defaults, name))


conf: Any = Conf()
