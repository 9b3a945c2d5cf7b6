"""Changing the embedding model: each tenant gets a new collection in the background, and the former one answers
until it is complete."""

import logging

from django.db import connection, transaction
from django.db.models.functions import Coalesce

from memories.embeddings import get_backend
from memories.index import fillings, generations
from memories.indexing import fill, isolation, rebuild
from memories.models import Generation
from memories.tenants import EVERYTHING, Scope, Tenant
from outbox import Progress
from outbox.models import Event, Status

logger = logging.getLogger(__name__)

State = Generation.State


def migrate_models(scope: Scope = EVERYTHING) -> int:
    """Begin to migrate each tenant whose model is not the one in the settings; returns how many were begun.

    A schedule runs this every minute on any cluster, so all clusters must have the same settings.
    Raises MisconfiguredError.
    """
    backend = get_backend()
    live = scope.of(Generation.objects.exclude(state=State.RETIRED))
    others = live.exclude(model=backend.model, dimensions=backend.dimensions)
    tenants = set(others.values_list("user_id", "project_id"))
    begun = 0
    for tenant in map(Tenant._make, sorted(tenants)):
        with isolation.logged("the migration to the model in the settings", tenant):
            begun += _begin(tenant)
    _resume_abandoned(scope)
    return begun


def leave_refused(tenant: Tenant, refused: Generation) -> None:
    """Begin the migration of a tenant whose embedder the settings refuse, so that its new memories do not wait.

    Raises MisconfiguredError if the settings allow no embedder at all.
    """
    current = get_backend()
    logger.warning(
        "The settings refuse the embedder %s (%s) of %s. The tenant moves to %s now.",
        refused.backend,
        refused.model,
        tenant,
        current.model,
    )
    _begin(tenant)


def _begin(tenant: Tenant) -> bool:
    active, building = generations.of_tenant(tenant)
    if building is not None and generations.is_current(building):
        return False
    with transaction.atomic():
        if active is None or not generations.is_current(active):
            fill.publish_fill(generations.begin(tenant))
        elif building is not None:
            # The settings name the active model again: memories embedded for the other model are embedded again.
            generations.cancel_build(active)
            fill.publish_fill(active)
    return True


def _resume_abandoned(scope: Scope) -> None:
    """Publish events for collections that a killed rebuild left partly filled.

    One that was filled in place waits for the next `rebuild_index`. What nobody verified of it is verified meanwhile.
    """
    building = scope.of(Generation.objects.filter(state=State.BUILDING))
    unverified = scope.of(Generation.objects.filter(state=State.ACTIVE, sent__gt=Coalesce("position", 0)))
    if not (building.exists() or unverified.exists()) or rebuild.is_running():
        return
    events = Event.objects.filter(
        type="index.fill",
        aggregatetype=generations.AGGREGATE,
        # A dead letter waits for a person.
        status__in=(Status.PENDING, Status.CLAIMED, Status.DEAD),
    )
    filled = set(events.values_list("aggregateid", flat=True))
    fillings.stop(unverified.exclude(pk__in=[int(pk) for pk in filled]))
    for generation in building:
        if str(generation.pk) not in filled:
            with isolation.logged("filling it further", generation), transaction.atomic():
                fill.publish_fill(generation)


FILLED = """
SELECT count(DISTINCT g.id), coalesce(sum((m.id <= g.position)::int), 0), count(m.id)
FROM memory_index_generations g LEFT JOIN memory_logs m
    ON m.user_id = g.user_id AND m.project_id = g.project_id AND m.id <= coalesce(g.until, m.id)
WHERE g.position IS NOT NULL AND g.state <> 'retired'
"""


def progress() -> Progress | None:
    """Return how far the collections being filled have come: for a new model, after a loss, or in a rebuild."""
    with connection.cursor() as cursor:
        cursor.execute(FILLED)
        tenants, done, total = cursor.fetchone()
    return Progress(done, total, f"memories of {tenants} tenants into their collections") if tenants else None
