"""Totals as they are answered."""

from typing import Any

from rest_framework import serializers


class CountOutput(serializers.Serializer[Any]):
    """A number of memories."""

    count = serializers.IntegerField()


class TenantTotal(serializers.Serializer[Any]):
    """A tenant, and how many memories it has."""

    user_id = serializers.CharField()
    project_id = serializers.CharField()
    memories = serializers.IntegerField()


class TenantPage(serializers.Serializer[Any]):
    """A page of tenants."""

    next = serializers.URLField(allow_null=True, help_text="URL of the next page")
    results = TenantTotal(many=True)
