"""An operation: delete all memories that match some filters, page by page."""

from django.db import models

from memories.models.base import StatementTime


class BulkDeletion(models.Model):
    """What was asked, and how far it is."""

    class Status(models.TextChoices):
        PENDING = "pending"
        RUNNING = "running"
        DONE = "done"

    id = models.BigAutoField(primary_key=True)
    user_id = models.TextField(blank=True, default="", help_text="empty: all users")
    project_id = models.TextField(blank=True, default="", help_text="empty: all projects")
    filters = models.JSONField(
        help_text="in the language of filters; {} without conditions, and when it is done"
    )
    through_id = models.BigIntegerField(help_text="memories with a larger id came later and stay")
    total = models.PositiveIntegerField(help_text="how many matched when it was requested")
    deleted = models.PositiveIntegerField(default=0)
    status = models.TextField(choices=Status, default=Status.PENDING)
    requested_at = models.DateTimeField(db_default=StatementTime())
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "bulk_deletions"
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"bulk deletion #{self.pk}: {self.deleted} of {self.total}"
