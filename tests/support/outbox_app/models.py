from django.db import models


class Effect(models.Model):
    """That a handler ran. No constraint: doing it twice shows."""

    event = models.BigIntegerField()
    aggregateid = models.TextField()
    worker = models.IntegerField(help_text="its process id")
    # How many events the handler was given together.
    together = models.IntegerField()
    at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.aggregateid} by {self.worker}"


class Target(models.Model):
    """What a converging handler makes look like the source."""

    key = models.TextField(primary_key=True)
    version = models.IntegerField()

    def __str__(self) -> str:
        return f"{self.key} at {self.version}"


class Away(models.Model):
    """A dependency that does not answer now."""

    dependency = models.TextField(primary_key=True)

    def __str__(self) -> str:
        return self.dependency
