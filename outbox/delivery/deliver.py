"""Delivery: a worker calls the handlers of a task's events and settles the events."""

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import nullcontext
from typing import NamedTuple
from uuid import UUID

from django_q.conf import Conf as ClusterConf

from outbox import signals
from outbox.cluster.shutdown import is_stopping
from outbox.delivery import outcomes, stuck
from outbox.delivery.db_retry import retry_while_unavailable
from outbox.delivery.units import Unit, units
from outbox.events import ClaimedEvent
from outbox.exceptions import Reject, Unavailable, kind_and_place
from outbox.models import Status
from outbox.publishing import headers
from outbox.queue import circuits, probes
from outbox.registry import handler_of

logger = logging.getLogger(__name__)

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
_release_probe = retry_while_unavailable(probes.release_probe)


def deliver(
    token: UUID,
    events: Sequence[ClaimedEvent],
    *,
    begin_before: float = float("inf"),
    probing: Collection[str] = (),
    suspects: bool = False,
    on_unit: Callable[[int, int], object] = lambda start, size: None,
) -> None:
    """Call the handlers of the events and settle each event.

    `begin_before` (time.monotonic()): no handler is begun later, because it might outlive the lease.
    `probing`: the dependencies that this task, of a single event, probes.
    `suspects`: the worker or the relay of these events died before. It is recorded in the database that they are begun.
    `on_unit(start, size)`: called before each call of a handler with the place of its events in
    `outbox.delivery.units.ordered(events)` and their number, and with a number of 0 after it.
    """
    Delivery(token, begin_before=begin_before, probing=probing, suspects=suspects, on_unit=on_unit).run(
        events
    )


class Delivery:
    """The delivery of one task's events. The arguments are those of `deliver`."""

    def __init__(
        self,
        token: UUID,
        *,
        begin_before: float,
        probing: Collection[str],
        suspects: bool,
        on_unit: Callable[[int, int], object],
    ) -> None:
        self.token = token
        self._probing = set(probing)
        self._suspects = suspects
        self._on_unit = on_unit
        self._begin_before = begin_before
        if limit := ClusterConf.TIMEOUT:
            self._begin_before = min(begin_before, time.monotonic() + limit * SHARE_OF_TIMEOUT)
        # Another thread may take the units that are not begun.
        self._lock = threading.Lock()
        self._units: deque[Unit] = deque()
        self._done: dict[str, Done] = {}
        # When the current call of a handler began (time.perf_counter()); inf between two calls.
        self._begun = math.inf
        self._settle_at = float("inf")

    def run(self, events: Sequence[ClaimedEvent]) -> None:
        self._units.extend(units(events))
        try:
            if self._suspects and not outcomes.begun(self.token, [event.id for event in events]):
                logger.warning("%d events were not begun: their claim had ended.", len(events))
                return
            with stuck.watching(self) if len(self._units) > 1 else nullcontext():
                self._handle_all()
        finally:
            # Also if the worker must end: django-q2's timeout raises SystemExit.
            self._settle()
            self._return_rest()

    def _handle_all(self) -> None:
        while (unit := self._next()) is not None:
            self._attempt(unit)
            if time.monotonic() >= self._settle_at:
                self._settle()

    def _next(self) -> Unit | None:
        with self._lock:
            return self._units.popleft() if self._units and self._may_begin() else None

    @property
    def seconds_of_call(self) -> float:
        """How long the current call of a handler has taken; negative between two calls."""
        return time.perf_counter() - self._begun

    def return_waiting(self, seconds: float) -> int:
        """Return the events that wait behind a call of a handler that takes longer than this. Returns their number.

        Another thread calls it, with its own connection. The worker does not begin them meanwhile, and no other one
        can claim them before they are returned.
        """
        with self._lock:
            if self.seconds_of_call < seconds:
                return 0
            waiting, self._units = self._units, deque()
            try:
                self._return(waiting)
            except BaseException:
                self._units = waiting
                raise
            return sum(unit.size for unit in waiting)

    def _may_begin(self) -> bool:
        return not is_stopping() and time.monotonic() < self._begin_before

    def _attempt(self, unit: Unit) -> None:
        if handler_of(unit.type) is None:
            logger.error("%s has no handler in this cluster. Its events wait for another cluster.", unit.type)
            self._return([unit])
        else:
            self._handle(unit)

    def _handle(self, unit: Unit) -> None:
        self._begun = time.perf_counter()
        self._on_unit(unit.start, unit.size)
        try:
            self._call(unit)
        except Unavailable as unavailable:
            self._pause(unavailable, unit)
        except Exception as error:
            self._fail(unit, error)
        except BaseException as stop:
            # It is not known whether a probed dependency answers. The next probe runs when this event's claim ends.
            self._probing.clear()
            self._interrupt(unit, stop)
            raise
        else:
            self._note_success(unit)
        self._begun = math.inf
        self._on_unit(unit.start, 0)

    def _call(self, unit: Unit) -> None:
        handler = handler_of(unit.type)
        assert handler is not None
        with headers.bound(unit.events[0].headers) if unit.size == 1 else nullcontext():
            handler(unit.events)

    def _note_success(self, unit: Unit) -> None:
        done = self._done.setdefault(unit.type, Done([], []))
        done.events.extend(unit.events)
        done.seconds.append(time.perf_counter() - self._begun)
        self._settle_at = min(self._settle_at, time.monotonic() + SETTLE_SECONDS)
        self._end_probes(answered=True)

    def _pause(self, unavailable: Unavailable, unit: Unit) -> None:
        """Open the circuit and return every event of this task that needs the dependency."""
        _send_settled("unavailable", unit.events, [time.perf_counter() - self._begun])
        probed = unavailable.dependency in self._probing
        types = _open_circuit(unavailable, unit.type, probing=probed)
        self._probing.discard(unavailable.dependency)
        # The handler may have ended before it called the others.
        self._end_probes(answered=False)
        with self._lock:
            waiting = [unit, *(other for other in self._units if other.type in types)]
            self._units = deque(other for other in self._units if other.type not in types)
        count = sum(other.size for other in waiting)
        logger.warning(
            "%s. %s for it.", unavailable, "1 event waits" if count == 1 else f"{count} events wait"
        )
        self._return(waiting)

    def _fail(self, unit: Unit, error: Exception) -> None:
        """Record the failure of an event. The halves of a batch are tried at once, to find the bad event."""
        if unit.size > 1:
            what = kind_and_place(error)
            logger.warning(
                "%s: a batch of %d failed (%s). It is tried in halves.", unit.type, unit.size, what
            )
            with self._lock:
                self._units.extendleft(reversed(unit.halves()))
            return
        self._record_failure(unit, error, final=isinstance(error, Reject))
        # The only probed dependency was not found unavailable. Of several, some may not have been called.
        self._end_probes(answered=len(self._probing) == 1)

    def _interrupt(self, unit: Unit, stop: BaseException) -> None:
        """The worker must end, for example because of the timeout. A batch is tried again in halves."""
        if unit.size == 1:
            self._record_failure(unit, stop, dangerous=True)
            return
        outcomes.halved(self.token, unit.ids, stop)
        what = kind_and_place(stop)
        logger.warning(
            "%s: a batch of %d was interrupted (%s). It is tried again in halves.", unit.type, unit.size, what
        )

    def _record_failure(
        self, unit: Unit, error: BaseException, *, final: bool = False, dangerous: bool = False
    ) -> None:
        seconds = [time.perf_counter() - self._begun]
        statuses = outcomes.failed(self.token, unit.ids, error, final=final, dangerous=dangerous)
        for outcome, status in (("failed", Status.PENDING), ("dead", Status.DEAD)):
            _send_settled(
                outcome, [event for event in unit.events if statuses.get(event.id) == status], seconds
            )
        for event in unit.events:
            with headers.bound(event.headers):
                # The row of the failure has the message. Nothing removes words from a log.
                what = kind_and_place(error)
                logger.warning("%s #%d failed, attempt %d: %s", event.type, event.id, event.attempts, what)

    def _settle(self) -> None:
        done, self._done, self._settle_at = self._done, {}, float("inf")
        if not done:
            return
        ids = [event.id for each in done.values() for event in each.events]
        settled = outcomes.delivered(self.token, ids)
        if late := len(ids) - len(settled):
            logger.warning("%d of %d events were not settled: their claim had ended.", late, len(ids))
        for events, seconds in done.values():
            _send_settled("delivered", [event for event in events if event.id in settled], seconds)

    def _end_probes(self, *, answered: bool) -> None:
        """Close the circuits of the probed dependencies if they answered, else let another event probe them."""
        for dependency in self._probing:
            if not answered:
                _release_probe(dependency)
            elif _close_circuit(dependency):
                logger.info("%s answers again. Its events are delivered.", dependency)
        self._probing.clear()

    def _return_rest(self) -> None:
        """Return the events that were not begun: the cluster stops, or the task waited too long for this worker."""
        with self._lock:
            # Another thread that returns some of them has finished.
            self._return(self._units)
        self._end_probes(answered=False)

    def _return(self, units: Iterable[Unit]) -> None:
        if ids := [id for unit in units for id in unit.ids]:
            outcomes.returned(self.token, ids)


def _send_settled(outcome: str, events: list[ClaimedEvent], seconds: list[float]) -> None:
    if events:
        signals.settled.send_robust(sender=None, outcome=outcome, events=events, seconds=seconds)
