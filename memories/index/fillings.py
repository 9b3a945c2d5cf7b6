"""Which process fills a generation, and how far it has come. PostgreSQL keeps this state on the generation.

`position` is how far the memories are written and compared again, `sent` how far a write may have begun, `until` where
the filling ends. `fill_token` names the process that filled it last. The others change nothing.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from uuid import UUID, uuid4

from django.db import DatabaseError, transaction
from django.db.models import QuerySet
from django.utils import timezone

import outbox
from memories.event_types import INDEX_RECHECK_AGGREGATE, RECHECK_SECONDS
from memories.models import Generation, MemoryLog
from memories.tenants import Tenant

# The fields of a generation that is to be filled from the first memory on.
FROM_START = {"position": 0, "until": None, "sent": None, "fill_token": None}
# The fields of a generation that holds all memories of its tenant.
FILLED = {"position": None, "until": None, "sent": None, "fill_token": None, "rebuild": False}


def restart(chosen: Iterable[Generation]) -> None:
    """Have these generations filled from the first memory on. Whoever fills one now stops."""
    same = Generation.objects.filter(pk__in=[generation.pk for generation in chosen])
    with transaction.atomic():
        stop(same)
        same.update(**FROM_START)


def stop(filled: "QuerySet[Generation]") -> None:
    """Stop whoever fills these generations, if one still lives, and have verified later what it has not verified."""
    with transaction.atomic():
        for row in filled.select_for_update().order_by("id"):
            if row.sent is not None and row.sent > (row.position or 0):
                publish_unverified(row, after=row.position or 0, until=row.sent)
        filled.update(sent=None, fill_token=None)


def take(generation: Generation) -> UUID | None:
    """Become the only one that fills the generation, and give it the stored position and end. Returns the token.

    The last one may have died, and Chroma may carry out its last writes from now on, over newer versions: they are
    verified later. Returns None when there is nothing to fill.
    """
    with transaction.atomic():
        same = Generation.objects.filter(pk=generation.pk, position__isnull=False)
        row = same.exclude(state=Generation.State.RETIRED).select_for_update().first()
        if row is None:
            return None
        stop(same)
        token = uuid4()
        # Writers may be faster than the filling, which would never reach an end that moves.
        until = row.until if row.until is not None else _newest(row.tenant)
        same.update(fill_token=token, until=until)
    generation.position, generation.until = row.position, until
    return token


def _newest(tenant: Tenant) -> int:
    """The newest memory of the tenant. Later ones are written to the generation by their own events."""
    newest = MemoryLog.objects.filter(**tenant._asdict()).order_by("-id").values_list("id", flat=True).first()
    return newest or 0


def publish_unverified(generation: Generation, *, after: int, until: int) -> None:
    """Publish the event that compares the memories with ids after `after` up to `until`, when no write is left."""
    outbox.publish(
        "index.unverified",
        aggregate=(INDEX_RECHECK_AGGREGATE, generation.pk),
        payload={
            "generation_id": generation.pk,
            "collection": generation.collection,
            **generation.tenant._asdict(),
            "after": after,
            "until": until,
        },
        priority=outbox.BULK,
        available_at=timezone.now() + timedelta(seconds=RECHECK_SECONDS),
    )


@contextmanager
def stopped_after_error() -> Iterator[set[UUID]]:
    """Have what the block wrote verified later if an error ends it. Yields a set for the tokens of the block.

    While PostgreSQL is away this is not recorded. The next process that fills the collection, or a schedule, does it.
    """
    tokens: set[UUID] = set()
    try:
        yield tokens
    except Exception:
        with suppress(DatabaseError):
            stop(Generation.objects.filter(fill_token__in=tokens))
        raise
