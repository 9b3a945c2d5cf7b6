"""The admin's first page: what is wrong, how the outbox is doing, and what each cluster has in hand."""

from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.admin.utils import quote
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from outbox.models import TYPE_PREFIX
from outbox.operations import clusters, errors, problems, statistics
from outbox.operations.history import last_minutes
from semantix.console.cards import Figures, cards
from semantix.console.numbers import numbers
from semantix.web import parts


def context(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """unfold's DASHBOARD_CALLBACK: what is wrong, then the figures. Staff see what they may see on the pages."""
    if not request.user.has_perms(("outbox.view_event", "outbox.view_circuit")):
        return context | {"hidden": True}
    waiting, sampled = statistics.backlog_or_sample()
    now = Figures(
        by_type=waiting,
        sampled=sampled,
        latency=statistics.latency(),
        away=[circuit.dependency for circuit in statistics.open_circuits()],
    )
    return context | {
        "cards": cards(now, last_minutes()),
        "problems": [(problem, _page(problem)) for problem in problems.find(waiting)],
        "parts": parts.failing(),
        "groups": [(group, _group_page(group)) for group in errors.groups()],
        "may_retry": request.user.has_perm("outbox.change_event"),
        "clusters": clusters.recent(),
        "numbers": numbers(),
        "now": timezone.now(),
        "zone": settings.TIME_ZONE,
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
            return f"{events}?{urlencode({'status__exact': 'pending', 'type': problem.subject})}"
        case "late":
            return f"{events}?status__exact=pending&published=older"
    return ""


def _group_page(group: errors.ErrorGroup) -> str:
    """The list of the group's events."""
    query = {"status__exact": group.status, "type": group.type, "same_error": group.key}
    return f"{reverse('admin:outbox_event_changelist')}?{urlencode(query)}"
