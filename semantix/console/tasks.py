"""django-q2's page of scheduled tasks, with the columns that a person asks for: all of them are wider than a screen."""

from django.contrib import admin
from django_q.admin import ScheduleAdmin
from django_q.models import Schedule


class NarrowScheduleAdmin(ScheduleAdmin):  # type: ignore[misc]  # django-q2 is untyped
    list_display = ("name", "every", "next_run", "get_last_run", "get_success")
    list_display_links = ("name",)

    @admin.display(description="every", ordering="schedule_type")
    def every(self, schedule: Schedule) -> str:
        match schedule.schedule_type:
            case Schedule.MINUTES:
                return f"{schedule.minutes} min"
            case Schedule.CRON:
                return str(schedule.cron)
        return str(schedule.get_schedule_type_display())
