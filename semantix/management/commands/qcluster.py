"""django-q2's command, with a /metrics of its own where CLUSTER_METRICS_PORT is set."""

import multiprocessing
from typing import Any

from django.conf import settings
from django_q.management.commands import qcluster
from prometheus_client import start_http_server

from semantix.metrics.view import measured_registry


class Command(qcluster.Command):  # type: ignore[misc]  # django-q2 is untyped
    help = "Start a cluster, which delivers the outbox's events and runs scheduled tasks."

    def handle(self, *args: Any, **options: Any) -> None:
        super().handle(*args, **options)
        children = multiprocessing.active_children()
        if settings.CLUSTER_METRICS_PORT and children:
            # Only now, after the fork: no worker is to inherit the socket.
            start_http_server(settings.CLUSTER_METRICS_PORT, registry=measured_registry())
            for child in children:
                child.join()
