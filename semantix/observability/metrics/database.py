"""Gauges that each scrape reads from the database: the present content of the outbox.

Delivered events do not make it slower: the counts come from partial indexes, and delivered events are estimated.
"""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from memories.embeddings.cache import cache_statistics
from outbox.operations import statistics
from outbox.registry import handled_types


class OutboxCollector(Collector):
    """Gauges of backlog, ages, circuits and relays."""

    def collect(self) -> Iterator[Metric]:
        # Includes types without waiting events: a series that comes and goes cannot be drawn or alerted on.
        by_type = {type: statistics.TypeStatistics() for type in handled_types()} | statistics.backlog()
        yield _events(by_type)
        yield _oldest(by_type)
        yield _circuits()
        yield _relays()

    def describe(self) -> list[Metric]:
        return []  # otherwise registering would call collect(), which queries the database


class EmbeddingCacheCollector(Collector):
    """The size of this process's embedding cache."""

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
    # One sum for all types, estimated above a thousand: exact counts would cost more than they are worth.
    family.add_metric(["", "delivered"], statistics.delivered(exact_up_to=1000).value)
    return family


def _oldest(by_type: dict[str, statistics.TypeStatistics]) -> Metric:
    family = GaugeMetricFamily(
        "semantix_outbox_oldest_pending_seconds", "Age of the oldest waiting event.", labels=["event_type"]
    )
    for type, found in by_type.items():
        family.add_metric([type], found.oldest_pending_seconds or 0)
    return family


def _circuits() -> Metric:
    family = GaugeMetricFamily(
        "semantix_outbox_circuit_open", "1 while the circuit is open.", labels=["dependency"]
    )
    for circuit in statistics.open_circuits():
        family.add_metric([circuit.dependency], 1)
    return family


def _relays() -> Metric:
    family = GaugeMetricFamily(
        "semantix_outbox_relay_seen_seconds", "Seconds since a relay's last heartbeat.", labels=["relay"]
    )
    for relay in statistics.relays():
        family.add_metric([f"{relay.host}:{relay.pid}"], relay.seen_seconds_ago)
    return family
