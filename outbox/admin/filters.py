"""Filters for the list of events. None of them reads the distinct values of a column from the table."""

from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest

from outbox.admin.generic import ModelAdmin
from outbox.admin.paging import without
from outbox.models import Event, Status
from outbox.operations import errors
from outbox.registry import known_types

AGES = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(weeks=1)}


class TypeFilter(admin.SimpleListFilter):
    """Leaves out the page's `hidden_types`, of which there are very many, until a person asks for them."""

    title = "type"
    parameter_name = "type"
    EVERY = "every"

    def __init__(self, request: HttpRequest, params: Any, model: Any, model_admin: ModelAdmin[Any]) -> None:
        super().__init__(request, params, model, model_admin)
        self.hidden = tuple(getattr(model_admin, "hidden_types", ()))

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Iterable[tuple[str, str]]:
        every = [(self.EVERY, "every type")] if getattr(model_admin, "hidden_types", ()) else []
        return [*every, *((type, type) for type in known_types())]

    def choices(self, changelist: Any) -> Iterator[Any]:
        first, *others = super().choices(changelist)
        if self.hidden:
            first = {**first, "display": f"all but {', '.join(self.hidden)}"}
        yield from (first, *others)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Event]) -> QuerySet[Event]:
        if self.value() == self.EVERY:
            return queryset
        if self.value():
            return queryset.filter(type=self.value())
        # Who searches for an event by its id finds it, whatever its type.
        return queryset if request.GET.get("q") or not self.hidden else without(queryset, self.hidden)


class AgeFilter(admin.SimpleListFilter):
    title = "published"
    parameter_name = "published"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Iterable[tuple[str, str]]:
        return [*((name, f"in the last {name}") for name in AGES), ("older", "longer than a day ago")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Event]) -> QuerySet[Event]:
        if self.value() == "older":
            return queryset.filter(created_at__lt=Now() - AGES["day"])
        age = AGES.get(self.value() or "")
        return queryset.filter(created_at__gte=Now() - age) if age else queryset


class ErrorFilter(admin.SimpleListFilter):
    title = "error"
    parameter_name = "error"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Iterable[tuple[str, str]]:
        return [("yes", "failed at least once"), ("no", "never failed")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Event]) -> QuerySet[Event]:
        match self.value():
            case "yes":
                return queryset.exclude(last_error="")
            case "no":
                return queryset.filter(last_error="")
        return queryset


class ErrorGroupFilter(admin.SimpleListFilter):
    """The events of one group of errors. The overview leads here: nobody types a key."""

    title = "same error"
    parameter_name = "same_error"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Iterable[tuple[str, str]]:
        return [(self.value() or "", "as chosen on the overview")] if self.value() else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Event]) -> QuerySet[Event]:
        if not self.value():
            return queryset
        # Most of the table is delivered: exclude it, so that the filter does not read it.
        failing = queryset.filter(status__in=(Status.DEAD, Status.PENDING)).exclude(last_error="")
        return errors.with_error(failing, self.value() or "")
