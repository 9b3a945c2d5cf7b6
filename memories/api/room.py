"""Whether there is room for a write: the backlog of events, and the quotas of the key."""

from rest_framework.request import Request

from memories.auth import quotas
from memories.auth.access import Access
from memories.models import APIKey
from outbox.events import INTERACTIVE
from outbox.publishing.backpressure import refuse_if_too_deep


def refuse_if_backlogged(request: Request, priority: int = INTERACTIVE) -> None:
    """Raises outbox.BacklogTooDeep. Users share the backlog: only those with more than their share are refused."""
    refuse_if_too_deep(priority, group=request.auth.user_id if isinstance(request.auth, APIKey) else None)


def require_quota(request: Request, *, memories: int = 1) -> None:
    """Raises QuotaExceeded or TooManyWaiting. `memories`: how many the request stores. Without a key nothing counts."""
    if isinstance(request.auth, APIKey):
        size = int(request.META.get("CONTENT_LENGTH") or 0)
        access = Access.of(request.auth)
        quotas.require_room(access, memories=memories, size=size, events=max(1, memories))
