"""The filters and the search of the list of memories."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from django.contrib import admin
from django.contrib.postgres.fields import ArrayField
from django.db.models import BigIntegerField, F, Func, IntegerField, QuerySet, Value
from django.http import HttpRequest
from unfold.contrib.filters.admin import TextFilter

from memories.models import MemoryLog
from memories.records.sync_status import SyncStatus, filter_by_status
from memories.search.lexical import lexical_search, memories_with_all_words
from memories.search.lexical.holding import MAX_TENANTS
from memories.tenants import Tenant

# Memories that a search by words finds at most.
FOUND = 500

Rows = QuerySet[MemoryLog]


class ExactFilter(TextFilter):  # type: ignore[misc]  # unfold is untyped
    """The rows with exactly this text in a column."""

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        value = text_of(request, self.parameter_name or "")
        return queryset.filter(**{str(self.parameter_name): value}) if value else queryset


class UserFilter(ExactFilter):
    title, parameter_name = "user id", "user_id"


class ProjectFilter(ExactFilter):
    title, parameter_name = "project id", "project_id"


class AgentFilter(ExactFilter):
    title, parameter_name = "agent", "agent"


class SyncFilter(admin.SimpleListFilter):
    title = "sync status"
    parameter_name = "sync"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(status.value, status.label) for status in SyncStatus]

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        status = self.value()
        return filter_by_status(queryset, status) if status in SyncStatus.values else queryset


class VersionFilter(admin.SimpleListFilter):
    title = "version"
    parameter_name = "changed"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("no", "1: never changed"), ("yes", "2 or higher: changed"), ("often", "10 or higher")]

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        match self.value():
            case "no":
                return queryset.filter(version=1)
            case "yes":
                return queryset.filter(version__gte=2)
            case "often":
                return queryset.filter(version__gte=10)
        return queryset


class Found(NamedTuple):
    """Rows that a search found, in its order, and how it searched, for the person who reads the list."""

    rows: Rows
    how: str


def text_of(request: HttpRequest, name: str) -> str:
    """A query parameter without the null characters that PostgreSQL cannot compare."""
    return request.GET.get(name, "").replace("\x00", "").strip()


def search(request: HttpRequest, rows: Rows, term: str) -> Found:
    """Find a memory by its id, or memories by their words.

    With a user and a project in the filters, words find what a search of the service finds, best first. Otherwise they
    find memories that have all of them, newest first: scores of two tenants cannot be compared.
    """
    user_id, project_id = text_of(request, "user_id"), text_of(request, "project_id")
    if term.isdecimal() and len(term) < 19 and rows.filter(pk=int(term)).exists():
        return Found(rows.filter(pk=int(term)), f"The memory with the id {term}.")
    if user_id and project_id:
        ids = [memory_id for memory_id, _ in lexical_search(Tenant(user_id, project_id), term, FOUND)]
        return Found(_in_order(rows, ids), f"By words, best first{_at_most(ids)}.")
    ids, is_partial = memories_with_all_words(term, user_id=user_id or None, limit=FOUND)
    how = f"Memories with all of these words, newest first{_at_most(ids)}."
    if is_partial:
        how += f" {MAX_TENANTS:,} tenants were searched. Filter by user id to search the others."
    return Found(rows.filter(pk__in=ids), f"{how} Filter by user id and project id to see the best first.")


def _in_order(rows: Rows, ids: Sequence[int]) -> Rows:
    given = Value(list(ids), output_field=ArrayField(BigIntegerField()))
    place = Func(given, F("pk"), function="array_position", output_field=IntegerField())
    return rows.filter(pk__in=ids).order_by(place)


def _at_most(ids: Sequence[int]) -> str:
    return f", the first {FOUND}" if len(ids) >= FOUND else ""
