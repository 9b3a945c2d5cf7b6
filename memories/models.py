"""The memory row: PostgreSQL is the source of truth, the embedding is kept with it as a backup of the index."""

from datetime import date as Date
from typing import NamedTuple

import pghistory
import pgtrigger
from django.contrib.postgres.indexes import GinIndex, OpClass
from django.db import models
from rest_framework_api_key.models import AbstractAPIKey

from memories.vector_field import EmbeddingField


class Tenant(NamedTuple):
    """Whose memories: nothing is ever shared between two of them."""

    user_id: str
    project_id: str


class StatementTime(models.Func):
    """When the statement in which it stands began, by the database's clock."""

    function = "statement_timestamp"
    output_field = models.DateTimeField()


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
    content_hash = models.TextField(help_text="of the searchable text: another hash, another embedding")
    embedding = EmbeddingField(null=True, blank=True, help_text="of the text with `embedded_hash`")
    embedding_model = models.TextField(blank=True, default="")
    embedded_hash = models.TextField(blank=True, default="", help_text="content_hash that `embedding` is of")
    embedded_at = models.DateTimeField(null=True, blank=True)
    indexed_version = models.PositiveIntegerField(
        null=True, blank=True, help_text="version that Chroma holds"
    )
    indexed_at = models.DateTimeField(null=True, blank=True)
    # NULL, not "": those without a key must not collide.
    idempotency_key = models.TextField(null=True, blank=True)  # noqa: DJ001
    created_at = models.DateTimeField(db_default=StatementTime())
    updated_at = models.DateTimeField(db_default=StatementTime())

    # An Idempotency-Key stores one memory, also after its answer was forgotten.
    ONE_A_KEY = "memory_logs_idempotency_key"

    class Meta:
        db_table = "memory_logs"
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(
                fields=("user_id", "project_id", "idempotency_key"), name="memory_logs_idempotency_key"
            ),
        )
        indexes = (
            # A tenant's memories, newest first. Agent and date are looked at in the index itself: a rare one is
            # found without reading the rows that are passed over.
            models.Index(fields=("user_id", "project_id", "-id", "agent", "date"), name="memory_logs_tenant"),
            GinIndex(OpClass(models.F("raw_data__tags"), name="jsonb_path_ops"), name="memory_logs_tags"),
            # What is still on its way to the index: few rows, whatever the table's size.
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


# What makes a version. Bookkeeping (embedding, indexed_at, …) makes none, and no vector is kept twice.
VERSIONED = (
    "user_id",
    "project_id",
    "task",
    "agent",
    "date",
    "raw_data",
    "version",
    "created_at",
    "updated_at",
)


class MemoryVersion(
    pghistory.create_event_model(  # type: ignore[misc]  # a base that is made here
        MemoryLog,
        pghistory.InsertEvent("created", level=pghistory.Statement),
        # UPDATE OF: a statement that sets only bookkeeping does not even ask.
        pghistory.UpdateEvent(
            "updated",
            operation=pgtrigger.UpdateOf(*VERSIONED),
            condition=pgtrigger.AnyChange(*VERSIONED),
            trigger_name="updated",
            level=pghistory.Row,
        ),
        pghistory.DeleteEvent("deleted", level=pghistory.Statement),
        fields=list(VERSIONED),
        obj_field=pghistory.ObjForeignKey(db_index=False, related_name="+"),
        context_field=None,
        model_name="MemoryVersionBase",
        abstract=True,
    )
):
    """A state that a memory had. Written by triggers, so that bulk and SQL changes are in it, too.

    `pgh_label` is what made it (created, updated, deleted: then the last state), `pgh_created_at` when.
    """

    pgh_id: models.Field[int, int] = models.BigAutoField(primary_key=True)

    class Meta:
        db_table = "memory_versions"
        ordering = ("pgh_id",)
        indexes = (
            models.Index(fields=("pgh_obj", "pgh_id"), name="memory_versions_memory"),
            models.Index(fields=("user_id", "project_id", "-pgh_obj"), name="memory_versions_tenant"),
        )

    def __str__(self) -> str:
        return f"{self.pgh_label}: {self.task[:80]} #{self.pgh_obj_id}, version {self.version}"


class Generation(models.Model):
    """A collection of a tenant in Chroma: vectors of one model.

    Search asks the active one. While another is being built (a new model, an index that was lost) both are
    written; once it holds everything it becomes the active one, and the former is retired and removed.
    """

    class State(models.TextChoices):
        BUILDING = "building"
        ACTIVE = "active"
        RETIRED = "retired"

    user_id = models.TextField()
    project_id = models.TextField()
    collection = models.TextField(unique=True, help_text="its name in Chroma")
    chroma_id = models.UUIDField(
        null=True, blank=True, help_text="Chroma's own id of it: a collection made anew has another"
    )
    backend = models.TextField(
        help_text="EMBEDDING_BACKEND that its vectors, and the queries to it, come from"
    )
    model = models.TextField()
    dimensions = models.PositiveIntegerField()
    state = models.TextField(choices=State, default=State.BUILDING)
    position = models.BigIntegerField(
        null=True, blank=True, help_text="while it is being filled: memories up to this id are in"
    )
    rebuild = models.BooleanField(
        default=False, help_text="a rebuild that a person asked for has not finished it"
    )
    created_at = models.DateTimeField(db_default=StatementTime())
    activated_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "memory_index_generations"
        ordering = ("id",)
        constraints = (
            models.UniqueConstraint(
                fields=("user_id", "project_id"),
                condition=models.Q(state="active"),
                name="memory_index_one_active",
            ),
            models.UniqueConstraint(
                fields=("user_id", "project_id"),
                condition=models.Q(state="building"),
                name="memory_index_one_building",
            ),
        )

    def __str__(self) -> str:
        return f"{self.collection} ({self.state})"

    @property
    def tenant(self) -> Tenant:
        return Tenant(self.user_id, self.project_id)


class Verification(models.Model):
    """How far the schedule has come that compares index and PostgreSQL piece by piece; one row."""

    id = models.SmallAutoField(primary_key=True)
    generation_id = models.BigIntegerField(default=0, help_text="of the index that is being compared")
    memory_id = models.BigIntegerField(default=0, help_text="its memories up to this one were compared")
    report = models.JSONField(default=dict, help_text="what the last piece was like")
    checked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "memory_index_verification"

    def __str__(self) -> str:
        return f"generation {self.generation_id}, up to memory {self.memory_id}"


class IdempotentAnswer(models.Model):
    """What a request was answered that came with an Idempotency-Key, to be answered the same again."""

    user_id = models.TextField()
    project_id = models.TextField()
    key = models.TextField()
    fingerprint = models.TextField(help_text="of what was asked: another one is refused")
    status = models.PositiveSmallIntegerField()
    body = models.TextField(help_text="the JSON as it was sent")
    headers = models.JSONField(default=dict)
    created_at = models.DateTimeField(db_default=StatementTime())

    class Meta:
        db_table = "idempotent_answers"
        constraints = (
            models.UniqueConstraint(fields=("user_id", "project_id", "key"), name="idempotent_answers_key"),
        )
        indexes = (models.Index(fields=("created_at",), name="idempotent_answers_age"),)

    def __str__(self) -> str:
        return f"{self.key}: {self.status}"


class EmbeddingCacheUse(models.Model):
    """A minute of the embedding cache, of all processes; see `memories.cache_use`."""

    minute = models.DateTimeField(primary_key=True)
    hits = models.PositiveIntegerField()
    misses = models.PositiveIntegerField()

    class Meta:
        db_table = "embedding_cache_use"

    def __str__(self) -> str:
        return f"{self.minute:%H:%M}: {self.hits} of {self.hits + self.misses}"


class APIKey(AbstractAPIKey):
    """Lets a program in to the memories of one user, or of one project of that user. Kept as a hash."""

    user_id = models.TextField(help_text="whose memories the key opens")
    project_id = models.TextField(
        blank=True, default="", help_text="only this project; empty: all of the user's"
    )
    last_used_at = models.DateTimeField(null=True, editable=False, help_text="to the minute")

    class Meta(AbstractAPIKey.Meta):
        db_table = "api_keys"
        verbose_name = "API key"

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix})"


# Django looks for an app's models here.
from memories.conversations import models as _conversations  # noqa: E402, F401
