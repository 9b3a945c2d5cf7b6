"""Delivery: a worker calls the handlers of a task's events and settles the events."""

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
from outbox.delivery.db_retry import retry_while_unavailable
from outbox.events import ClaimedEvent
from outbox.exceptions import Reject, Unavailable
from outbox.models import Status
from outbox.publishing import headers
from outbox.queue import circuits
from outbox.registry import handler_of

logger = logging.getLogger(__name__)

# The events of one call of a handler: all events of its type if it takes batches, else one.
Unit = list[ClaimedEvent]

# No unit is begun after this share of the task's timeout, so that a slow event does not run into the timeout because of
# the events before it.
SHARE_OF_TIMEOUT = 1 / 3
# Successes are recorded together: at most this long after the first of them, or when the current unit ends.
SETTLE_SECONDS = 0.2


class Done(NamedTuple):
    """Handled events of one type whose success is not recorded yet, and the duration of each call in seconds."""

    events: list[ClaimedEvent]
    seconds: list[float]


_open_circuit = retry_while_unavailable(circuits.open_circuit)
_close_circuit = retry_while_unavailable(circuits.close_circuit)
_release_probe = retry_while_unavailable(circuits.release_probe)


def deliver(
    token: UUID, events: Sequence[ClaimedEvent], *, begin_before: float = float("inf"), probing: str = ""
) -> None:
    """Call the handlers of the events and settle each event.

    `begin_before` (time.monotonic()): no handler is begun later, because it might outlive the lease.
    `probing`: the dependency that this task probes.
    """
    Delivery(token, begin_before=begin_before, probing=probing).run(events)


class Delivery:
    """The delivery of one task's events."""

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
            # Also if the worker must end: django-q2's timeout raises SystemExit.
            self._settle()
            self._return_rest()

    def _may_begin(self) -> bool:
        return not is_stopping() and time.monotonic() < self._begin_before

    def _attempt(self, unit: Unit) -> None:
        handler = handler_of(unit[0].type)
        if handler is None:
            logger.error(
                "%s has no handler in this cluster. Its events wait for another cluster.", unit[0].type
            )
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
            # It is not known which event is at fault, so each is retried alone. It is not known either whether the
            # probed dependency answers: the next probe runs when this probe's time is over.
            self.probing = ""
            self._record_failure(unit, stop)
            raise
        else:
            done = self._done.setdefault(unit[0].type, Done([], []))
            done.events.extend(unit)
            done.seconds.append(time.perf_counter() - self._begun)
            self._settle_at = min(self._settle_at, time.monotonic() + SETTLE_SECONDS)

    def _pause(self, unavailable: Unavailable, unit: Unit) -> None:
        """Open the circuit and return every event of this task that needs the dependency."""
        _send_settled("unavailable", unit, [time.perf_counter() - self._begun])
        probed = unavailable.dependency == self.probing
        types = _open_circuit(unavailable, unit[0].type, probing=probed)
        if probed:
            self.probing = ""
        waiting = [unit, *(other for other in self._units if other[0].type in types)]
        self._units = deque(other for other in self._units if other[0].type not in types)
        logger.warning("%s. %d events of this task wait for it.", unavailable, sum(map(len, waiting)))
        self._return(chain.from_iterable(waiting))

    def _fail(self, unit: Unit, error: Exception) -> None:
        if len(unit) == 1:
            self._record_failure(unit, error, final=isinstance(error, Reject))
            return
        logger.warning(
            "%s: a batch of %d failed (%r). Its events are tried one by one.", unit[0].type, len(unit), error
        )
        self._units.extendleft([event] for event in reversed(unit))

    def _record_failure(self, unit: Unit, error: BaseException, *, final: bool = False) -> None:
        seconds = [time.perf_counter() - self._begun]
        statuses = outcomes.failed(self.token, _ids(unit), error, final=final)
        for outcome, status in (("failed", Status.PENDING), ("dead", Status.DEAD)):
            _send_settled(outcome, [event for event in unit if statuses.get(event.id) == status], seconds)
        for event in unit:
            with headers.bound(event.headers):
                logger.warning("%s #%d failed, attempt %d: %r", event.type, event.id, event.attempts, error)

    def _settle(self) -> None:
        done, self._done, self._settle_at = self._done, {}, float("inf")
        if not done:
            return
        ids = _ids(chain.from_iterable(each.events for each in done.values()))
        settled = outcomes.delivered(self.token, ids)
        if late := len(ids) - len(settled):
            logger.warning(
                "%d of %d events were not settled: the lease of their claim had expired.", late, len(ids)
            )
        for events, seconds in done.values():
            _send_settled("delivered", [event for event in events if event.id in settled], seconds)

    def _end_probe(self) -> None:
        """Close the circuit: whatever the outcome of the event was, the dependency answered."""
        if self.probing and _close_circuit(self.probing):
            logger.info("%s answers again. Its events are delivered.", self.probing)
        self.probing = ""

    def _return_rest(self) -> None:
        """Return the events that were not begun: the cluster stops, or the task waited too long for this worker."""
        self._return(chain.from_iterable(self._units))
        if self.probing:
            _release_probe(self.probing)

    def _return(self, events: Iterable[ClaimedEvent]) -> None:
        if ids := _ids(events):
            outcomes.returned(self.token, ids)


def _units(events: Iterable[ClaimedEvent]) -> Iterator[Unit]:
    by_type: dict[str, Unit] = {}
    for event in events:
        by_type.setdefault(event.type, []).append(event)
    for type, unit in by_type.items():
        handler = handler_of(type)
        if handler is not None and handler.batch:
            yield unit
        else:
            yield from ([event] for event in unit)


def _send_settled(outcome: str, events: list[ClaimedEvent], seconds: list[float]) -> None:
    if events:
        signals.settled.send_robust(sender=None, outcome=outcome, events=events, seconds=seconds)


def _ids(events: Iterable[ClaimedEvent]) -> list[int]:
    return [event.id for event in events]
