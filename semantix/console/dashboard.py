"""The admin's first page: what is wrong, and how the outbox is doing, each figure with its last half hour."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib.admin.utils import quote
from django.http import HttpRequest
from django.urls import reverse

from memories.embeddings.cache import cache_statistics
from outbox.models import TYPE_PREFIX
from outbox.operations import problems, statistics
from outbox.operations.history import Minute, last_minutes, percent
from semantix.observability.metrics.view import embedding_cache_use
from semantix.web import parts

BLUE, GREEN, RED, AMBER = "#3b82f6", "#16a34a", "#dc2626", "#d97706"
NOTHING = "–"


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


def context(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """unfold's DASHBOARD_CALLBACK: what is wrong, then the figures. Staff see what they may see on the pages."""
    if not request.user.has_perms(("outbox.view_event", "outbox.view_circuit")):
        return context | {"hidden": True}
    now, history = statistics.collect(exact_up_to=1000), last_minutes()
    return context | {
        "cards": cards(now, history),
        "problems": [(problem, _page(problem)) for problem in problems.find()],
        "relays": now.relays,
        "parts": parts.failing(),
    }


def _page(problem: problems.Problem) -> str:
    """The one page to go to. A cluster is started elsewhere: it has none."""
    events = reverse("admin:outbox_event_changelist")
    match problem.kind:
        case "circuit":
            return reverse("admin:outbox_circuit_change", args=[quote(problem.subject)])
        case "paused":
            return reverse("admin:outbox_eventtype_change", args=[quote(TYPE_PREFIX + problem.subject)])
        case "dead":
            return f"{events}?status__exact=dead"
        case "unhandled":
            return f"{events}?status__exact=pending"
        case "late":
            return f"{events}?status__exact=pending&published=older"
    return ""


def cards(now: statistics.Statistics, history: Sequence[Minute]) -> list[Card]:
    return [
        _backlog(now, history),
        _oldest(now, history),
        _rate(now, history),
        _success(history),
        _latency(now, history),
        _dead(now, history),
        _circuits(now, history),
        _cache(),
    ]


def _backlog(now: statistics.Statistics, history: Sequence[Minute]) -> Card:
    waiting = now.total("pending")
    note = f"{now.total('claimed')} in hand, {now.total('retrying')} being retried"
    link = f"{reverse('admin:outbox_event_changelist')}?status__exact=pending"
    return Card(
        "Waiting",
        f"{waiting:,}",
        note,
        link,
        chart=_chart(history, Waiting=(BLUE, [m.waiting for m in history])),
    )


def _oldest(now: statistics.Statistics, history: Sequence[Minute]) -> Card:
    seconds = now.oldest_pending_seconds
    return Card(
        "Oldest waits",
        NOTHING if seconds is None else _duration(seconds),
        "the oldest event that is not delivered, at each minute's end",
        alarming=(seconds or 0) > 300,
        chart=_chart(history, Seconds=(AMBER, [m.oldest_seconds for m in history])),
    )


def _rate(now: statistics.Statistics, history: Sequence[Minute]) -> Card:
    return Card(
        "Delivered a minute",
        f"{now.total('delivered_per_minute'):,}",
        f"{now.delivered.value:,}{' (estimated)' if now.delivered.estimated else ''} on record",
        chart=_chart(history, Delivered=(GREEN, [m.delivered for m in history])),
    )


def _success(history: Sequence[Minute]) -> Card:
    delivered, failed = sum(m.delivered for m in history), sum(m.failed for m in history)
    success = percent(delivered, delivered + failed)
    return Card(
        "Success rate",
        NOTHING if success is None else f"{success:.1f} %",
        f"{failed:,} failed attempts in {len(history)} minutes",
        alarming=success is not None and success < 95,
        chart=_chart(history, Percent=(GREEN, [m.success_percent for m in history])),
    )


def _latency(now: statistics.Statistics, history: Sequence[Minute]) -> Card:
    latency = now.latency
    lines = {
        name: (colour, [m.latency[place] if m.latency else None for m in history])
        for place, (name, colour) in enumerate((("p50", GREEN), ("p95", AMBER), ("p99", RED)))
    }
    return Card(
        "Publishing to delivery",
        _milliseconds(latency.p50),
        f"p95 {_milliseconds(latency.p95)}, p99 {_milliseconds(latency.p99)}, newest 10,000 of the last hour",
        chart=_chart(history, **lines),
    )


def _dead(now: statistics.Statistics, history: Sequence[Minute]) -> Card:
    dead = now.total("dead")
    link = f"{reverse('admin:outbox_event_changelist')}?status__exact=dead"
    return Card(
        "Dead letters",
        f"{dead:,}",
        "wait for a person; below: given up, by the minute" if dead else "nothing waits for a person",
        link,
        bool(dead),
        _chart(history, Died=(RED, [m.died for m in history])),
    )


def _circuits(now: statistics.Statistics, history: Sequence[Minute]) -> Card:
    away = [circuit.dependency for circuit in now.circuits]
    link = reverse("admin:outbox_circuit_changelist")
    return Card(
        "Dependencies",
        ", ".join(away) or "all answer",
        "away" if away else "no circuit is open",
        link,
        bool(away),
        _chart(history, Away=(RED, [m.away for m in history])),
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


def _chart(history: Sequence[Minute], **lines: tuple[str, Sequence[float | None]]) -> str:
    """Empty where there is nothing to draw."""
    if not any(point is not None for _colour, points in lines.values() for point in points):
        return ""
    return json.dumps(
        {
            "labels": [minute.start.strftime("%H:%M") for minute in history],
            "datasets": [
                {
                    "label": label,
                    "data": list(points),
                    "borderColor": colour,
                    "backgroundColor": colour,
                    "displayYAxis": True,
                    "maxTicksXLimit": 6,
                    "pointStyle": ["circle" if alone else False for alone in _alone(points)],
                }
                for label, (colour, points) in lines.items()
            ],
        }
    )


def _alone(points: Sequence[float | None]) -> list[bool]:
    """Which points have no neighbour that a line could lead to."""
    around = [None, *points, None]
    return [
        point is not None and before is None and after is None
        for before, point, after in zip(around, points, around[2:], strict=False)
    ]


def _milliseconds(value: float | None) -> str:
    return NOTHING if value is None else f"{value:,.1f} ms"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
