"""Which collections a tenant has, and how one replaces another. PostgreSQL keeps this state, Chroma does not.

                  begin()                         activate()                       removed()
(a new model)  ------------->  building  ------------------------->  active  ...  retired  ------>  (gone)
                                  ^                                    |
                                  +------------------------------------+
                                         lost in Chroma
"""

from collections.abc import Iterable
from contextlib import suppress
from secrets import token_hex
from typing import NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Max
from django.db.models.functions import Now

import outbox
from memories.embeddings import EmbeddingBackend, MisconfiguredError, get_backend, make_backend
from memories.index import fillings
from memories.index.ids import collection_name
from memories.models import Generation
from memories.tenants import Tenant
from outbox.database import prepared

State = Generation.State

AGGREGATE = "memory_index"

LIVE = """
SELECT {columns} FROM memory_index_generations
JOIN unnest(%(users)s::text[], %(projects)s::text[]) AS t (user_id, project_id) USING (user_id, project_id)
WHERE state IN ('active', 'building')
"""


class Live(NamedTuple):
    """A tenant's collections that receive writes."""

    active: Generation | None
    building: Generation | None

    @property
    def write_target(self) -> Generation:
        """The collection whose model the embeddings on the rows belong to."""
        found = self.building or self.active
        assert found is not None
        return found

    @property
    def all(self) -> list[Generation]:
        return [generation for generation in (self.building, self.active) if generation is not None]


def live(tenants: Iterable[Tenant]) -> dict[Tenant, Live]:
    """Return the live collections by tenant. A tenant without a collection is left out."""
    wanted = list(set(tenants))
    if not wanted:
        return {}
    parameters = {"users": [t.user_id for t in wanted], "projects": [t.project_id for t in wanted]}
    found: dict[Tenant, dict[str, Generation]] = {}
    for generation in prepared.instances(Generation, LIVE, parameters):
        found.setdefault(generation.tenant, {})[generation.state] = generation
    return {tenant: Live(by.get(State.ACTIVE), by.get(State.BUILDING)) for tenant, by in found.items()}


def get_or_create(tenants: Iterable[Tenant]) -> dict[Tenant, Live]:
    """Return the live collections by tenant. A tenant without one gets its first, of the model in the settings.

    Raises MisconfiguredError.
    """
    wanted = set(tenants)
    found = live(wanted)
    missing = wanted - found.keys()
    if missing:
        Generation.objects.bulk_create(
            [_new(tenant, State.ACTIVE, collection_name(tenant)) for tenant in missing], ignore_conflicts=True
        )
        found |= live(missing)
    return found


def of_tenant(tenant: Tenant) -> Live:
    """Return one tenant's live collections; both fields are None where it has none."""
    return live([tenant]).get(tenant, Live(None, None))


def is_live(generation: Generation) -> bool:
    """Tell whether the collection still receives writes: nothing has replaced it."""
    return Generation.objects.filter(pk=generation.pk).exclude(state=State.RETIRED).exists()


def newest_id() -> int:
    """The largest id of a collection; 0 without any."""
    return Generation.objects.aggregate(newest=Max("pk"))["newest"] or 0


def embedder(generation: Generation) -> EmbeddingBackend:
    """Return the backend that made the generation's vectors.

    Raises MisconfiguredError when that backend cannot be made, or no longer.
    """
    with suppress(MisconfiguredError):  # a wrong new setting must not make the former model unusable
        if is_current(generation):
            return get_backend()
    return make_backend(generation.backend, generation.model, generation.dimensions)


def is_usable(generation: Generation) -> bool:
    """Tell whether the settings still allow the backend that made the generation's vectors."""
    try:
        embedder(generation)
    except MisconfiguredError:
        return False
    return True


def refused() -> list[tuple[str, str, str, int]]:
    """The former embedders that the settings refuse: backend, model, the reason, and how many tenants have it."""
    live = Generation.objects.filter(state=State.ACTIVE).values("backend", "model", "dimensions")
    found = []
    for row in live.annotate(tenants=Count("id")).order_by("backend", "model"):
        former = Generation(**{name: row[name] for name in ("backend", "model", "dimensions")})
        try:
            embedder(former)
        except MisconfiguredError as error:
            found.append((former.backend, former.model, error.reason, row["tenants"]))
    return found


def is_current(generation: Generation) -> bool:
    """Tell whether the generation's vectors are of the model in the settings. Raises MisconfiguredError."""
    backend = get_backend()
    return (generation.model, generation.dimensions) == (backend.model, backend.dimensions)


def record_created(generation: Generation, chroma_id: UUID) -> bool:
    """Record Chroma's id of the generation's collection.

    Returns False when another id was recorded before, or the generation no longer exists.
    """
    unknown = Generation.objects.filter(pk=generation.pk, chroma_id=None)
    if not unknown.update(chroma_id=chroma_id):
        known = Generation.objects.filter(pk=generation.pk).values_list("chroma_id", flat=True).first()
        if known != chroma_id:
            return False
    generation.chroma_id = chroma_id
    return True


def begin(tenant: Tenant) -> Generation:
    """Begin a new collection for the tenant, of the model in the settings, while the active one goes on answering.

    It replaces a collection that is being built. The caller starts the filling (see `memories.indexing.fill`).
    """
    with transaction.atomic():
        _lock(tenant)
        _retire(Generation.objects.filter(**tenant._asdict(), state=State.BUILDING))
        generation = _new(tenant, State.BUILDING, collection_name(tenant, token_hex(4)))
        generation.position = 0
        generation.save(force_insert=True)
    return generation


def restart_build(lost: Generation) -> bool:
    """Set a generation whose collection Chroma lost to be created and filled again.

    Returns False when there is nothing to do: a successor is being built, or another process was faster.
    """
    with transaction.atomic():
        _lock(lost.tenant)
        same = Generation.objects.filter(pk=lost.pk, chroma_id=lost.chroma_id).exclude(state=State.RETIRED)
        building = Generation.objects.filter(**lost.tenant._asdict(), state=State.BUILDING).exclude(
            pk=lost.pk
        )
        if building.exists():
            _retire(same)
            return False
        # Writes that are still on their way go to the collection that is lost.
        return bool(same.update(state=State.BUILDING, chroma_id=None, **fillings.FROM_START))


def replace(damaged: Generation) -> Generation | None:
    """Begin a successor of a collection that cannot be repaired, and stop filling the damaged one.

    Returns None when there is nothing to do: a successor is being built, or another process was faster.
    """
    with transaction.atomic():
        _lock(damaged.tenant)
        live = Generation.objects.filter(**damaged.tenant._asdict()).exclude(state=State.RETIRED)
        same = live.filter(pk=damaged.pk)
        if not same.exists() or live.filter(state=State.BUILDING).exclude(pk=damaged.pk).exists():
            return None
        same.update(**fillings.FILLED)
        return begin(damaged.tenant)


def activate(generation: Generation) -> bool:
    """Make this generation the one that search queries, and retire its predecessor.

    Returns False when it is no longer being built.
    """
    with transaction.atomic():
        _lock(generation.tenant)
        if not Generation.objects.filter(pk=generation.pk, state=State.BUILDING).exists():
            return False
        _retire(Generation.objects.filter(**generation.tenant._asdict(), state=State.ACTIVE))
        Generation.objects.filter(pk=generation.pk).update(
            state=State.ACTIVE, activated_at=Now(), **fillings.FILLED
        )
    generation.refresh_from_db()
    return True


def cancel_build(active: Generation) -> None:
    """Keep the active generation after all: retire its successor, and go through the tenant's memories again."""
    with transaction.atomic():
        _lock(active.tenant)
        _retire(Generation.objects.filter(**active.tenant._asdict(), state=State.BUILDING))
        fillings.restart([active])
    active.refresh_from_db()


def _retire(generations: "Iterable[Generation]") -> None:
    for generation in generations:
        Generation.objects.filter(pk=generation.pk).update(state=State.RETIRED)
        outbox.publish(
            "index.retired",
            aggregate=(AGGREGATE, generation.pk),
            payload={
                "generation_id": generation.pk,
                "collection": generation.collection,
                **generation.tenant._asdict(),
            },
            priority=outbox.BULK,
        )


def _lock(tenant: Tenant) -> None:
    list(Generation.objects.filter(**tenant._asdict()).select_for_update().order_by("id"))


def _new(tenant: Tenant, state: str, collection: str) -> Generation:
    backend = get_backend()
    return Generation(
        user_id=tenant.user_id,
        project_id=tenant.project_id,
        collection=collection,
        backend=settings.EMBEDDING_BACKEND,
        model=backend.model,
        dimensions=backend.dimensions,
        state=state,
    )
