"""Which constraint of the database an error is about."""

from django.db import IntegrityError


def violates(error: IntegrityError, constraint: str) -> bool:
    """Whether the error is a violation of the constraint with this name."""
    return getattr(getattr(error.__cause__, "diag", None), "constraint_name", None) == constraint
