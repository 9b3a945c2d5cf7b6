from django.apps import AppConfig


class SemantixConfig(AppConfig):
    name = "semantix"

    def ready(self) -> None:
        from django.db.models.signals import post_migrate
        from django_q.signals import post_spawn

        from semantix import checks  # noqa: F401 - registers the checks
        from semantix.console.roles import ensure_roles
        from semantix.observability import delivery_log  # noqa: F401 - registers the receivers
        from semantix.observability.metrics import deliveries  # noqa: F401
        from semantix.observability.tracing import start_in_worker
        from semantix.web import disk  # noqa: F401 - registers the problem

        post_migrate.connect(ensure_roles, sender=self, dispatch_uid="semantix_roles")
        post_spawn.connect(start_in_worker, dispatch_uid="semantix_tracing")
