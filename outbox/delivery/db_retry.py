"""A database that is away for a moment, seen from a worker that has something to record."""

import functools
import logging
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from django.db import InterfaceError, OperationalError, connection

from outbox.cluster.shutdown import is_stopping

logger = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

# A restart of Postgres takes a few seconds. What takes longer is left to the lease, and a cluster that is to stop
# does not wait for it.
PATIENCE_SECONDS = 20.0
PATIENCE_WHEN_STOPPING_SECONDS = 2.0
PAUSE_SECONDS = 0.25


def retry_while_away(record: Callable[P, R]) -> Callable[P, R]:
    """Try again for a while when the database does not answer. `record` must bear running twice.

    Inside a transaction of somebody else it raises at once: that transaction is lost.
    """

    @functools.wraps(record)
    def patient(*args: P.args, **kwargs: P.kwargs) -> R:
        started = time.monotonic()
        while True:
            try:
                return record(*args, **kwargs)
            except (OperationalError, InterfaceError) as error:
                patience = PATIENCE_WHEN_STOPPING_SECONDS if is_stopping() else PATIENCE_SECONDS
                if connection.in_atomic_block or time.monotonic() - started >= patience:
                    raise
                logger.warning("The database does not answer (%s); trying to record again.", error)
                connection.close()
                time.sleep(PAUSE_SECONDS)

    return patient
