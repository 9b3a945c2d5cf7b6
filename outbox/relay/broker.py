"""The relay: a django-q2 broker that passes claimed outbox events and ordinary tasks to workers."""

import gc
import logging
import math
import os
import socket
import time
from typing import Any
from uuid import UUID, uuid4

from django.db import DatabaseError, InterfaceError, connection
from django.utils import timezone
from django_q.brokers.orm import ORM
from django_q.conf import Conf as ClusterConf

from outbox.cluster import activity, guard, heartbeat, ipc, parent_death, shutdown, task_owners, workers
from outbox.conf import conf
from outbox.database.channels import notifies, wake
from outbox.delivery import outcomes
from outbox.operations.samples import Samples
from outbox.queue import probes
from outbox.queue.claim import Claim, claim
from outbox.queue.lost import (
    UNKNOWN_WORKER,
    Loss,
    reclaim_expired,
    reclaim_from_relays,
    reclaim_from_worker,
    return_unassigned,
)
from outbox.queue.ordering import park, unblock_all, unblock_next, unpark_expired
from outbox.registry import handled_types
from outbox.relay.listener import EVENTS, EVERYTHING, NOTHING, RETRIES, TASK, TASKS, Listener, WorkHint
from outbox.relay.tasks import Package, make_tasks
from outbox.relay.timers import CoalescingDelay, Interval

logger = logging.getLogger(__name__)

# The id to acknowledge (None for a task of events), and a package: signed if another process made it.
Task = tuple[Any, str | Package]

# Seconds. django-q2 waits for dequeue() to return before it stops.
LONGEST_WAIT = 1.0
# Seconds without an event after which the relay does the jobs that it put off.
QUIET_SECONDS = 0.005
# Seconds until the next poll after a claim that found events, if no NOTIFY wakes the relay.
SHORTEST_POLL = 0.05


class OutboxBroker(ORM):  # type: ignore[misc]  # django-q2 is untyped
    """The value of Q_CLUSTER's broker_class. To scale, run more clusters against the same PostgreSQL."""

    def __init__(self, list_key: str | None = None) -> None:
        super().__init__(list_key=list_key)
        self.id = uuid4()
        self.listener = Listener()
        self._delay = CoalescingDelay()
        # Known work that needs no waiting: the last claim was full, or the last round left it out.
        self._more = EVERYTHING
        # Whether the claims after a full one have left out older events.
        self._is_behind = False
        self._poll = Interval(conf.POLL_SECONDS)
        self._next_poll = math.inf
        self._probe = Interval(0.25)
        # Whether the last round handed out tasks: a worker begins one of them now, and needs a processor for it.
        self._has_handed_out = False
        # Whether this relay may have claimed events that no task carries.
        self._has_unassigned = False
        # How many processes of the cluster had died when this relay looked last.
        self._deaths = 0
        self._jobs = {
            self.beat: Interval(heartbeat.BEAT_SECONDS),
            # With LONGEST_DELAY that is once a second at least.
            self._reclaim_from_dead_relays: Interval(0.8),
            self._reclaim_from_dead_workers: Interval(0.5),
            reclaim_expired: Interval(5.0),
            unpark_expired: Interval(5.0),
            self._park: Interval(1.0),
        }
        self._main_process = ""
        if shutdown.watch():
            self._main_process = heartbeat.main_process()
            ipc.install()
            heartbeat.install(Samples().write)
            task_owners.share()
            workers.share()
            guard.install()
            activity.share()
            parent_death.end_all_with_sentinel()
            # The loaded modules stay in memory in every process that is forked from here. The garbage collector then
            # does not scan them (0.4 s a full collection) and does not write to the shared memory (50 MB a process).
            gc.freeze()

    def __getstate__(self) -> tuple[Any, ...]:
        return self.list_key, self._info

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.__init__(list_key=state[0])  # type: ignore[misc]

    def enqueue(self, task: str) -> Any:
        """Queue an ordinary django-q2 task, and wake a relay for it."""
        pk = super().enqueue(task)
        wake(TASK)
        return pk

    def dequeue(self) -> list[Task]:
        """The tasks that may run now. Waits for them for up to a second.

        This method waits for a database that does not answer: after an exception, django-q2's pusher sleeps for ten
        seconds and ends. Events that were claimed before the error are returned all the same.
        """
        tasks: list[Task] = []
        try:
            self._fill(tasks)
        except (DatabaseError, InterfaceError) as error:
            logger.warning("The database does not answer (%s). The relay tries again.", error)
            connection.close()
            self.listener.close()
            self._more = EVERYTHING
            # A claim may have been committed although its answer did not arrive.
            self._has_unassigned = True
            if not tasks:
                time.sleep(LONGEST_WAIT)
        self._has_handed_out = bool(tasks)
        return tasks

    def _fill(self, tasks: list[Task]) -> None:
        self._take_over()
        # Everything else comes before the wait, so that an event that ends the wait is claimed and returned at once. An
        # event that was published meanwhile waits for one of the jobs, not for all that are due.
        for run, interval in self._jobs.items():
            if interval.is_due(unless=self._is_busy):
                run()
        if self._probe.is_due(unless=self._is_busy):
            self._add_probes(tasks)
        if self._more.tasks:
            self._add_queued_tasks(tasks)
        # Events are claimed in every round, so that thousands of queued tasks do not delay them.
        hint = self._wait_for_work(may_block=not tasks)
        if hint.events:
            self._add_events(tasks, hint)
        if hint.tasks:
            self._more |= TASKS

    def _is_busy(self) -> bool:
        return self._has_handed_out or self.listener.has_heard()

    def _wait_for_work(self, *, may_block: bool) -> WorkHint:
        """Wait for a hint, unless there is known work already."""
        more, self._more = self._more, NOTHING
        seconds = min(self._poll.left, self._longest_wait()) if may_block and not more else 0.0
        owners = task_owners.shared()
        bells = [owners.bell] if owners else []
        if notifies():
            woken = self.listener.wait(seconds, also=bells)
            if woken and not more:
                self._delay.wait()
        else:
            ipc.is_any_readable(bells, seconds)
            woken = NOTHING
        if owners and owners.bell.has_rung():
            self._reclaim_from_dead_workers()
            self._more |= RETRIES
        hint = more | woken
        if self._poll.is_due():
            # A full claim's next part, or new events, go first.
            if not math.isfinite(hint.since):
                return EVERYTHING
            self._more = EVERYTHING
        return hint

    def _longest_wait(self) -> float:
        has_put_off = any(interval.left == 0 for interval in (*self._jobs.values(), self._probe))
        return QUIET_SECONDS if has_put_off else LONGEST_WAIT

    def _add_events(self, tasks: list[Task], hint: WorkHint) -> None:
        batch = conf.BATCH_SIZE * ClusterConf.WORKERS
        started = time.monotonic()
        claimed = claim(
            handled_types(),
            batch=batch,
            retries=conf.RETRY_BATCH_SIZE if hint.retries else 0,
            dangerous=_room_for_dangerous() if hint.retries else 0,
            since=hint.since,
            relay=self.id,
            session=self.listener.session,
        )
        if hint.since == -math.inf:
            self._poll.spare(time.monotonic() - started)
            self._is_behind = False
        tasks.extend(make_tasks(claimed))
        self._delay.claimed(len(claimed.rows))
        self._schedule_poll(found=bool(claimed.rows))
        self._note_more(claimed, full=len(claimed.fresh) == batch)

    def _note_more(self, claimed: Claim, *, full: bool) -> None:
        """Note what the next claim can find.

        After a full claim the next one begins where that one ended. So each claim of a long backlog reads only what is
        new to it, also while a long transaction keeps a vacuum from removing the index entries of delivered events. It
        leaves out older events of types and priorities that the full claim had no room for. A claim of all events
        finds these, at the end of the backlog or with the next poll.
        """
        if full:
            self._is_behind = True
            self._more |= EVENTS._replace(since=claimed.reached)
        elif self._is_behind:
            self._more |= EVENTS
        if len(claimed.retries) == conf.RETRY_BATCH_SIZE or claimed.suspects:
            self._more |= RETRIES

    def _schedule_poll(self, *, found: bool) -> None:
        """If no NOTIFY wakes the relay: poll soon after events were found, since others often follow them.

        The time to the next poll doubles while there are no events.
        """
        self._next_poll = SHORTEST_POLL if found else self._next_poll * 2
        if not self.listener.hears:
            self._poll.hasten(self._next_poll)

    def _add_probes(self, tasks: list[Task]) -> None:
        """Add one event for each dependency whose pause is over. Only one, since it may still be unavailable."""
        probed: set[str] = set()
        token = uuid4()
        for probe in probes.acquire_probes(token):
            # An event that needs several dependencies tries all of them.
            if probe.dependency not in probed:
                probed |= self._add_probe(tasks, probe, token)

    def _add_probe(self, tasks: list[Task], probe: probes.Probe, token: UUID) -> frozenset[str]:
        """Add an event that tries the dependency. Returns the dependencies that this event tries."""
        for dependencies, types in probe.groups:
            for batch, retries in ((1, 0), (0, 1)):
                claimed = claim(
                    types, batch=batch, retries=retries, probing=dependencies, relay=self.id, token=token
                )
                if claimed.rows:
                    tasks.extend(make_tasks(claimed, probing=sorted(dependencies)))
                    return dependencies
        probes.end_unused_probe(probe)
        return frozenset()

    def _add_queued_tasks(self, tasks: list[Task]) -> None:
        self._more = self._more._replace(tasks=False)
        # The parent's dequeue() sleeps if the queue is empty.
        if self.get_connection().filter(key=self.list_key, lock__lt=timezone.now()).exists():
            tasks.extend(super().dequeue() or [])
            self._more |= TASKS

    def _take_over(self) -> None:
        """Return events that this relay claimed and no task carries: its former process died, or an answer was lost."""
        owners = task_owners.shared()
        if owners is None:
            return
        if owners.take_over():
            logger.warning(
                "The relay's process died. Its successor returns the events that no worker has begun."
            )
            self._has_unassigned = True
        if self._has_unassigned:
            return_unassigned(self.id, owners.assigned())
            self._has_unassigned = False
            self._more |= EVENTS

    def _reclaim_from_dead_relays(self) -> None:
        """Free the claims of other clusters that died, and what waits behind the events that they settled last."""
        if dead := heartbeat.dead_relays(self.id):
            if count := reclaim_from_relays(dead):
                logger.warning("%d events of %d dead clusters are free again.", count, len(dead))
            unblock_all()
            self._more |= EVENTS
            heartbeat.end_relays(dead)

    def _reclaim_from_dead_workers(self) -> None:
        """Free the events of workers that died: those in hand are suspects, the others were not begun.

        A worker may also have died after it took a task from the queue and before it began it.
        """
        owners = task_owners.shared()
        for token, in_hand, others, worker in owners.abandoned() if owners else ():
            reclaim_from_worker(token, in_hand, _loss_of(worker))
            outcomes.returned(token, others)
            # It may have settled some of them, and died before it unblocked what waits behind them.
            unblock_next([*in_hand, *others])
            self._more |= EVENTS
        if owners and self._has_a_process_died() and owners.revoke_waiting():
            self._has_unassigned = True
            self._more |= EVENTS

    def _has_a_process_died(self) -> bool:
        """Whether a process of this cluster has died since the last call."""
        known = workers.shared()
        before, self._deaths = self._deaths, known.deaths if known else 0
        return self._deaths > before

    def _park(self) -> None:
        started = time.monotonic()
        park(handled_types())
        self._jobs[self._park].spare(time.monotonic() - started)

    def beat(self) -> None:
        """Record that this relay is alive."""
        wakeup = "listen" if self.listener.hears else "poll"
        heartbeat.beat(self.id, socket.gethostname(), os.getpid(), wakeup, self._main_process)

    def ping(self) -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        return True

    def info(self) -> str:
        return "Outbox (PostgreSQL)"


def _room_for_dangerous() -> int | None:
    """How many more tasks with a dangerous event may be handed out: they never keep more than half of the workers busy.

    None outside of a cluster.
    """
    if (owners := task_owners.shared()) is None:
        return None
    return max(0, max(1, int(ClusterConf.WORKERS) // 2) - owners.count_dangerous())


def _loss_of(worker: int | None) -> Loss:
    """How the worker with this process id ended. None: it lives, and could not record its outcome."""
    known = workers.shared()
    if worker is None or known is None:
        return UNKNOWN_WORKER
    name = f"{socket.gethostname()}:{worker}"
    killed = known.was_killed_by_nine(worker)
    advice = "If nobody killed it, memory ran out: the kernel's log (dmesg) says so." if killed else ""
    return Loss(f"Worker {name} {known.how_it_ended(worker)}", name, advice)
