"""Rebuilding the index from PostgreSQL at a person's request. See docs/how-to/rebuild-the-index.md."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

from django.db import connection, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from memories.index import fillings, generations
from memories.index.collections import CollectionDamaged, CollectionLost, CollectionUnusable, check_collection
from memories.indexing import fill, isolation
from memories.models import Generation
from memories.tenants import Scope
from outbox.conf import conf

logger = logging.getLogger(__name__)

# The key of the advisory lock: any number that nothing else in this database uses.
LOCK = 7_305_981_144

TRY = "SELECT pg_try_advisory_lock(%s)"
TRY_IN_TRANSACTION = "SELECT pg_try_advisory_xact_lock(%s)"
# Read, not tried: who tries the lock holds it for a moment, and a rebuild that starts then would be refused.
HELD = """
SELECT EXISTS (
    SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND (classid::bigint << 32 | objid::bigint) = %s)
"""

REMAINING = """
SELECT count(*) FROM memory_logs m JOIN memory_index_generations g USING (user_id, project_id)
WHERE g.id = ANY(%s) AND m.id > g.position AND m.id <= coalesce(g.until, m.id)
"""


class RebuildRunning(Exception):
    """Another rebuild is running. Two at once would only slow each other down."""


@contextmanager
def exclusive() -> Iterator[None]:
    """Hold the rebuild lock, which also ends with its connection. Raises RebuildRunning."""
    with closing(connections[conf.DIRECT_DATABASE].copy()) as session:
        if not _lock(session):
            raise RebuildRunning("Another rebuild_index is running against this database.")
        yield


def _lock(session: BaseDatabaseWrapper) -> bool:
    # A transaction-mode pooler gives the session to others after each transaction: there an open one holds the lock.
    is_pooled = session.settings_dict["DISABLE_SERVER_SIDE_CURSORS"]
    session.set_autocommit(not is_pooled)
    with session.cursor() as cursor:
        cursor.execute(TRY_IN_TRANSACTION if is_pooled else TRY, [LOCK])
        return bool(cursor.fetchone()[0])


def is_running() -> bool:
    """Tell whether a rebuild holds the lock now."""
    with connection.cursor() as cursor:
        cursor.execute(HELD, [LOCK])
        return bool(cursor.fetchone()[0])


def unfinished(scope: Scope, *, recreate: bool = False) -> list[Generation]:
    """Return what a stopped rebuild has not filled yet; with `recreate`, only if all of it is new collections."""
    live = Generation.objects.exclude(state=Generation.State.RETIRED)
    found = list(scope.of(live).filter(rebuild=True, position__isnull=False))
    if recreate and any(generation.state != Generation.State.BUILDING for generation in found):
        return []
    return found


def restart_lost(scope: Scope) -> list[Generation]:
    """Set the complete collections that Chroma has lost since to be filled from the start, and return them.

    So are those that cannot be checked: the filling names their error, after it has filled the others.
    """
    complete = Generation.objects.filter(state=Generation.State.ACTIVE, position=None)
    lost = [generation for generation in scope.of(complete) if generation.chroma_id and _is_lost(generation)]
    _restart(lost)
    return lost


def _restart(chosen: Sequence[Generation]) -> None:
    with transaction.atomic():
        fillings.restart(chosen)
        Generation.objects.filter(pk__in=[generation.pk for generation in chosen]).update(rebuild=True)


def _is_lost(generation: Generation) -> bool:
    try:
        check_collection(generation)
    except CollectionLost:
        return True
    except Exception as error:
        if isolation.is_outage(error):
            raise
        return True
    return False


def start(scope: Scope, *, recreate: bool = False) -> list[Generation]:
    """Set every tenant's collection in the scope to be filled from the first memory on, and return them.

    A collection of the settings' model is filled in place. Otherwise, and with `recreate`, a new collection is filled,
    which replaces the former when it is complete. One transaction sets all, so that a stopped rebuild can continue.
    """
    with transaction.atomic():
        live = generations.get_or_create(scope.tenants())
        chosen = [
            generations.begin(tenant)
            if recreate or not generations.is_current(of.write_target)
            else of.write_target
            for tenant, of in live.items()
        ]
        _restart(chosen)
    for generation in chosen:
        generation.position = 0
    return chosen


def count_remaining(filled: Sequence[Generation]) -> int:
    """Return how many memories are still to be filled."""
    with connection.cursor() as cursor:
        cursor.execute(REMAINING, [[generation.pk for generation in filled]])
        return int(cursor.fetchone()[0])


def run(filled: Sequence[Generation], progress: fill.FillProgress) -> None:
    """Fill the incomplete collections from their positions on, until each is complete.

    One that another process has taken meanwhile is taken back: an `index.fill` event leaves it to a rebuild. A
    collection that cannot be filled does not stop the others: its error is raised at the end. Raises Unavailable,
    CollectionUnusable.
    """
    ids = [generation.pk for generation in filled]
    unusable: dict[int, CollectionUnusable] = {}
    incomplete = Generation.objects.filter(position__isnull=False).exclude(state=Generation.State.RETIRED)
    while waiting := list(incomplete.filter(pk__in=ids).exclude(pk__in=unusable)):
        try:
            fill.fill(waiting, remove_extra=True, progress=progress)
        except CollectionDamaged as damaged:
            ids.append(_successor(damaged).pk)
        except CollectionUnusable as error:
            logger.error("%s cannot be filled: %s", error.generation, error.loggable)
            unusable[error.generation.pk] = error
    for first in unusable.values():
        raise first


def _successor(damaged: CollectionDamaged) -> Generation:
    with transaction.atomic():
        successor = generations.replace(damaged.generation)
        if successor is None:
            raise damaged
        Generation.objects.filter(pk=successor.pk).update(rebuild=True)
    return successor
