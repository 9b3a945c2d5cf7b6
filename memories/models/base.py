"""Expressions that the models share."""

from typing import Any

from django.db import models
from django.db.models.functions import Cast


class StatementTime(models.Func):
    """The time when the current SQL statement began, by the clock of the database."""

    function = "statement_timestamp"
    output_field = models.DateTimeField()


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
