"""HTML for parts of the admin's pages. Django's own admin and its themes show it alike."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.template.loader import render_to_string
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timezone import localtime

from outbox.models import Event

# Characters of a text that a page shows. A browser takes seconds to break the lines of a megabyte.
LONGEST = 20_000

# Dark enough for white text, in a light theme and in a dark one.
AMBER, BLUE, GREEN, GREY, RED = "#b45309", "#1d4ed8", "#15803d", "#6b7280", "#b91c1c"
# The status of an event, and the state of a circuit. A word that is in no table of colours is grey.
COLOURS = {
    "pending": AMBER,
    "claimed": BLUE,
    "delivered": GREEN,
    "dead": RED,
    "open": RED,
    "held": AMBER,
    "paused": AMBER,
    "on": GREEN,
    "no handler": RED,
    "closed": GREEN,
}


def badge(status: str, colours: Mapping[str, str] = COLOURS) -> SafeString:
    """A status as a coloured label. `colours` gives the CSS colour of each status."""
    return format_html(
        '<span class="outbox-status" style="background:{};color:#fff;border-radius:9px;padding:1px 9px;'
        'font-size:12px;white-space:nowrap">{}</span>',
        colours.get(status, GREY),
        status,
    )


def moment(at: datetime) -> str:
    """A time in the zone of the settings, to the second, with its offset: Z for UTC."""
    local = localtime(at)
    return date_format(local, "Y-m-d H:i:s") + local.strftime("%z").replace("+0000", "Z")


def duration(seconds: float) -> str:
    """A length of time as a person says it: "4 s", "12 min", "3.5 h", "6 days"."""
    if seconds < 120:
        return f"{max(seconds, 0):.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.0f} days"


def text_block(text: str) -> SafeString:
    """Text with its line breaks, cut after LONGEST characters. A long word breaks, so that the page never becomes wider
    than a phone."""
    block = format_html(
        '<pre style="white-space:pre-wrap;overflow-wrap:anywhere;font-size:13px">{}</pre>', text[:LONGEST]
    )
    if len(text) <= LONGEST:
        return block
    return format_html(
        "{}<p>These are the first {} of {} characters.</p>", block, f"{LONGEST:,}", f"{len(text):,}"
    )


def json_block(value: Any) -> SafeString:
    """A value as indented JSON with sorted keys."""
    try:
        text = json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)
    except RecursionError:
        text = "It is nested too deeply to be shown."
    return text_block(text)


def timeline(event: Event) -> SafeString:
    """The event's history: published, each failed attempt with its traceback, each intervention, delivered."""
    steps = [(event.created_at, "published", "", "")]
    steps += [
        (
            failure.at,
            f"attempt {failure.attempt} failed on {failure.worker}",
            failure.error,
            failure.traceback,
        )
        for failure in event.failures.all()
    ]
    steps += [
        (intervention.at, f"{intervention.action} by {intervention.by}", intervention.reason, "")
        for intervention in event.interventions.all()
    ]
    # No attempt: the event was only recorded, and that is when it was published.
    if event.delivered_at and event.attempts:
        steps.append((event.delivered_at, f"delivered, attempt {event.attempts}", "", ""))
    steps.sort(key=lambda step: step[0])
    told = [(moment(at), *rest) for at, *rest in steps]
    return render_to_string("admin/outbox/timeline.html", {"steps": told})
