"""The tables of the service. Django finds the models in this package."""

from memories.models.api_key import APIKey
from memories.models.base import StatementTime
from memories.models.bulk_deletion import BulkDeletion
from memories.models.conversation import (
    BufferedTurn,
    BufferFailover,
    Conversation,
    ConversationChunk,
    ConversationGap,
    TurnKey,
)
from memories.models.erasure import Erasure
from memories.models.generation import Generation, Verification
from memories.models.idempotency import IdempotentAnswer
from memories.models.memory import MemoryLog
from memories.models.version import VERSIONED, MemoryVersion

__all__ = [
    "VERSIONED",
    "APIKey",
    "BufferFailover",
    "BufferedTurn",
    "BulkDeletion",
    "Conversation",
    "ConversationChunk",
    "ConversationGap",
    "Erasure",
    "Generation",
    "IdempotentAnswer",
    "MemoryLog",
    "MemoryVersion",
    "StatementTime",
    "TurnKey",
    "Verification",
]
