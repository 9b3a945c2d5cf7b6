"""Signals about a cluster's work, for metrics and logs. Connect with `@receiver(outbox.signals.settled)`.

A signal is sent once for a batch, in the process that did the work, after the outcome is recorded. An exception
from a receiver is logged and changes nothing.
"""

from django.dispatch import Signal

# The relay sends it. count: claimed events, at least one. seconds: duration of the claim.
claimed = Signal()

# A worker sends it. outcome: "delivered", "failed" (the event waits for its next attempt), "dead", or "unavailable"
# (a dependency did not answer, and the attempt does not count). events: the ClaimedEvents, all of one type, whose
# outcome this claim recorded. seconds: duration of each call of the handler; one call may have had many events.
settled = Signal()
