"""Expressions that the models share."""

from typing import Any

from django.db import models
from django.db.models.functions import Cast


class StatementTime(models.Func):
    """The time when the current SQL statement began, by the clock of the database."""

    function = "statement_timestamp"
    output_field = models.DateTimeField()


class ContentKey(models.Func):
    """One value for the tenant and the text of a memory, to look the text up in one index.

    A condition on the tenant would let the planner choose the index of the tenant's memories and read them all.
    """

    # The length keeps user and project apart: ("ab", "c") and ("a", "bc") have different keys.
    SQL = "md5(length({0}user_id)::text || ':' || {0}user_id || {0}project_id || {0}content_hash)::uuid"
    template = f"({SQL.format('')})"
    output_field = models.UUIDField()


class ContentBytes(models.GeneratedField):
    """The bytes of `task` and of `raw_data` as JSON text. PostgreSQL computes it when it writes one of them.

    A page of a list is bounded by it without reading the values.
    """

    def __init__(self, **options: Any) -> None:
        options |= {
            "expression": _octets("task") + _octets(Cast("raw_data", models.TextField())),
            "output_field": models.IntegerField(),
            "db_persist": True,
        }
        super().__init__(**options)

    def deconstruct(self) -> Any:
        """Without options: a migration needs none of them."""
        name, path, args, _ = super().deconstruct()
        return name, path, args, {}


def _octets(text: str | Cast) -> models.Func:
    return models.Func(text, function="octet_length", output_field=models.IntegerField())
