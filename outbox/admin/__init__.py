"""The outbox in Django's admin: see what failed and why, and decide."""

from outbox.admin.circuits import CircuitAdmin
from outbox.admin.event_types import EventTypeAdmin
from outbox.admin.events import EventAdmin
from outbox.admin.interventions import InterventionAdmin

__all__ = ["CircuitAdmin", "EventAdmin", "EventTypeAdmin", "InterventionAdmin"]
