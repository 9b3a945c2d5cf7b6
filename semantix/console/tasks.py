"""django-q2's pages: they show tasks and schedules. A person can run a registered schedule now, pause and resume it.

Nothing is added, edited or deleted here. In django-q2's own pages, whoever may add a schedule can run any function on
the host.
"""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django_q.admin import FailAdmin, QueueAdmin, ScheduleAdmin, TaskAdmin
from django_q.models import Failure, OrmQ, Schedule, Success

from outbox.admin.confirmed_actions import ConfirmedAction, confirmed
from outbox.operations.schedules import registered_names

# A schedule that never runs, and one that runs without end.
PAUSED, WITHOUT_END = 0, -1
NOUN = ("schedule", "schedules")


def _registered(rows: QuerySet[Schedule]) -> QuerySet[Schedule]:
    return rows.filter(name__in=registered_names())


RUN_NOW = ConfirmedAction(
    name="Run now",
    consequence="will run within half a minute",
    done="will run within half a minute",
    noun=NOUN,
    eligible=lambda rows: _registered(rows).exclude(repeats=PAUSED),
    act=lambda rows, by, reason: rows.update(next_run=timezone.now()),
)
PAUSE = ConfirmedAction(
    name="Pause",
    consequence="will not run until somebody resumes it",
    done="paused",
    noun=NOUN,
    eligible=lambda rows: _registered(rows).exclude(repeats=PAUSED),
    act=lambda rows, by, reason: rows.update(repeats=PAUSED),
)
RESUME = ConfirmedAction(
    name="Resume",
    consequence="will run at its interval again",
    done="resumed",
    noun=NOUN,
    eligible=lambda rows: _registered(rows).filter(repeats=PAUSED),
    act=lambda rows, by, reason: rows.update(repeats=WITHOUT_END, next_run=timezone.now()),
)


class ShowOnly:
    """A mixin for a page that only shows rows. Name it before the ModelAdmin. Actions need the permission to change."""

    actions: Any = ()

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Only for the list, where the actions are. Django then refuses to save a row."""
        return obj is None and super().has_change_permission(request)  # type: ignore[misc]


class SchedulePage(ShowOnly, ScheduleAdmin):  # type: ignore[misc]  # django-q2 is untyped
    # django-q2's list is wider than a screen.
    list_display = ("name", "interval", "state", "next_run", "get_last_run", "get_success")
    list_display_links = ("name",)
    actions = (confirmed(RUN_NOW), confirmed(PAUSE), confirmed(RESUME))

    @admin.display(description="every", ordering="schedule_type")
    def interval(self, schedule: Schedule) -> str:
        match schedule.schedule_type:
            case Schedule.MINUTES:
                return f"{schedule.minutes} min"
            case Schedule.CRON:
                return str(schedule.cron)
        return str(schedule.get_schedule_type_display())

    @admin.display(description="state")
    def state(self, schedule: Schedule) -> str:
        if schedule.name not in registered_names():
            return "not registered: refused"
        return "paused" if schedule.repeats == PAUSED else "on"


class SuccessPage(ShowOnly, TaskAdmin):  # type: ignore[misc]
    pass


class FailurePage(ShowOnly, FailAdmin):  # type: ignore[misc]
    pass


class QueuePage(ShowOnly, QueueAdmin):  # type: ignore[misc]
    pass


PAGES: dict[type[Any], type[Any]] = {
    Schedule: SchedulePage,
    Success: SuccessPage,
    Failure: FailurePage,
    OrmQ: QueuePage,
}
