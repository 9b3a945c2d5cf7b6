from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.module_loading import autodiscover_modules


class OutboxConfig(AppConfig):
    name = "outbox"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from outbox import checks, task_handler  # noqa: F401 - the import registers the checks
        from outbox.schedules import ensure_prune_schedule
        from outbox.wakeup import sync_triggers

        autodiscover_modules("handlers")
        task_handler.register()
        post_migrate.connect(sync_triggers, sender=self, dispatch_uid="outbox_sync_triggers")
        post_migrate.connect(ensure_prune_schedule, sender=self, dispatch_uid="outbox_prune_schedule")
