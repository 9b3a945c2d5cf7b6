"""A bulk deletion as it is answered."""

from rest_framework import serializers

from memories.models import BulkDeletion


class BulkDeletionOutput(serializers.ModelSerializer[BulkDeletion]):
    class Meta:
        model = BulkDeletion
        fields = ("id", "status", "total", "deleted", "requested_at", "finished_at")
