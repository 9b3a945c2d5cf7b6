"""Expressions that the models share."""

from django.db import models


class StatementTime(models.Func):
    """The time when the current SQL statement began, by the clock of the database."""

    function = "statement_timestamp"
    output_field = models.DateTimeField()
