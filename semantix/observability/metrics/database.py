"""Gauges read from the database at each scrape: what the outbox holds now. Its cost does not grow with what was
delivered: counts come from partial indexes, and delivered events are estimated."""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from memories.embeddings.cache import cache_statistics
from outbox.operations import statistics
from outbox.registry import handled_types


class OutboxCollector(Collector):
    """Backlog, ages, circuits and relays."""

    def collect(self) -> Iterator[Metric]:
        # Types of which nothing waits are told too: a series that comes and goes cannot be drawn or alarmed on.
        by_type = {type: statistics.TypeStatistics() for type in handled_types()} | statistics.backlog()
        yield _events(by_type)
        yield _oldest(by_type)
        yield _circuits()
        yield _relays()

    def describe(self) -> list[Metric]:
        return []  # so that registering asks the database nothing


class EmbeddingCacheCollector(Collector):
    """What this process's embedding cache holds."""

    def collect(self) -> Iterator[Metric]:
        entries = GaugeMetricFamily(
            "semantix_embedding_cache_entries", "Embeddings held in the answering process's cache."
        )
        entries.add_metric([], cache_statistics()["entries"] or 0)
        yield entries


def _events(by_type: dict[str, statistics.TypeStatistics]) -> Metric:
    family = GaugeMetricFamily(
        "semantix_outbox_events", "Events by type and status.", labels=["event_type", "status"]
    )
    for type, found in by_type.items():
        for status in ("pending", "claimed", "dead", "discarded"):
            family.add_metric([type, status], getattr(found, status))
    # All types together, and estimated above a thousand: counting them would cost more than it tells.
    family.add_metric(["", "delivered"], statistics.delivered(exact_up_to=1000).value)
    return family


def _oldest(by_type: dict[str, statistics.TypeStatistics]) -> Metric:
    family = GaugeMetricFamily(
        "semantix_outbox_oldest_pending_seconds", "How long the oldest event waits.", labels=["event_type"]
    )
    for type, found in by_type.items():
        family.add_metric([type], found.oldest_pending_seconds or 0)
    return family


def _circuits() -> Metric:
    family = GaugeMetricFamily("semantix_outbox_circuit_open", "1 while paused.", labels=["dependency"])
    for circuit in statistics.open_circuits():
        family.add_metric([circuit.dependency], 1)
    return family


def _relays() -> Metric:
    family = GaugeMetricFamily(
        "semantix_outbox_relay_seen_seconds", "Since a cluster's relay was heard of.", labels=["relay"]
    )
    for relay in statistics.relays():
        family.add_metric([f"{relay.host}:{relay.pid}"], relay.seen_seconds_ago)
    return family
