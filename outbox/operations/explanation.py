"""Why an event is where it is: one sentence for the person who looks at it."""

from datetime import datetime, timedelta

from django.db.models.functions import Now

from outbox.conf import conf
from outbox.models import Circuit, Event, Relay, Status, open_events
from outbox.operations import clusters
from outbox.operations.problems import at
from outbox.registry import handler_of

AFTER_THE_LAST_ATTEMPT = {
    Status.DEAD: "It failed {attempts} times and is a dead letter. Nothing happens until you retry or discard it.",
    Status.DELIVERED: "It is delivered. Nothing is left to do.",
    Status.DISCARDED: "A person discarded it. It is never delivered, unless you retry it.",
}


def explain(event: Event) -> str:
    """One or two sentences: what the event waits for, and when it goes on."""
    if event.status == Status.DELIVERED and not event.attempts:
        return "It is recorded for others to read. No handler receives it."
    if event.status in AFTER_THE_LAST_ATTEMPT:
        return AFTER_THE_LAST_ATTEMPT[Status(event.status)].format(attempts=event.attempts)
    if event.status == Status.CLAIMED:
        return _claimed(event)
    return (
        _no_handler(event)
        or _open_circuit(event)
        or _earlier_event(event)
        or _later(event)
        or _no_cluster()
        or "It is ready. The next free worker takes it."
    )


def _claimed(event: Event) -> str:
    relay = Relay.objects.filter(pk=event.relay).first() if event.relay else None
    who = f"Cluster {relay}" if relay else "A worker"
    since = ""
    if event.lease_expires_at:
        since = f" since {_moment(event.lease_expires_at - timedelta(seconds=conf.LEASE_SECONDS))}"
    return f"{who} has it{since}, in attempt {event.attempts} of {conf.MAX_ATTEMPTS}."


def _no_handler(event: Event) -> str:
    if handler_of(event.type):
        return ""
    return f"It waits because no handler is registered for {event.type}. Install the app that handles it."


def _open_circuit(event: Event) -> str:
    circuits = Circuit.objects.filter(types__contains=[event.type])
    if held := circuits.filter(held_until__gt=Now()).order_by("-held_until").first():
        return _held(held)
    circuit = circuits.filter(opened_at__isnull=False).first()
    if circuit is None:
        return ""
    next_try = f" The next try is at {_moment(circuit.open_until)}." if circuit.open_until else ""
    return (
        f"It waits for {circuit.dependency}, which is away since {_moment(circuit.opened_at)}: "
        f"{circuit.reason.rstrip('.')}.{next_try} It goes on by itself and loses no attempt."
    )


def _held(circuit: Circuit) -> str:
    what = f"its type, {circuit.name}, is paused" if circuit.is_event_type else f"{circuit.name} is held"
    since = f" since {_moment(circuit.held_at)}" if circuit.held_at else ""
    if circuit.hold_ends:
        end = f"It goes on by itself at {_moment(circuit.hold_ends)}"
    else:
        end = f"It goes on when somebody {'resumes' if circuit.is_event_type else 'releases'} it"
    return f"It waits because {what}{since} ({circuit.hold_reason.rstrip('.')}). {end} and loses no attempt."


def _earlier_event(event: Event) -> str:
    earlier = (
        open_events()
        .filter(aggregatetype=event.aggregatetype, aggregateid=event.aggregateid, pk__lt=event.pk)
        .order_by("pk")
        .first()
    )
    if earlier is None:
        return ""
    return (
        f"It waits for event {earlier.pk} ({earlier.type}) of the same {event.aggregatetype}: "
        "the events of one aggregate are delivered in order."
    )


def _later(event: Event) -> str:
    if not Event.objects.filter(pk=event.pk, available_at__gt=Now()).exists():
        return ""
    if event.attempts:
        return (
            f"It failed {event.attempts} of {conf.MAX_ATTEMPTS} times. "
            f"The next attempt is at {_moment(event.available_at)}."
        )
    return f"It is due at {_moment(event.available_at)}."


def _no_cluster() -> str:
    if clusters.alive():
        return ""
    return "It waits because no cluster runs. Start one with manage.py qcluster."


def _moment(moment: datetime | None) -> str:
    return at(moment) if moment else "an unknown time"
