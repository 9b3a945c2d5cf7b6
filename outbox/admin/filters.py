"""Filters for the list of events. None of them reads the distinct values of a column from the table."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest

from outbox.admin.generic import ModelAdmin
from outbox.models import Event, Status
from outbox.operations import errors
from outbox.registry import known_types

AGES = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(weeks=1)}


class TypeFilter(admin.SimpleListFilter):
    title = "type"
    parameter_name = "type"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Iterable[tuple[str, str]]:
        return [(type, type) for type in known_types()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Event]) -> QuerySet[Event]:
        return queryset.filter(type=self.value()) if self.value() else queryset


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
