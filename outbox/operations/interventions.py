"""The record of who did what: a row for each decision of a person, from the admin or from a command."""

from outbox.models import Intervention


def record(action: str, subject: str, *, by: str, reason: str = "") -> None:
    """Record that a person changed something that is no single event.

    `action`: a past participle, as "paused". `subject`: what was changed, as "event type memory_log.stored".
    """
    Intervention.objects.create(action=action, subject=subject, by=by, reason=reason)
