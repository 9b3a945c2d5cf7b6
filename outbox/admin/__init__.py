"""The outbox in Django's admin: see what failed and why, and decide."""

from outbox.admin.circuits import CircuitAdmin
from outbox.admin.events import EventAdmin

__all__ = ["CircuitAdmin", "EventAdmin"]
