"""What is wrong with the outbox now, in sentences for the person who has to act. The most urgent problem comes first.

The overview of the admin, `outbox_status` and `outbox_doctor` ask here, so that they say the same.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from django.db.models import Min
from django.utils import timezone

from outbox.counting import counted
from outbox.models import Circuit, Event, Failure, Status
from outbox.operations import clusters
from outbox.operations.statistics import TypeStatistics, backlog, open_circuits, paused_types
from outbox.registry import handled_types

# A waiting event that is older is a problem, if nothing else explains it.
LATE_SECONDS = 300


@dataclass(frozen=True, kw_only=True)
class Problem:
    """`what` is wrong, and `since` when; what it `holds_up`; what happens `by_itself`, or what a person has to do.

    `kind` is stable: cluster, circuit, paused, dead, unhandled, late, or what an app tells of: settings, disk.
    `subject`: the dependency or the event type. `public`: `what` without the reason, which may name hosts and accounts.
    """

    kind: str
    what: str
    holds_up: str
    by_itself: str
    since: datetime | None = None
    subject: str = ""
    public: str = ""

    def __str__(self) -> str:
        return self._sentences(self.what)

    @property
    def for_everybody(self) -> str:
        """The sentences for a page that needs no account."""
        return self._sentences(self.public or self.what)

    def _sentences(self, what: str) -> str:
        since = f" since {at(self.since)}" if self.since else ""
        return " ".join(part for part in (f"{what}{since}.", self.holds_up, self.by_itself) if part)


Find = Callable[[], Iterable[Problem]]

_of_apps: list[Find] = []


def problem(find: Find) -> Find:
    """Register the decorated function, by which an app tells of its own problems."""
    if find not in _of_apps:
        _of_apps.append(find)
    return find


def find(waiting: dict[str, TypeStatistics] | None = None) -> list[Problem]:
    """Every problem there is now. `waiting`: the answer of `statistics.backlog()`, if it was read already."""
    waiting = backlog() if waiting is None else waiting
    found = [
        *_clusters(waiting),
        *of_apps(),
        *_circuits(waiting),
        *_paused(waiting),
        *_dead_letters(waiting),
        *_unhandled(waiting),
    ]
    return found or list(_late(waiting))


def _clusters(waiting: dict[str, TypeStatistics]) -> Iterator[Problem]:
    if clusters.alive():
        return
    yield Problem(
        kind="cluster",
        what="No cluster runs",
        since=clusters.last_seen(),
        holds_up=f"{_waits(_pending(waiting))}; new events are stored and wait too."
        if _pending(waiting)
        else "New events are stored and wait.",
        by_itself="Nothing is delivered until a cluster runs: start one with manage.py qcluster.",
    )


def of_apps() -> list[Problem]:
    """What the apps of the project tell of."""
    return [found for find_more in _of_apps for found in find_more()]


def of_dependency(name: str) -> Problem | None:
    """What is wrong with this dependency, as far as its circuit knows."""
    return next((found for found in _circuits(backlog()) if found.subject == name), None)


def _circuits(waiting: dict[str, TypeStatistics]) -> Iterator[Problem]:
    for circuit in open_circuits():
        held_up = _held_up(sum(waiting[type].pending for type in circuit.types if type in waiting))
        if circuit.is_held:
            yield Problem(
                kind="circuit",
                subject=circuit.dependency,
                public=f"{circuit.dependency} is held by a person",
                what=f"{circuit.dependency} is held ({circuit.hold_reason.rstrip('.')})",
                since=circuit.held_at,
                holds_up=held_up,
                by_itself=f"The hold ends at {at(circuit.hold_ends)}."
                if circuit.hold_ends
                else "Its events go on when you release it.",
            )
        else:
            yield Problem(
                kind="circuit",
                subject=circuit.dependency,
                public=f"{circuit.dependency} is away",
                what=f"{circuit.dependency} is away ({circuit.reason.rstrip('.')})",
                since=circuit.opened_at,
                holds_up=held_up,
                by_itself=_next_try(circuit),
            )


def _paused(waiting: dict[str, TypeStatistics]) -> Iterator[Problem]:
    for type in paused_types():
        count = waiting[type.name].pending if type.name in waiting else 0
        yield Problem(
            kind="paused",
            subject=type.name,
            what=f"The event type {type.name} is paused ({type.hold_reason.rstrip('.')})",
            since=type.held_at,
            holds_up=f"{_waits(count)} and {'loses' if count == 1 else 'lose'} no attempt."
            if count
            else "No event of it waits.",
            by_itself=f"The pause ends at {at(type.hold_ends)}."
            if type.hold_ends
            else "Its events go on when you resume it.",
        )


def _next_try(circuit: Circuit) -> str:
    if circuit.open_until is None or circuit.open_until <= timezone.now():
        return "It is tried again now, and its events go on when it answers."
    return f"It is tried again at {at(circuit.open_until)}, and its events go on when it answers."


def _dead_letters(waiting: dict[str, TypeStatistics]) -> Iterator[Problem]:
    count = sum(found.dead for found in waiting.values())
    if not count:
        return
    dead = Event.objects.filter(status=Status.DEAD)
    yield Problem(
        kind="dead",
        what=f"{_events(count)} could not be delivered",
        since=Failure.objects.filter(event__in=dead.order_by("id")[:1000]).aggregate(first=Min("at"))[
            "first"
        ],
        holds_up="",
        by_itself=f"{'It waits' if count == 1 else 'They wait'} until you retry or discard "
        f"{'it' if count == 1 else 'them'}.",
    )


def _unhandled(waiting: dict[str, TypeStatistics]) -> Iterator[Problem]:
    for type, found in sorted(waiting.items()):
        if found.pending and type not in handled_types():
            yield Problem(
                kind="unhandled",
                subject=type,
                what=f"No handler is registered for {type}",
                holds_up=f"{_waits(found.pending, ' of it')}.",
                by_itself="Install the app that handles it, or discard them.",
            )


def _late(waiting: dict[str, TypeStatistics]) -> Iterator[Problem]:
    oldest = max((found.oldest_pending_seconds or 0.0 for found in waiting.values()), default=0.0)
    if oldest > LATE_SECONDS:
        yield Problem(
            kind="late",
            what=f"Events wait for {oldest / 60:.0f} minutes",
            holds_up=f"{_waits(_pending(waiting))}.",
            by_itself="The clusters deliver them as fast as they can. Start another one to deliver faster.",
        )


def _pending(waiting: dict[str, TypeStatistics]) -> int:
    return sum(found.pending for found in waiting.values())


def _held_up(count: int) -> str:
    if not count:
        return "No event waits for it."
    return f"{_waits(count)} for it and {'loses' if count == 1 else 'lose'} no attempt."


def _waits(count: int, which: str = "") -> str:
    return f"{_events(count)}{which} {'waits' if count == 1 else 'wait'}"


def _events(count: int) -> str:
    return counted(count, "event")


def at(moment: datetime) -> str:
    """A time as UTC, to the second."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"
