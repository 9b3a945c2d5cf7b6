"""Retries for a worker that must record an outcome while the database does not answer."""

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

# A restart of PostgreSQL takes a few seconds. After a longer outage the lease expires and the event is delivered again.
RETRY_SECONDS = 20.0
# A cluster that is stopping does not wait for the database.
RETRY_SECONDS_WHEN_STOPPING = 2.0
PAUSE_SECONDS = 0.25


def retry_while_unavailable(record: Callable[P, R]) -> Callable[P, R]:
    """Call `record` again while the database does not answer, for up to RETRY_SECONDS. It may run twice.

    Raises OperationalError or InterfaceError after that time. Raises at once inside a transaction of the caller,
    because that transaction is lost.
    """

    @functools.wraps(record)
    def retried(*args: P.args, **kwargs: P.kwargs) -> R:
        started = time.monotonic()
        while True:
            try:
                return record(*args, **kwargs)
            except (OperationalError, InterfaceError) as error:
                seconds = RETRY_SECONDS_WHEN_STOPPING if is_stopping() else RETRY_SECONDS
                if connection.in_atomic_block or time.monotonic() - started >= seconds:
                    raise
                logger.warning("The database does not answer (%s). The outcome is recorded again.", error)
                connection.close()
                time.sleep(PAUSE_SECONDS)

    return retried
