"""The memory row. PostgreSQL is the source of truth; the embedding on the row is a backup of the index."""

from collections.abc import Iterable
from datetime import date as Date

from django.contrib.postgres.indexes import GinIndex, OpClass
from django.db import models

from memories.models.base import ContentBytes, ContentKey, StatementTime
from memories.models.vector_field import EmbeddingField
from memories.tenants import Tenant


class MemoryLogs(models.QuerySet["MemoryLog", "MemoryLog"]):
    """Sets of memories."""

    def unexpired(self) -> "MemoryLogs":
        """Those that reads and searches may show. An expired memory is deleted soon after by a schedule."""
        return self.exclude(expires_at__lte=StatementTime())

    def with_external_id(
        self, user_id: str, project_id: str, external_ids: Iterable[str | None]
    ) -> "MemoryLogs":
        """The tenant's memories with one of these external ids."""
        return self.filter(user_id=user_id, project_id=project_id, external_id__in=list(external_ids))


class MemoryLog(models.Model):
    """What an agent wrote down: a task, who did it, when, and a free-form JSON body."""

    id = models.BigAutoField(primary_key=True)
    user_id = models.TextField()
    project_id = models.TextField()
    task = models.TextField()
    agent = models.TextField()
    date = models.DateField(default=Date.today)
    raw_data = models.JSONField(default=dict)
    version = models.PositiveIntegerField(default=1, help_text="grows with each change")
    content_hash = models.TextField(help_text="hash of the searchable text; a new hash needs a new embedding")
    embedding = EmbeddingField(
        null=True, blank=True, help_text="vector of the text whose hash is embedded_hash"
    )
    embedding_model = models.TextField(blank=True, default="")
    embedded_hash = models.TextField(
        blank=True, default="", help_text="the content_hash that the embedding belongs to"
    )
    embedded_at = models.DateTimeField(null=True, blank=True)
    indexed_version = models.PositiveIntegerField(
        null=True, blank=True, help_text="the version that Chroma holds"
    )
    indexed_at = models.DateTimeField(null=True, blank=True)
    # NULL, not "": rows without a key must not collide in the unique constraint.
    idempotency_key = models.TextField(null=True, blank=True)  # noqa: DJ001
    # NULL, not "", for the same reason.
    external_id = models.TextField(null=True, blank=True, help_text="the client's own id")  # noqa: DJ001
    duplicate_of = models.BigIntegerField(
        null=True, blank=True, help_text="an earlier memory with the same task, agent and raw_data"
    )
    similar_to = models.BigIntegerField(
        null=True, blank=True, help_text="the memory that if_similar=link found at the creation"
    )
    expires_at = models.DateTimeField(
        null=True, blank=True, help_text="from then on no read and no search finds it"
    )
    content_bytes = ContentBytes()
    created_at = models.DateTimeField(db_default=StatementTime())
    updated_at = models.DateTimeField(db_default=StatementTime())

    objects = MemoryLogs.as_manager()

    # An Idempotency-Key stores one memory, even after its stored answer was pruned.
    ONE_A_KEY = "memory_logs_idempotency_key"

    # A tenant uses an external id for one memory at a time.
    ONE_AN_EXTERNAL_ID = "memory_logs_external_id"

    class Meta:
        db_table = "memory_logs"
        verbose_name = "memory"
        verbose_name_plural = "memories"
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(
                fields=("user_id", "project_id", "idempotency_key"), name="memory_logs_idempotency_key"
            ),
            models.UniqueConstraint(
                fields=("user_id", "project_id", "external_id"),
                condition=models.Q(external_id__isnull=False),
                name="memory_logs_external_id",
            ),
        )
        indexes = (
            # A tenant's memories, newest first. Agent and date are columns of the index, so a rare agent is found
            # without reading the rows that do not match.
            models.Index(fields=("user_id", "project_id", "-id", "agent", "date"), name="memory_logs_tenant"),
            # The memories of a tenant with the same text.
            models.Index(ContentKey(), name="memory_logs_content"),
            # For the schedule that deletes expired memories.
            models.Index(
                fields=("expires_at",),
                condition=models.Q(expires_at__isnull=False),
                name="memory_logs_expiring",
            ),
            GinIndex(OpClass(models.F("raw_data__tags"), name="jsonb_path_ops"), name="memory_logs_tags"),
            # Memories that are not yet indexed: few rows, whatever the size of the table.
            models.Index(
                fields=("user_id", "project_id", "id"),
                condition=models.Q(indexed_version__isnull=True)
                | ~models.Q(indexed_version=models.F("version")),
                name="memory_logs_unindexed",
            ),
        )

    def __str__(self) -> str:
        return f"{self.task[:80]} #{self.pk}"

    @property
    def tenant(self) -> Tenant:
        return Tenant(self.user_id, self.project_id)
