from django.apps import AppConfig


class MemoriesConfig(AppConfig):
    name = "memories"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from django.db.models.signals import post_migrate
        from django_q.signals import post_spawn

        from memories import checks  # noqa: F401 - registers them
        from memories.conversations import checks as _conversations  # noqa: F401
        from memories.conversations.schedule import ensure_schedule
        from memories.schedules import ensure_schedules
        from memories.warmup import warm_up

        post_spawn.connect(warm_up, dispatch_uid="memories_warm_up")
        post_migrate.connect(ensure_schedules, sender=self, dispatch_uid="memories_schedules")
        post_migrate.connect(ensure_schedule, sender=self, dispatch_uid="memories_flush_schedule")
