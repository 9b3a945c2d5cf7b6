from django.apps import AppConfig


class MemoriesConfig(AppConfig):
    name = "memories"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from django_q.signals import post_spawn

        from memories import (
            checks,  # noqa: F401 - registers them
            schedules,
        )
        from memories.conversations import checks as _conversations  # noqa: F401
        from memories.conversations import schedule as flush_schedule
        from memories.warmup import warm_up

        post_spawn.connect(warm_up, dispatch_uid="memories_warm_up")
        schedules.register()
        flush_schedule.register()
