"""What the models share."""

from django.db import models


class StatementTime(models.Func):
    """When the statement in which it stands began, by the database's clock."""

    function = "statement_timestamp"
    output_field = models.DateTimeField()
