"""The cards of the overview: each figure with its last half hour. What is wrong comes first."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.conf import settings
from django.urls import reverse

from memories.embeddings.cache import cache_statistics
from outbox.admin.rendering import duration
from outbox.operations.history import Minute, percent, totals
from outbox.operations.statistics import Latency, TypeStatistics
from semantix.console.charts import AMBER, BLUE, GREEN, RED, chart, chart_by
from semantix.observability.metrics.view import embedding_cache_use

NOTHING = "–"
LATE_SECONDS = 300


@dataclass(frozen=True)
class Card:
    title: str
    value: str
    note: str = ""
    link: str = ""
    alarming: bool = False
    # Chart.js data as JSON; empty where the last half hour has nothing of it, None for what has no history.
    chart: str | None = None

    @property
    def drawn(self) -> bool:
        return self.chart is not None


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What the cards show. `sampled`: the waiting events are those of the last sample, because they are many."""

    by_type: dict[str, TypeStatistics]
    sampled: bool
    latency: Latency
    away: Sequence[str]

    def total(self, name: str) -> int:
        return sum(getattr(found, name) for found in self.by_type.values())

    @property
    def oldest(self) -> float | None:
        ages = [found.oldest_pending_seconds for found in self.by_type.values()]
        return max((age for age in ages if age is not None), default=None)


def cards(now: Figures, history: Sequence[Minute]) -> list[Card]:
    """The cards, by importance: first what alarms."""
    found = [
        _dead(now, history),
        _circuits(now, history),
        _oldest(now, history),
        _backlog(now, history),
        _success(history),
        _latency(now, history),
        _by(history, "by_type", "Delivered by event type"),
        _by(history, "by_cluster", "Delivered by cluster"),
        _cache(),
    ]
    return sorted(found, key=lambda card: not card.alarming)


def _dead(now: Figures, history: Sequence[Minute]) -> Card:
    dead = now.total("dead")
    return Card(
        "Dead letters",
        f"{dead:,}",
        "wait for a person; below: given up, by the minute" if dead else "nothing waits for a person",
        f"{reverse('admin:outbox_event_changelist')}?status__exact=dead",
        bool(dead),
        chart(history, Died=(RED, [m.died for m in history])),
    )


def _circuits(now: Figures, history: Sequence[Minute]) -> Card:
    return Card(
        "Dependencies",
        ", ".join(now.away) or "all answer",
        "away or held" if now.away else "no circuit is open",
        reverse("admin:outbox_circuit_changelist"),
        bool(now.away),
        chart(history, Away=(RED, [m.away for m in history])),
    )


def _oldest(now: Figures, history: Sequence[Minute]) -> Card:
    seconds = now.oldest
    return Card(
        "Oldest waits",
        NOTHING if seconds is None else duration(seconds),
        "the oldest event that is not delivered; below: in seconds",
        alarming=(seconds or 0) > LATE_SECONDS,
        chart=chart(history, logarithmic=True, Seconds=(AMBER, [m.oldest_seconds for m in history])),
    )


def _backlog(now: Figures, history: Sequence[Minute]) -> Card:
    waiting = now.total("pending")
    about = "about " if now.sampled else ""
    return Card(
        "Waiting",
        f"{about}{waiting:,}",
        f"{now.total('claimed'):,} in hand, {now.total('retrying'):,} to be tried again",
        f"{reverse('admin:outbox_event_changelist')}?status__exact=pending",
        chart=chart(history, Waiting=(BLUE, [_sum(m.waiting) for m in history])),
    )


def _sum(waiting: dict[str, int] | None) -> int | None:
    return None if waiting is None else sum(waiting.values())


def _success(history: Sequence[Minute]) -> Card:
    delivered, failed = sum(m.delivered for m in history), sum(m.failed for m in history)
    success = percent(delivered, delivered + failed)
    return Card(
        "Success rate",
        NOTHING if success is None else f"{success:.1f} %",
        f"{delivered:,} delivered, {failed:,} failed attempts in {len(history)} minutes",
        alarming=success is not None and success < 95,
        chart=chart(history, Percent=(GREEN, [m.success_percent for m in history])),
    )


def _latency(now: Figures, history: Sequence[Minute]) -> Card:
    latency = now.latency
    lines = {
        name: (colour, [minute.latency[place] if minute.latency else None for minute in history])
        for place, (name, colour) in enumerate((("p50", GREEN), ("p95", AMBER), ("p99", RED)))
    }
    return Card(
        "Publishing to delivery",
        _milliseconds(latency.p50),
        f"p95 {_milliseconds(latency.p95)}, p99 {_milliseconds(latency.p99)}, newest 10,000 of the last hour; "
        "each step of the axis is ten times the one before",
        chart=chart(history, logarithmic=True, **lines),
    )


def _by(history: Sequence[Minute], name: str, title: str) -> Card:
    sums = totals(history, name)
    parts = ", ".join(f"{key} {count:,}" for key, count in list(sums.items())[:3])
    return Card(
        title,
        f"{sum(sums.values()):,}",
        f"in {len(history)} minutes: {parts}" if parts else f"in {len(history)} minutes",
        chart=chart_by(history, name, sums),
    )


def _cache() -> Card:
    if not settings.EMBEDDING_CACHE_ENABLED:
        return Card("Embedding cache", "off", "EMBEDDING_CACHE_ENABLED is false")
    if not cache_statistics()["enabled"]:
        return Card("Embedding cache", "off", "this embedder is faster than looking up")
    hits, misses = embedding_cache_use()
    rate = percent(hits, hits + misses)
    return Card(
        "Embedding cache",
        NOTHING if rate is None else f"{rate:.0f} %",
        f"{hits:,} hits, {misses:,} misses since the service started",
    )


def _milliseconds(value: float | None) -> str:
    return NOTHING if value is None else f"{value:,.1f} ms"
