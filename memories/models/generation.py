"""The Chroma collections of a tenant, and the progress of the scheduled comparison with PostgreSQL."""

from django.db import models

from memories.models.base import StatementTime
from memories.tenants import Tenant


class Generation(models.Model):
    """A Chroma collection of one tenant; all its vectors come from one model.

    Search uses the active generation. While a new one is built (for a new model, or after the index was lost),
    writes go to both. When the new one is complete it becomes active, and the old one is retired and removed.
    """

    class State(models.TextChoices):
        BUILDING = "building"
        ACTIVE = "active"
        RETIRED = "retired"

    user_id = models.TextField()
    project_id = models.TextField()
    collection = models.TextField(unique=True, help_text="name of the collection in Chroma")
    chroma_id = models.UUIDField(
        null=True,
        blank=True,
        help_text="Chroma's id of the collection; a new collection of the same name has another",
    )
    backend = models.TextField(
        help_text="EMBEDDING_BACKEND that makes its vectors and embeds the queries to it"
    )
    model = models.TextField()
    dimensions = models.PositiveIntegerField()
    state = models.TextField(choices=State, default=State.BUILDING)
    position = models.BigIntegerField(
        null=True, blank=True, help_text="while it is being filled: the highest memory id it holds"
    )
    until = models.BigIntegerField(
        null=True,
        blank=True,
        help_text="while it is being filled: the newest memory when that began; later ones have events of their own",
    )
    sent = models.BigIntegerField(
        null=True,
        blank=True,
        help_text="while it is being filled: the highest memory id whose write to Chroma may have begun",
    )
    fill_token = models.UUIDField(
        null=True,
        blank=True,
        help_text="while it is being filled: the run that fills it; no other moves the position",
    )
    rebuild = models.BooleanField(
        default=False, help_text="a person asked for a rebuild that is not finished"
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
    """Progress of the schedule that compares the index with PostgreSQL in parts. The table has one row."""

    id = models.SmallAutoField(primary_key=True)
    generation_id = models.BigIntegerField(default=0, help_text="the index that is being compared")
    memory_id = models.BigIntegerField(default=0, help_text="the highest memory id compared so far")
    documents = models.BigIntegerField(
        default=0, help_text="after the last memory: how many documents of the index were looked up so far"
    )
    report = models.JSONField(default=dict, help_text="result of the last part compared")
    checked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "memory_index_verification"

    def __str__(self) -> str:
        return f"generation {self.generation_id}, up to memory {self.memory_id}"
