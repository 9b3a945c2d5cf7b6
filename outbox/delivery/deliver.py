"""Delivery: what a worker does with the events of a claim."""

import logging
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from itertools import chain
from typing import NamedTuple
from uuid import UUID

from django_q.conf import Conf as ClusterConf

from outbox import signals
from outbox.cluster.shutdown import is_stopping
from outbox.delivery import outcomes
from outbox.delivery.db_retry import retry_while_away
from outbox.events import ClaimedEvent
from outbox.exceptions import Reject, Unavailable
from outbox.models import Status
from outbox.publishing import headers
from outbox.queue import circuits
from outbox.registry import handler_of

logger = logging.getLogger(__name__)

# What a handler is given in one call: all events of its type where it takes batches, else one.
Unit = list[ClaimedEvent]

# How much of the worker's time limit may have passed when another unit is begun: an event that takes long is not
# to run into the limit because of those before it.
SHARE_OF_TIMEOUT = 1 / 3
# Successes are recorded together, but not later than this after the first, or when the unit in hand has ended.
SETTLE_SECONDS = 0.2


class Done(NamedTuple):
    """Events of one type that were handled and are not recorded yet, and how long each call took, in seconds."""

    events: list[ClaimedEvent]
    seconds: list[float]


_open_circuit = retry_while_away(circuits.open_circuit)
_close_circuit = retry_while_away(circuits.close_circuit)
_hand_on_probe = retry_while_away(circuits.release_probe)


def deliver(
    token: UUID, events: Sequence[ClaimedEvent], *, begin_before: float = float("inf"), probing: str = ""
) -> None:
    """Hand the events to their handlers and settle each. The task that django-q2 runs.

    `begin_before`, by time.monotonic(): from then on a handler might outlive the lease, so none is begun.
    `probing` names the dependency whose circuit this is the careful try of.
    """
    Delivery(token, begin_before=begin_before, probing=probing).run(events)


class Delivery:
    """The way of one task's events through their handlers; settles under the claim's token."""

    def __init__(self, token: UUID, *, begin_before: float = float("inf"), probing: str = "") -> None:
        self.token = token
        self.probing = probing
        self._begin_before = begin_before
        if limit := ClusterConf.TIMEOUT:
            self._begin_before = min(begin_before, time.monotonic() + limit * SHARE_OF_TIMEOUT)
        self._units: deque[Unit] = deque()
        self._done: dict[str, Done] = {}
        self._begun = 0.0
        self._settle_at = float("inf")

    def run(self, events: Sequence[ClaimedEvent]) -> None:
        self._units.extend(_units(events))
        try:
            while self._units and self._may_begin():
                self._attempt(self._units.popleft())
                self._end_probe()
                if time.monotonic() >= self._settle_at:
                    self._settle()
        finally:
            # Also when this worker is told to end: django-q2's time limit is a SystemExit.
            self._settle()
            self._give_back()

    def _may_begin(self) -> bool:
        return not is_stopping() and time.monotonic() < self._begin_before

    def _attempt(self, unit: Unit) -> None:
        handler = handler_of(unit[0].type)
        if handler is None:
            logger.error("%s has no handler here; left to the clusters that have it", unit[0].type)
            self._return(unit)
            return
        self._begun = time.perf_counter()
        try:
            with headers.bound(unit[0].headers) if len(unit) == 1 else nullcontext():
                handler(unit)
        except Unavailable as unavailable:
            self._pause(unavailable, unit)
        except Exception as error:
            self._fail(unit, error)
        except BaseException as stop:
            # Whose fault it was is not known; next time each goes alone. Nor is it known whether a dependency
            # that is probed is back: the next probe is made when this one's time is over.
            self.probing = ""
            self._record_failure(unit, stop)
            raise
        else:
            done = self._done.setdefault(unit[0].type, Done([], []))
            done.events.extend(unit)
            done.seconds.append(time.perf_counter() - self._begun)
            self._settle_at = min(self._settle_at, time.monotonic() + SETTLE_SECONDS)

    def _pause(self, unavailable: Unavailable, unit: Unit) -> None:
        """No fault of the events. None that needs the dependency is tried until it answers."""
        _tell("unavailable", unit, [time.perf_counter() - self._begun])
        probed = unavailable.dependency == self.probing
        types = _open_circuit(unavailable, unit[0].type, probing=probed)
        if probed:
            self.probing = ""
        waiting = [unit, *(other for other in self._units if other[0].type in types)]
        self._units = deque(other for other in self._units if other[0].type not in types)
        logger.warning("%s; %d events wait for it", unavailable, sum(map(len, waiting)))
        self._return(chain.from_iterable(waiting))

    def _fail(self, unit: Unit, error: Exception) -> None:
        if len(unit) == 1:
            self._record_failure(unit, error, final=isinstance(error, Reject))
            return
        logger.warning("%s: a batch of %d failed (%r); one by one", unit[0].type, len(unit), error)
        self._units.extendleft([event] for event in reversed(unit))

    def _record_failure(self, unit: Unit, error: BaseException, *, final: bool = False) -> None:
        seconds = [time.perf_counter() - self._begun]
        statuses = outcomes.failed(self.token, _ids(unit), error, final=final)
        for outcome, status in (("failed", Status.PENDING), ("dead", Status.DEAD)):
            _tell(outcome, [event for event in unit if statuses.get(event.id) == status], seconds)
        for event in unit:
            with headers.bound(event.headers):
                logger.warning("%s #%d failed, attempt %d: %r", event.type, event.id, event.attempts, error)

    def _settle(self) -> None:
        done, self._done, self._settle_at = self._done, {}, float("inf")
        if not done:
            return
        ids = _ids(chain.from_iterable(each.events for each in done.values()))
        ours = outcomes.delivered(self.token, ids)
        if late := len(ids) - len(ours):
            logger.warning("%d of %d events were no longer ours: the lease ran out", late, len(ids))
        for events, seconds in done.values():
            _tell("delivered", [event for event in events if event.id in ours], seconds)

    def _end_probe(self) -> None:
        """Whatever came of the event, the dependency was not found away."""
        if self.probing and _close_circuit(self.probing):
            logger.info("%s answers again; its events go on", self.probing)
        self.probing = ""

    def _give_back(self) -> None:
        """What was only prefetched: the cluster stops, or it waited too long for this worker."""
        self._return(chain.from_iterable(self._units))
        if self.probing:
            _hand_on_probe(self.probing)

    def _return(self, events: Iterable[ClaimedEvent]) -> None:
        if ids := _ids(events):
            outcomes.returned(self.token, ids)


def _units(events: Iterable[ClaimedEvent]) -> Iterator[Unit]:
    of_type: dict[str, Unit] = {}
    for event in events:
        of_type.setdefault(event.type, []).append(event)
    for type, unit in of_type.items():
        handler = handler_of(type)
        if handler is not None and handler.batch:
            yield unit
        else:
            yield from ([event] for event in unit)


def _tell(outcome: str, events: list[ClaimedEvent], seconds: list[float]) -> None:
    if events:
        signals.settled.send_robust(sender=None, outcome=outcome, events=events, seconds=seconds)


def _ids(events: Iterable[ClaimedEvent]) -> list[int]:
    return [event.id for event in events]
