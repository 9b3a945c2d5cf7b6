from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.module_loading import autodiscover_modules


class OutboxConfig(AppConfig):
    name = "outbox"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from outbox import checks  # noqa: F401 - registers them
        from outbox.cluster import allowed_tasks
        from outbox.database.triggers import sync_triggers
        from outbox.operations import prune
        from outbox.operations.schedules import ensure_schedules
        from outbox.tasks import handler

        autodiscover_modules("handlers")
        handler.register()
        prune.register_schedule()
        allowed_tasks.install()
        post_migrate.connect(sync_triggers, sender=self, dispatch_uid="outbox_sync_triggers")
        post_migrate.connect(ensure_schedules, sender=self, dispatch_uid="outbox_schedules")
