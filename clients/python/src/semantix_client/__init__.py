"""The Python client of Semantix, a memory service for AI agents.

    from semantix_client import Semantix

    semantix = Semantix("http://127.0.0.1:8000", user_id="ada", project_id="demo")
    semantix.remember(task="Fix the login timeout", raw_data={"solution": "Refresh the token first."}, wait=10)
    hits = semantix.search("users are logged out")

Every write is retried under an idempotency key until the service has answered, so it happens once. What could not be
written is raised, never dropped.
"""

from semantix_client.async_client import AsyncConversation, AsyncSemantix
from semantix_client.client import Conversation, Semantix
from semantix_client.errors import (
    Conflict,
    Forbidden,
    Invalid,
    NotAuthenticated,
    NotFound,
    PreconditionFailed,
    QuotaExceeded,
    SemantixError,
    ServerError,
    Throttled,
    TooLarge,
    Unavailable,
    Unreachable,
)
from semantix_client.models import Erasure, Event, Hit, Memory, TenantTotal, Turns

__all__ = [
    "AsyncConversation",
    "AsyncSemantix",
    "Conflict",
    "Conversation",
    "Erasure",
    "Event",
    "Forbidden",
    "Hit",
    "Invalid",
    "Memory",
    "NotAuthenticated",
    "NotFound",
    "PreconditionFailed",
    "QuotaExceeded",
    "Semantix",
    "SemantixError",
    "ServerError",
    "TenantTotal",
    "Throttled",
    "TooLarge",
    "Turns",
    "Unavailable",
    "Unreachable",
]
