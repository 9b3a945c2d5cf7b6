from django.urls import path

from memories.api.live.sse import events
from memories.api.views.batch import MemoryLogBatch
from memories.api.views.conversation import ConversationClose, ConversationDetail, ConversationTurns
from memories.api.views.conversations import Conversations, TurnSearch
from memories.api.views.erasure import ErasureDetail, Erasures
from memories.api.views.export import Exports
from memories.api.views.external import ExternalMemory
from memories.api.views.memory_log import MemoryLogDetail, MemoryLogHistory
from memories.api.views.memory_logs import BulkDeletionDetail, MemoryLogs
from memories.api.views.search import MemoryLogSearch, MemoryLogSearchBatch, SimilarMemories
from memories.api.views.totals import MemoryLogCount, Tenants

urlpatterns = [
    path("memory-logs", MemoryLogs.as_view(), name="memory-logs"),
    path("memory-logs/deletions/<int:pk>", BulkDeletionDetail.as_view(), name="bulk-deletion"),
    path("memory-logs/events", events, name="memory-log-events"),
    path("memory-logs/batch", MemoryLogBatch.as_view(), name="memory-log-batch"),
    path("memory-logs/search", MemoryLogSearch.as_view(), name="memory-log-search"),
    path("memory-logs/search/batch", MemoryLogSearchBatch.as_view(), name="memory-log-search-batch"),
    path("memory-logs/count", MemoryLogCount.as_view(), name="memory-log-count"),
    path("memory-logs/external/<path:external_id>", ExternalMemory.as_view(), name="external-memory"),
    path("memory-logs/<int:pk>", MemoryLogDetail.as_view(), name="memory-log"),
    path("memory-logs/<int:pk>/history", MemoryLogHistory.as_view(), name="memory-log-history"),
    path("memory-logs/<int:pk>/similar", SimilarMemories.as_view(), name="similar-memories"),
    path("tenants", Tenants.as_view(), name="tenants"),
    path("exports", Exports.as_view(), name="exports"),
    path("erasures", Erasures.as_view(), name="erasures"),
    path("erasures/<int:pk>", ErasureDetail.as_view(), name="erasure"),
    path("conversations", Conversations.as_view(), name="conversations"),
    path("conversations/turns/search", TurnSearch.as_view(), name="turn-search"),
    path("conversations/<str:conversation_id>", ConversationDetail.as_view(), name="conversation"),
    path("conversations/<str:conversation_id>/turns", ConversationTurns.as_view(), name="conversation-turns"),
    path("conversations/<str:conversation_id>/close", ConversationClose.as_view(), name="conversation-close"),
]
