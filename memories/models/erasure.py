"""The receipt of an erasure: what was asked, how far it is, and what was found when every store was asked again."""

from django.contrib.postgres.fields import ArrayField
from django.db import models

from memories.models.base import StatementTime


class Erasure(models.Model):
    """One request to forget. It names ids and no words, so it may stay for ever.

    Without memory_log_ids and conversation_ids it is about everything of the user, or of the project if one is named.
    """

    class Status(models.TextChoices):
        PENDING = "pending"
        RUNNING = "running"
        DONE = "done"
        FAILED = "failed"

    id = models.BigAutoField(primary_key=True)
    user_id = models.TextField()
    project_id = models.TextField(blank=True, default="", help_text="empty: all projects of the user")
    memory_log_ids = ArrayField(models.BigIntegerField(), default=list, blank=True)
    conversation_ids = ArrayField(models.TextField(), default=list, blank=True)
    api_keys = models.BooleanField(default=False, help_text="delete the API keys of the user or project, too")
    requested_by = models.TextField(help_text="the prefix of an API key, a user of the admin, or an account")
    status = models.TextField(choices=Status, default=Status.PENDING, db_default=Status.PENDING)
    step = models.TextField(blank=True, default="", help_text="the step that runs, or ran last")
    position = models.JSONField(default=dict, blank=True, help_text="how far the step has come")
    rounds = models.PositiveIntegerField(default=0, help_text="how often all steps were run")
    counts = models.JSONField(default=dict, blank=True, help_text="what was removed, by store")
    found = models.JSONField(default=dict, blank=True, help_text="what the last verification still found")
    waits_for = models.TextField(blank=True, default="", help_text="the dependency that is away, and why")
    verified = models.BooleanField(default=False)
    # Not a time: a memory from an export keeps the time at which another service stored it.
    through_id = models.BigIntegerField(
        help_text="the newest memory at the request: later ones stay", editable=False
    )
    through_collection = models.BigIntegerField(
        null=True,
        editable=False,
        help_text="the newest collection when PostgreSQL held nothing of it any more: later ones stay",
    )
    requested_at = models.DateTimeField(
        db_default=StatementTime(), help_text="what was stored before is erased; what came later stays"
    )
    began_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "erasures"
        ordering = ("-id",)
        indexes = (models.Index(fields=("user_id", "project_id", "-id"), name="erasures_tenant"),)

    def __str__(self) -> str:
        return f"erasure #{self.pk} ({self.status})"

    @property
    def is_whole(self) -> bool:
        """Whether it is about everything of the user or project, not about named memories or conversations."""
        return not self.memory_log_ids and not self.conversation_ids
