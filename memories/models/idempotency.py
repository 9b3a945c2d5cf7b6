"""The stored answers of requests that carried an Idempotency-Key."""

from django.db import models

from memories.models.base import StatementTime


class IdempotentAnswer(models.Model):
    """The answer to a request with an Idempotency-Key. The same request gets the same answer again."""

    user_id = models.TextField()
    project_id = models.TextField()
    key = models.TextField()
    fingerprint = models.TextField(help_text="hash of the request; the key with another request is refused")
    status = models.PositiveSmallIntegerField()
    body = models.TextField(help_text="the JSON body as it was sent")
    headers = models.JSONField(default=dict)
    memory_id = models.BigIntegerField(
        null=True, blank=True, help_text="the memory that the body is; null: the body holds ids only"
    )
    created_at = models.DateTimeField(db_default=StatementTime())

    class Meta:
        db_table = "idempotent_answers"
        constraints = (
            models.UniqueConstraint(fields=("user_id", "project_id", "key"), name="idempotent_answers_key"),
        )
        indexes = (
            models.Index(fields=("created_at",), name="idempotent_answers_age"),
            # The answers that a deletion takes along.
            models.Index(
                fields=("memory_id",),
                condition=models.Q(memory_id__isnull=False),
                name="idempotent_answers_memory",
            ),
        )

    def __str__(self) -> str:
        return f"{self.key}: {self.status}"
