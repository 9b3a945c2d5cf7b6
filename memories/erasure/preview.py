"""How much an erasure would remove, for the person who has to confirm it."""

from dataclasses import dataclass

from memories.erasure.scope import tenants, within
from memories.models import APIKey, Conversation, Erasure, MemoryLog, MemoryVersion
from outbox.counting import counted


@dataclass(frozen=True)
class Preview:
    """Rows that exist now. `versions` are states of memories, those of deleted memories too. As text: the numbers."""

    projects: int
    memories: int
    versions: int
    conversations: int
    api_keys: int

    def __str__(self) -> str:
        return ", ".join(counted(number, *names) for number, names in self._lines() if number) or "nothing"

    def _lines(self) -> list[tuple[int, tuple[str, str]]]:
        return [
            (self.memories, ("memory", "memories")),
            (self.versions, ("version", "versions")),
            (self.conversations, ("conversation", "conversations")),
            (self.api_keys, ("API key", "API keys")),
            (self.projects, ("project", "projects")),
        ]


def preview(user_id: str, project_id: str = "", *, api_keys: bool = False) -> Preview:
    """Count what an erasure of this user, or of one project, would remove."""
    erasure = Erasure(user_id=user_id, project_id=project_id)
    return Preview(
        projects=len(tenants(erasure)),
        memories=within(erasure, MemoryLog.objects.all()).count(),
        versions=within(erasure, MemoryVersion.objects.all()).count(),
        conversations=within(erasure, Conversation.objects.all()).count(),
        api_keys=within(erasure, APIKey.objects.all()).count() if api_keys else 0,
    )
