"""Signals: what a cluster tells of its work, for metrics and logs. Connect with `@receiver(outbox.signals.settled)`.

Sent for a batch, never for an event, in the process that did the work and after the fact: what a receiver raises
is logged and changes nothing.
"""

from django.dispatch import Signal

# count: events claimed, at least one. seconds: what the claim took. Sent by the relay.
claimed = Signal()

# outcome: "delivered", "failed" (waits for its next attempt), "dead", or "unavailable" (a dependency was away; not
# counted as an attempt). events: the ClaimedEvents, of one type, whose outcome this claim recorded.
# seconds: how long each call of the handler took; one call may have had many events. Sent by a worker.
settled = Signal()
