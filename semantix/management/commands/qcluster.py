"""django-q2's `qcluster` with a /metrics endpoint (CLUSTER_METRICS_PORT) and an exit code that reports a failure."""

import os
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from django_q.cluster import Cluster
from django_q.management.commands import qcluster

from memories.warmup import import_libraries
from semantix import garbage
from semantix.database.lost_clients import end_lost_clients
from semantix.observability.metrics.server import serve_metrics
from semantix.web.startup import require_secret_key


class Command(qcluster.Command):  # type: ignore[misc]  # django-q2 is untyped
    help = "Start a cluster. It delivers the events of the outbox and runs scheduled tasks."

    def handle(self, *args: Any, **options: Any) -> None:
        require_secret_key()
        if name := options.get("cluster_name"):
            os.environ["Q_CLUSTER_NAME"] = name
        import_libraries()
        end_lost_clients()
        # All processes of the cluster are forked from this one.
        garbage.process_serves()
        cluster = Cluster()
        cluster.start()
        if options.get("run_once"):
            cluster.stop()
        if settings.CLUSTER_METRICS_PORT and cluster.sentinel.is_alive():
            # After the fork, so that no worker inherits the socket.
            serve_metrics(settings.CLUSTER_METRICS_PORT)
        cluster.sentinel.join()
        if code := cluster.sentinel.exitcode:
            # The exit code tells a service manager to start the cluster again.
            raise CommandError(
                f"The cluster's main process ended with exit code {code}. Start the cluster again."
            )
