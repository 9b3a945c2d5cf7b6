"""django-q2's command, with a /metrics of its own where CLUSTER_METRICS_PORT is set, and an exit code that tells."""

import os
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from django_q.cluster import Cluster
from django_q.management.commands import qcluster
from prometheus_client import start_http_server

from semantix.observability.metrics.view import measured_registry


class Command(qcluster.Command):  # type: ignore[misc]  # django-q2 is untyped
    help = "Start a cluster, which delivers the outbox's events and runs scheduled tasks."

    def handle(self, *args: Any, **options: Any) -> None:
        if name := options.get("cluster_name"):
            os.environ["Q_CLUSTER_NAME"] = name
        cluster = Cluster()
        cluster.start()
        if options.get("run_once"):
            cluster.stop()
        if settings.CLUSTER_METRICS_PORT and cluster.sentinel.is_alive():
            # Only now, after the fork: no worker is to inherit the socket.
            start_http_server(settings.CLUSTER_METRICS_PORT, registry=measured_registry())
        cluster.sentinel.join()
        if code := cluster.sentinel.exitcode:
            # For who starts again what failed.
            raise CommandError(f"The cluster's sentinel ended (exit code {code}): start it again.")
