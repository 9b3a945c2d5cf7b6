"""The collections of a tenant in Chroma, and how far the scheduled comparison of them has come."""

from django.db import models

from memories.models.base import StatementTime
from memories.tenants import Tenant


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
