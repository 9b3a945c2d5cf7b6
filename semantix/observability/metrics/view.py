"""GET /metrics."""

import os
from collections.abc import Iterable
from pathlib import Path

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Metric, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from semantix.observability.metrics.database import EmbeddingCacheCollector, OutboxCollector

TOKEN_NEEDED = "Send METRICS_TOKEN as Authorization: Bearer <token>.\n"


def metrics(request: HttpRequest) -> HttpResponse:
    """Answer with the metrics. Where METRICS_TOKEN is set, the request needs `Authorization: Bearer <token>`."""
    if not is_allowed(request.headers.get("Authorization", "")):
        return HttpResponse(TOKEN_NEEDED, status=401, content_type="text/plain")
    return HttpResponse(exposition(), content_type=CONTENT_TYPE_LATEST)


def is_allowed(authorization: str) -> bool:
    """Whether the Authorization header opens the metrics: where METRICS_TOKEN is set, it must carry it."""
    token: str = settings.METRICS_TOKEN
    return not token or constant_time_compare(authorization.removeprefix("Bearer "), token)


def exposition() -> bytes:
    """All metrics in Prometheus' text format: those of the processes, and those of the database."""
    stored = CollectorRegistry()
    stored.register(OutboxCollector())
    stored.register(EmbeddingCacheCollector())
    return generate_latest(measured_registry()) + generate_latest(stored)


def measured_registry() -> CollectorRegistry:
    """The metrics of the processes that share PROMETHEUS_MULTIPROC_DIR; without it, those of this process."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    registry = CollectorRegistry()
    Measured(registry)  # type: ignore[no-untyped-call]
    return registry


def embedding_cache_use() -> tuple[int, int]:
    """Hits and misses of the embedding cache, summed over the processes that share PROMETHEUS_MULTIPROC_DIR."""
    registry = measured_registry()
    names = ("semantix_embedding_cache_hits_total", "semantix_embedding_cache_misses_total")
    hits, misses = (int(registry.get_sample_value(name) or 0) for name in names)
    return hits, misses


class Measured(MultiProcessCollector):
    """Reads all metric files except empty ones, over which the library fails.

    A file is empty for a moment after a process has created it.
    """

    def collect(self) -> Iterable[Metric]:
        files = [str(file) for file in Path(self._path).glob("*.db") if file.stat().st_size]
        found: Iterable[Metric] = self.merge(files)  # type: ignore[no-untyped-call]
        return found
