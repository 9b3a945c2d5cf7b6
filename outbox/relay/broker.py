"""The relay: a django-q2 broker that hands out claimed outbox events beside ordinary tasks."""

import gc
import logging
import math
import os
import socket
import time
from typing import Any
from uuid import uuid4

from django.db import DatabaseError, InterfaceError, connection
from django.utils import timezone
from django_q.brokers.orm import ORM
from django_q.conf import Conf as ClusterConf

from outbox.cluster import heartbeat, ipc, parent_death, shutdown, task_owners
from outbox.conf import conf
from outbox.database.channels import notifies, wake
from outbox.queue import circuits
from outbox.queue.claim import claim, expire_lease, reclaim_expired
from outbox.queue.ordering import park, unpark_expired
from outbox.registry import handled_types
from outbox.relay.listener import EVENTS, EVERYTHING, NOTHING, TASK, TASKS, Listener, WorkHint
from outbox.relay.tasks import Package, make_tasks
from outbox.relay.timers import CoalescingDelay, Interval

logger = logging.getLogger(__name__)

# An id to acknowledge (none for the outbox' own) and a package, signed where it comes from elsewhere.
Task = tuple[Any, str | Package]

# django-q2 waits for dequeue() to return before it stops.
LONGEST_WAIT = 1.0
# Until the next look, where the relay only polls and has just found something.
SOONEST = 0.05


class OutboxBroker(ORM):  # type: ignore[misc]  # django-q2 is untyped
    """Set as Q_CLUSTER's broker_class. Scale by running more clusters against the same Postgres."""

    def __init__(self, list_key: str | None = None) -> None:
        super().__init__(list_key=list_key)
        self.id = uuid4()
        self.listener = Listener()
        self._pace = CoalescingDelay()
        # What is to be looked at without waiting: what the last look did not see the end of, or left for now.
        self._more = EVERYTHING
        self._poll = Interval(conf.POLL_SECONDS)
        self._soon = math.inf
        self._probe = Interval(0.25)
        self._chores = {
            reclaim_expired: Interval(5.0),
            self._reclaim_from_lost_workers: Interval(1.0),
            unpark_expired: Interval(5.0),
            self._park: Interval(1.0),
            self.beat: Interval(5.0),
        }
        if shutdown.watch():
            ipc.install()
            task_owners.share()
            parent_death.prevent()
            # What is loaded by now stays, in every process forked from here: the collector need not look at it again,
            # nor write to the memory that they share.
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
        """What may run now, after waiting for it for up to a second.

        A database that is away is waited for here: an exception out of this method would cost the pusher
        ten seconds and its life. What was claimed before it went away is handed out all the same.
        """
        tasks: list[Task] = []
        try:
            self._fill(tasks)
        except (DatabaseError, InterfaceError) as error:
            logger.warning("The database does not answer (%s); trying again.", error)
            connection.close()
            self.listener.close()
            self._more = EVERYTHING
            if not tasks:
                time.sleep(LONGEST_WAIT)
        return tasks

    def _fill(self, tasks: list[Task]) -> None:
        # All else before the wait, not after it: an event that wakes the relay is claimed and handed out at once.
        for run, chore in self._chores.items():
            if chore.is_due():
                run()
        if self._probe.is_due():
            self._hand_out_probes(tasks)
        if self._more.tasks:
            self._hand_out_queued(tasks)
        # Also with such tasks in hand: thousands of them are not to hold back every event.
        look = self._listen(patient=not tasks)
        if look.since < math.inf:
            self._hand_out_events(tasks, look.since)
        if look.tasks:
            self._more |= TASKS

    def _listen(self, *, patient: bool) -> WorkHint:
        """Wait for something to look at, unless there is something already."""
        more, self._more = self._more, NOTHING
        seconds = min(self._poll.left, LONGEST_WAIT) if patient and not more else 0.0
        if notifies():
            woken = self.listener.wait(seconds)
            if woken and not more:
                self._pace.gather()
        else:
            time.sleep(seconds)
            woken = NOTHING
        look = more | woken
        if self._poll.is_due():
            if not math.isfinite(look.since):
                return EVERYTHING
            # What is new goes first.
            self._more = EVERYTHING
        return look

    def _hand_out_events(self, tasks: list[Task], since: float) -> None:
        batch = conf.BATCH_SIZE * ClusterConf.WORKERS
        session = self.listener.session
        claimed = claim(
            handled_types(), batch=batch, retries=conf.RETRY_BATCH_SIZE, since=since, session=session
        )
        tasks.extend(make_tasks(claimed))
        self._pace.claimed(len(claimed.rows))
        self._look_again(bool(claimed.rows))
        if len(claimed.fresh) == batch or len(claimed.again) == conf.RETRY_BATCH_SIZE:
            self._more |= EVENTS

    def _look_again(self, found: bool) -> None:
        """Where nothing wakes the relay: soon after something was found, for what follows it, and ever later while
        there is nothing."""
        self._soon = SOONEST if found else self._soon * 2
        if not self.listener.hears:
            self._poll.hasten(self._soon)

    def _hand_out_probes(self, tasks: list[Task]) -> None:
        """One event for each dependency whose pause is over; not two, for it may still be away."""
        for dependency, types in circuits.acquire_probes():
            claimed = claim(types, batch=1, retries=0, probing=dependency)
            if not claimed.rows:
                claimed = claim(types, batch=0, retries=1, probing=dependency)
            tasks.extend(make_tasks(claimed, probing=dependency))
            if not claimed.rows:
                # Nothing waits for it: the next event that does will find out.
                circuits.close_circuit(dependency)

    def _hand_out_queued(self, tasks: list[Task]) -> None:
        self._more = self._more._replace(tasks=False)
        # The parent's dequeue() sleeps when there is nothing.
        if self.get_connection().filter(key=self.list_key, lock__lt=timezone.now()).exists():
            tasks.extend(super().dequeue() or [])
            self._more |= TASKS

    def _reclaim_from_lost_workers(self) -> None:
        """Of workers that are no more."""
        if abandoned := task_owners.abandoned():
            for token, ids in abandoned:
                expire_lease(token, ids)
            reclaim_expired()

    def _park(self) -> None:
        park(handled_types())

    def beat(self) -> None:
        """Say that this relay is alive."""
        heartbeat.beat(
            self.id, socket.gethostname(), os.getpid(), "listen" if self.listener.hears else "poll"
        )

    def ping(self) -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        return True

    def info(self) -> str:
        return "Outbox (PostgreSQL)"
