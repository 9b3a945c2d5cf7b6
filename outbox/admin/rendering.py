"""Parts of the admin's pages, as HTML that the stock admin and its themes show alike."""

import json
from datetime import datetime
from typing import Any

from django.template.loader import render_to_string
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timezone import localtime

from outbox.models import Event

COLOURS = {
    "pending": "#b45309",
    "claimed": "#1d4ed8",
    "delivered": "#15803d",
    "dead": "#b91c1c",
    "discarded": "#6b7280",
    "open": "#b91c1c",
    "closed": "#15803d",
    "embedded": "#1d4ed8",
    "indexed": "#15803d",
    "failed": "#b91c1c",
    "valid": "#15803d",
}


def badge(status: str) -> SafeString:
    return format_html(
        '<span class="outbox-status" style="background:{};color:#fff;border-radius:9px;padding:1px 9px;'
        'font-size:12px;white-space:nowrap">{}</span>',
        COLOURS.get(status, "#6b7280"),
        status,
    )


def moment(at: datetime) -> str:
    return date_format(localtime(at), "Y-m-d H:i:s")


def json_block(value: Any) -> SafeString:
    text = json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)
    return format_html(
        '<pre style="white-space:pre-wrap;overflow-wrap:anywhere;font-size:13px">{}</pre>', text
    )


def timeline(event: Event) -> SafeString:
    """From publishing to now: each failed attempt with its traceback, each thing a person decided."""
    happened = [(event.created_at, "published", "", "")]
    happened += [
        (
            failure.at,
            f"attempt {failure.attempt} failed on {failure.worker}",
            failure.error,
            failure.traceback,
        )
        for failure in event.failures.all()
    ]
    happened += [
        (decided.at, f"{decided.action} by {decided.by}", decided.reason, "")
        for decided in event.interventions.all()
    ]
    if event.delivered_at:
        happened.append((event.delivered_at, f"delivered, attempt {event.attempts}", "", ""))
    happened.sort(key=lambda step: step[0])
    return render_to_string("admin/outbox/timeline.html", {"happened": happened})
