from django.apps import AppConfig


class SemantixConfig(AppConfig):
    name = "semantix"

    def ready(self) -> None:
        from django_q.signals import post_spawn

        from semantix import checks, delivery_log  # noqa: F401 - these register checks and receivers
        from semantix.metrics import deliveries  # noqa: F401
        from semantix.tracing import start_in_worker

        post_spawn.connect(start_in_worker, dispatch_uid="semantix_tracing")
