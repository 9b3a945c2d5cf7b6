"""The memory that a new one repeats: with the same text, or nearly the same meaning."""

import logging
from hashlib import md5
from uuid import UUID

from memories.models import MemoryLog
from memories.models.base import ContentKey
from memories.records.services import NewMemory
from memories.search.search import Mode, Query, search
from memories.tenants import Tenant
from memories.text import searchable_text, text_hash
from outbox import Unavailable

logger = logging.getLogger(__name__)


def find_similar(new: NewMemory, min_similarity: float) -> int | None:
    """The id of a memory of the same tenant that is at least so similar (0 to 1), or None.

    A memory with the same text is found as soon as it is stored, another one when it is embedded. While the embedder
    is unavailable there is none but the same text: to store a memory twice is better than to lose it.
    """
    tenant = Tenant(new.user_id, new.project_id)
    text = searchable_text(task=new.task, agent=new.agent, raw_data=new.raw_data)
    if same := _same_text(tenant, text):
        return same
    try:
        hits = search(
            Query(text=text, tenant=tenant, limit=1, min_similarity=min_similarity, mode=Mode.VECTOR)
        )
    except Unavailable as error:
        logger.warning("Stored without a look for similar memories: %s", error)
        return None
    return hits[0].memory_log_id if hits else None


def _same_text(tenant: Tenant, text: str) -> int | None:
    rows = MemoryLog.objects.unexpired().alias(key=ContentKey())
    same = rows.filter(key=_key(tenant, text), **tenant._asdict()).order_by()
    return next(iter(same.values_list("id", flat=True)[:1]), None)


def _key(tenant: Tenant, text: str) -> UUID:
    """As ContentKey computes it."""
    whole = f"{len(tenant.user_id)}:{tenant.user_id}{tenant.project_id}{text_hash(text)}"
    return UUID(md5(whole.encode(), usedforsecurity=False).hexdigest())
