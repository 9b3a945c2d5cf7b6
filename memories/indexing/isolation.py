"""Work on many tenants, of which one that fails does not stop the others."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from memories.index.collections import CollectionUnusable
from memories.models import Generation
from memories.tenants import Tenant
from outbox import Unavailable
from outbox.database.errors import is_away
from outbox.exceptions import kind_and_place

logger = logging.getLogger(__name__)


def is_outage(error: BaseException) -> bool:
    """Whether the error says nothing about the tenant, because PostgreSQL, Chroma or a provider is away."""
    return isinstance(error, Unavailable) or is_away(error)


@contextmanager
def logged(work: str, of: Tenant | Generation) -> Iterator[None]:
    """Log what fails in the block, and go on after it. Raises the errors of an outage."""
    try:
        yield
    except Exception as error:
        if is_outage(error):
            raise
        logger.error("%s: %s failed: %s", of, work, kind_and_place(error))


@contextmanager
def named(generation: Generation) -> Iterator[None]:
    """Raise what fails in the block as CollectionUnusable of this collection. Outages are raised as they are."""
    try:
        yield
    except CollectionUnusable:
        raise
    except Exception as error:
        if is_outage(error):
            raise
        raise CollectionUnusable(generation, f"{generation.collection}: {error}") from error
