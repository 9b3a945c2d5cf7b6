"""Rebuilding the index from PostgreSQL, as a person asks for it; see docs/how-to/rebuild-the-index.md."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from django.db import connection, transaction

from memories.index import generations
from memories.index.collections import CollectionDamaged, CollectionLost, check_collection
from memories.indexing import fill
from memories.models import Generation
from memories.tenants import Scope

# Any number that nothing else in this database takes.
LOCK = 7_305_981_144

LEFT = """
SELECT count(*) FROM memory_logs m JOIN memory_index_generations g USING (user_id, project_id)
WHERE g.id = ANY(%s) AND m.id > g.position
"""


class RebuildRunning(Exception):
    """Another rebuild is running: two at once would only be in each other's way."""


@contextmanager
def only_one() -> Iterator[None]:
    """Hold the lock of rebuilding; it ends with the connection, however we end. Raises RebuildRunning."""
    if not _lock("SELECT pg_try_advisory_lock(%s)"):
        raise RebuildRunning("Another rebuild_index is running against this database.")
    try:
        yield
    finally:
        _lock("SELECT pg_advisory_unlock(%s)")


def is_running() -> bool:
    """Whether a rebuild holds its lock now."""
    with transaction.atomic():
        return not _lock("SELECT pg_try_advisory_xact_lock(%s)")


def unfinished(scope: Scope, *, recreate: bool = False) -> list[Generation]:
    """What a rebuild that was stopped has still to fill; with `recreate`, only when all of it is new collections."""
    live = Generation.objects.exclude(state=Generation.State.RETIRED)
    found = list(scope.of(live).filter(rebuild=True, position__isnull=False))
    if recreate and any(generation.state != Generation.State.BUILDING for generation in found):
        return []
    return found


def again(scope: Scope) -> list[Generation]:
    """What the stopped rebuild was through with, and Chroma has lost since: to be filled from the first memory on."""
    complete = Generation.objects.filter(state=Generation.State.ACTIVE, position=None)
    lost = [generation for generation in scope.of(complete) if generation.chroma_id and _is_lost(generation)]
    Generation.objects.filter(pk__in=[generation.pk for generation in lost]).update(position=0, rebuild=True)
    return lost


def _is_lost(generation: Generation) -> bool:
    try:
        check_collection(generation)
    except CollectionLost:
        return True
    return False


def start(scope: Scope, *, recreate: bool = False) -> list[Generation]:
    """Set everything in the scope to be filled from its first memory on, and return it.

    In place where the collection is of the settings' model; else, and with `recreate`, in a new collection that
    takes the place of the former when it is complete. All or nothing, so that a stopped rebuild can go on.
    """
    with transaction.atomic():
        live = generations.get_or_create(scope.tenants())
        chosen = [
            generations.begin(tenant)
            if recreate or not generations.is_current(of.write_target)
            else of.write_target
            for tenant, of in live.items()
        ]
        Generation.objects.filter(pk__in=[generation.pk for generation in chosen]).update(
            position=0, rebuild=True
        )
    for generation in chosen:
        generation.position = 0
    return chosen


def left(filled: Sequence[Generation]) -> int:
    """How many memories lie before their positions."""
    with connection.cursor() as cursor:
        cursor.execute(LEFT, [[generation.pk for generation in filled]])
        return int(cursor.fetchone()[0])


def run(filled: Sequence[Generation], tally: fill.FillProgress) -> None:
    """Fill those that are not complete, from their positions on. Raises Unavailable, IndexMismatch."""
    ids = [generation.pk for generation in filled]
    while waiting := list(Generation.objects.filter(pk__in=ids, position__isnull=False)):
        try:
            fill.fill(waiting, remove_extra=True, tally=tally)
        except CollectionDamaged as damaged:
            ids.append(_successor(damaged).pk)
        else:
            return


def _successor(damaged: CollectionDamaged) -> Generation:
    with transaction.atomic():
        successor = generations.replace(damaged.generation)
        if successor is None:
            raise damaged
        Generation.objects.filter(pk=successor.pk).update(rebuild=True)
    return successor


def _lock(sql: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(sql, [LOCK])
        return bool(cursor.fetchone()[0])
