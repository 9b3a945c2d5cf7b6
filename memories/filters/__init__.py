"""Filters: one language for search, list and bulk deletion. PostgreSQL decides which memories meet them."""

from memories.filters.conditions import And, Condition, Field, Node, Not, Or, Scalar
from memories.filters.filters import (
    ALLOWED,
    CONDITION,
    EVERYTHING,
    IS_TENANTS,
    IS_UNEXPIRED,
    Filters,
    of_one_project,
)
from memories.filters.language import MAX_CONDITIONS, InvalidFilter, parse
from memories.filters.matching import Matches, matching

__all__ = [
    "ALLOWED",
    "CONDITION",
    "EVERYTHING",
    "IS_TENANTS",
    "IS_UNEXPIRED",
    "MAX_CONDITIONS",
    "And",
    "Condition",
    "Field",
    "Filters",
    "InvalidFilter",
    "Matches",
    "Node",
    "Not",
    "Or",
    "Scalar",
    "matching",
    "of_one_project",
    "parse",
]
